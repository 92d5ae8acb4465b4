"""A study in a folder of this machine, or one that is mounted."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

from ..errors import StudyLocked
from . import lease
from .storage import FOLDERS, Storage

_TEMPORARY = ".unfinished-"


class LocalStorage(Storage):
    """A folder. Files are 0600, folders 0700; symbolic links in it are not followed.

    root  of the study
    """

    def __init__(self, root: Path) -> None:
        self.root = self.folder = root
        self.place = str(root)

    def names(self, folder: str) -> list[str]:
        try:
            entries = sorted(os.listdir(self._folder(folder)))
        except FileNotFoundError:
            return []
        names = [f"{folder}/{entry}" if folder else entry for entry in entries]
        return [n for n in names if not n.rpartition("/")[2].startswith(_TEMPORARY)]

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def open(self, name: str) -> BinaryIO:
        return open(self._descriptor(name, os.O_RDONLY), "rb")

    def create(self, name: str, data: bytes) -> None:
        temporary = self._temporary(name)
        try:
            with open(self._descriptor(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.link(self.root / temporary, self.root / name)  # unlike rename, never replaces
        finally:
            self.remove(temporary)
        self._sync_folder(name)

    def publish(self, folder: str, write: Callable[[IO[bytes]], str]) -> str:
        temporary = self._temporary(f"{folder}/new")
        try:
            with open(self._descriptor(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "wb") as f:
                name = f"{folder}/{write(f)}"
                f.flush()
                os.fsync(f.fileno())
            os.rename(self.root / temporary, self.root / name)
        finally:
            self.remove(temporary)
        self._sync_folder(name)
        return name

    def appender(self, name: str, durable: bool) -> LocalAppender:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
        descriptor = self._descriptor(name, flags)
        try:
            self._sync_folder(name)
        except OSError:
            os.close(descriptor)
            self.remove(name)
            raise
        return LocalAppender(descriptor, durable)

    def sync(self, name: str) -> None:
        descriptor = self._descriptor(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.root / name)

    def prepare(self) -> None:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.root, *(self.root / name for name in FOLDERS)):
            folder.mkdir(mode=0o700, exist_ok=True)

    def lock(self) -> Callable[[], None]:
        descriptor = self._descriptor(lease.LOCK, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StudyLocked(
                f"study {self.place}: is being written to by {self.holder() or 'another driver'}; "
                "wait for it or end it, or use another study"
            ) from None
        mine = json.dumps(lease.mine()).encode()
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, mine, 0)
            self._clear()
        except BaseException:
            os.close(descriptor)
            raise

        def release() -> None:
            try:
                if os.pread(descriptor, len(mine) + 1, 0) == mine:  # nobody has taken over
                    os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

        return release

    def holder(self) -> str | None:
        try:
            found = lease.parse(self.read(lease.LOCK))
        except FileNotFoundError:
            return None
        if found is None or (lease.is_here(found) and not lease.is_alive(found)):
            return None
        return lease.describe(found)

    def _clear(self) -> None:
        """Remove what a driver that was killed had not finished. Only under the lock."""
        for folder in ("", *FOLDERS):
            for entry in os.listdir(self._folder(folder)):
                if entry.startswith(_TEMPORARY):
                    os.unlink(self.root / folder / entry)

    def _temporary(self, name: str) -> str:
        folder, slash, _ = name.rpartition("/")
        return f"{folder}{slash}{_TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"

    def _descriptor(self, name: str, flags: int) -> int:
        self._folder(name.rpartition("/")[0])
        return os.open(self.root / name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _folder(self, folder: str) -> Path:
        path = self.root / folder
        if folder and stat.S_ISLNK(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, "is a symbolic link, which a study may not hold", str(path))
        return path

    def _sync_folder(self, name: str) -> None:
        descriptor = os.open((self.root / name).parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class LocalAppender:
    """A file open for appending, of which the first `size` bytes are durable."""

    def __init__(self, descriptor: int, durable: bool) -> None:
        self.broken = False
        self._durable = durable
        self._descriptor = descriptor
        self._size = 0

    def append(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:  # a full disk may take a part and fail at the next
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._take_back()
            raise
        try:
            if self._durable:
                os.fsync(self._descriptor)
        except OSError:
            self.broken = True  # a second fsync would succeed though the pages are lost
            raise
        self._size += len(data)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self.broken = True

    def close(self) -> None:
        os.close(self._descriptor)
