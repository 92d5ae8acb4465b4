"""A study in memory whose disk fails, and whose driver dies at it."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from ...errors import StudyLocked
from ...log.storage import Storage
from .hazards import Died, Hazards


class Disk:
    """What survives a driver: files, and who has locked them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.locked = False


class FaultyStorage(Storage):
    """One driver's access to a disk.

    disk     with the files
    hazards  what goes wrong
    grows    whether files can grow, as they can in folders but not in object stores
    """

    place = "disk"

    def __init__(self, disk: Disk, hazards: Hazards, grows: bool = True) -> None:
        self._disk = disk
        self._hazards = hazards
        self._grows = grows

    # --- reading --------------------------------------------------------------------------

    def names(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        inside = (name for name in self._disk.files if name.startswith(prefix))
        return sorted({prefix + name.removeprefix(prefix).split("/")[0] for name in inside})

    def exists(self, name: str) -> bool:
        return name in self._disk.files

    def open(self, name: str) -> BinaryIO:
        if name not in self._disk.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return io.BytesIO(self._disk.files[name])

    def holder(self) -> str | None:
        return "a driver" if self._disk.locked else None

    # --- writing --------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> None:
        if name in self._disk.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        with self._write():
            self._disk.files[name] = data

    def publish(self, folder: str, write: Callable[[IO[bytes]], str]) -> str:
        file = io.BytesIO()
        name = f"{folder}/{write(file)}"
        with self._write():
            self._disk.files[name] = file.getvalue()
        return name

    def appender(self, name: str, durable: bool) -> FaultyAppender | None:
        if not self._grows:
            return None
        self.create(name, b"")
        return FaultyAppender(self._disk, name, self._hazards)

    def sync(self, name: str) -> None:
        self.open(name)

    def remove(self, name: str) -> None:
        with self._write():
            self._disk.files.pop(name, None)

    def prepare(self) -> None:
        pass

    def lock(self) -> Callable[[], None]:
        if self._disk.locked:
            raise StudyLocked(f"study {self.place}: is being written to by a driver")
        self._disk.locked = True

        def release() -> None:
            self._disk.locked = False

        return release

    @contextmanager
    def _write(self) -> Iterator[None]:
        """The driver may die before and after a write that is whole or does not happen."""
        self._hazards.step()
        if number := self._hazards.disk():
            raise OSError(number, os.strerror(number))
        yield
        self._hazards.step()


class FaultyAppender:
    """A file that grows, and may end with half of what was to be written last."""

    def __init__(self, disk: Disk, name: str, hazards: Hazards) -> None:
        self.broken = False
        self._disk = disk
        self._name = name
        self._hazards = hazards

    def append(self, data: bytes | memoryview) -> None:
        """As of any appender; a driver that dies here leaves any part of the data."""
        try:
            self._hazards.step()
        except Died as death:
            if death.now:
                self._put(data[: self._hazards.cut(len(data))])
            raise
        number = self._hazards.disk()
        if number == errno.EIO:
            self.broken = True
            self._put(data[: self._hazards.cut(len(data))])
        if number:
            raise OSError(number, os.strerror(number))
        self._put(data)
        self._hazards.step()

    def close(self) -> None:
        """Nothing is held."""

    def _put(self, data: bytes | memoryview) -> None:
        self._disk.files[self._name] += data
