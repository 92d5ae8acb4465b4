"""A study in an object store, or any other file system that pyarrow knows.

Objects neither grow nor move, so every commit is an object of its own with a key that is
used once. What failed, or seems to have, is repeated for a while: an upload writes the same
bytes to the same key. A refusal is final. There is no lock that could keep a second driver
out: the lease is advice, and it is the number of the session that tells a driver, at its next
commit, that another one has taken over.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, BinaryIO, TypeVar, cast

from pyarrow import fs

from ..errors import StudyLocked
from . import lease
from .storage import Storage

_AGAIN_SECONDS = (0.1, 1.0, 5.0, 15.0, 30.0)  # waits before something is tried again
_LOOK_SECONDS = 6.0  # after so long, none but the results of trials are worth another try
_WHOLE_BYTES = 32_000_000  # an object up to this size is fetched by one request
_FINAL = ("ACCESS_DENIED", "NO_SUCH_BUCKET")  # in the texts of errors that waiting won't mend

_T = TypeVar("_T")


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
        found = _patiently(lambda: self._filesystem.get_file_info(selector))
        return sorted(info.path for info in found if info.is_file)

    def exists(self, name: str) -> bool:
        try:  # to open it is one request; to ask for it, where it is not, two
            _patiently(lambda: self._filesystem.open_input_file(name).close())
        except FileNotFoundError:
            return False
        return True

    def open(self, name: str) -> BinaryIO:
        return _patiently(lambda: self._fetch(name))

    def create(self, name: str, data: bytes) -> None:
        if self.exists(name):  # not atomic: pyarrow offers no conditional put
            raise FileExistsError(name)
        self._put(name, data)

    def publish(self, folder: str, write: Callable[[IO[bytes]], str]) -> str:
        buffer = io.BytesIO()
        name = f"{folder}/{write(buffer)}"
        self._put(name, buffer.getvalue(), math.inf)
        return name

    def appender(self, name: str, durable: bool) -> None:
        return None

    def sync(self, name: str) -> None:
        pass  # an object is durable once it is there

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            _patiently(lambda: self._filesystem.delete_file(name))

    def prepare(self) -> None:
        pass  # a key needs no folder, and the lock is the first to be written

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

    def _put(self, name: str, data: bytes, patience: float = _LOOK_SECONDS) -> None:
        def upload() -> None:
            with self._filesystem.open_output_stream(name) as stream:
                stream.write(data)

        _patiently(upload, patience)

    def _fetch(self, name: str) -> BinaryIO:
        file = self._filesystem.open_input_file(name)
        if file.size() > _WHOLE_BYTES:
            return cast(BinaryIO, file)
        with file:
            return io.BytesIO(file.read())


def _patiently(action: Callable[[], _T], patience: float = _LOOK_SECONDS) -> _T:
    """What the action returns; it is tried again while that may help, for about so long."""
    begin = time.monotonic()
    for seconds in _AGAIN_SECONDS:
        try:
            return action()
        except FileNotFoundError:
            raise
        except OSError as error:
            hopeless = any(word in str(error) for word in _FINAL)
            if hopeless or time.monotonic() + seconds - begin > patience:
                raise
            time.sleep(seconds)
    return action()
