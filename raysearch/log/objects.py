"""A study in an object store, or any other file system that pyarrow knows.

Objects neither grow nor move, so every commit is an object of its own with a key that is
used once. An upload that failed, or seems to have, is repeated; it writes the same bytes to
the same key. There is no lock that could keep a second driver out: the lease is advice, and
it is the number of the session that tells a driver, at its next commit, that another one
has taken over.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import IO, BinaryIO, cast

from pyarrow import fs

from ..errors import StudyLocked
from . import lease
from .storage import FOLDERS, Storage

_AGAIN_SECONDS = (0.1, 1.0, 5.0)  # waits before an upload is tried again


class ObjectStorage(Storage):
    """Objects below the root of a pyarrow file system.

    filesystem  whose root is the study
    place       what people call it
    """

    def __init__(self, filesystem: fs.FileSystem, place: str) -> None:
        self._filesystem = filesystem
        self.place = place

    def names(self, folder: str) -> list[str]:
        selector = fs.FileSelector(folder, allow_not_found=True)
        found = self._filesystem.get_file_info(selector)
        return sorted(info.path for info in found if info.is_file)

    def exists(self, name: str) -> bool:
        return bool(self._filesystem.get_file_info(name).type == fs.FileType.File)

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._filesystem.open_input_file(name))

    def create(self, name: str, data: bytes) -> None:
        if self.exists(name):  # not atomic: pyarrow offers no conditional put
            raise FileExistsError(name)
        self._put(name, data)

    def publish(self, folder: str, write: Callable[[IO[bytes]], str]) -> str:
        buffer = io.BytesIO()
        name = f"{folder}/{write(buffer)}"
        self._put(name, buffer.getvalue())
        return name

    def appender(self, name: str, durable: bool) -> None:
        return None

    def sync(self, name: str) -> None:
        pass  # an object is durable once it is there

    def remove(self, name: str) -> None:
        if self.exists(name):
            self._filesystem.delete_file(name)

    def prepare(self) -> None:
        for folder in FOLDERS:
            self._filesystem.create_dir(folder)

    def lock(self) -> Callable[[], None]:
        found = self._lease()
        if found is not None and lease.is_here(found) and lease.is_alive(found):
            raise StudyLocked(
                f"study {self.place}: is being written to by {lease.describe(found)}; "
                "wait for it or end it, or use another study"
            )
        mine = json.dumps(lease.mine()).encode()
        self._put(lease.LOCK, mine)

        def release() -> None:
            if self.exists(lease.LOCK) and self.read(lease.LOCK) == mine:  # nobody has taken over
                self.remove(lease.LOCK)

        return release

    def holder(self) -> str | None:
        found = self._lease()
        if found is None or (lease.is_here(found) and not lease.is_alive(found)):
            return None
        return lease.describe(found)

    def _lease(self) -> dict[str, object] | None:
        return lease.parse(self.read(lease.LOCK)) if self.exists(lease.LOCK) else None

    def _put(self, name: str, data: bytes) -> None:
        for seconds in _AGAIN_SECONDS:
            try:
                return self._upload(name, data)
            except OSError:
                time.sleep(seconds)
        self._upload(name, data)

    def _upload(self, name: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(name) as stream:
            stream.write(data)
