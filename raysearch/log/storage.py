"""Where a study lies: the few operations that a log needs of a folder or an object store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Protocol

import pyarrow as pa

from ..errors import StudyStorage

#: what a study consists of, beside the files in its root
FOLDERS = ("sessions", "log", "reports", "checkpoints")


class Appender(Protocol):
    """A file that grows. What `append` returned from is durable, whatever happens then."""

    #: whether the file is in an unknown state, so that nothing may be appended any more
    broken: bool

    def append(self, data: bytes | memoryview) -> None:
        """Add all of the data, or (OSError) none of it."""

    def close(self) -> None:
        """Free what is held. Nothing is written."""


class Storage(ABC):
    """Files under one root, named by paths with slashes that this package makes up.

    Methods raise OSError, FileNotFoundError and FileExistsError among them; `storing`
    turns these into StudyStorage with the place named.
    """

    #: what people call the place; never holds a password
    place: str
    #: where it is on this machine; None if it lies elsewhere
    folder: Path | None = None

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Paths of what lies in a folder ("" for the root), sorted; none if it is not there."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """The file for reading, seekable."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> None:
        """A new file, whole and durable, or FileExistsError."""

    @abstractmethod
    def publish(self, folder: str, write: Callable[[IO[bytes]], str]) -> str:
        """A new file in a folder that appears whole and durable, or not at all.

        write  writes the content and returns the file's name, which may depend on it
        """

    @abstractmethod
    def appender(self, name: str, durable: bool) -> Appender | None:
        """A new file that can grow; None where files cannot (then `publish` one a commit).

        durable  whether appended data are to survive a power cut, not only this process
        """

    @abstractmethod
    def sync(self, name: str) -> None:
        """Make sure that what can be read of a file stays readable."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file if it is there."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the root, if it is not there, for this user alone."""

    @abstractmethod
    def lock(self) -> Callable[[], None]:
        """Keep other drivers out, or raise StudyLocked; returns what lets them in again."""

    @abstractmethod
    def holder(self) -> str | None:
        """Who holds the lock, for people; None if nobody does. Looks only, never locks."""

    def read(self, name: str) -> bytes:
        """All of a file."""
        with self.open(name) as file:
            return file.read()


@contextmanager
def storing(storage: Storage, doing: str) -> Iterator[None]:
    """Turn an OSError into StudyStorage that says where, while doing what, and what to do."""
    try:
        yield
    except StudyStorage:
        raise
    except (OSError, pa.ArrowException) as error:
        number = getattr(error, "errno", None)
        message = (
            f"study {storage.place}: {doing} failed: {error}; what was recorded before is safe. "
            "See to space, rights and network there, then start again to go on"
        )
        raise StudyStorage(*([] if number is None else [number]), message) from error
