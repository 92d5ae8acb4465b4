"""A state as it travels through memory: arrays, and one JSON text that says where they belong."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

TREE = "tree"


@dataclass(frozen=True, eq=False)
class Packed:
    """A state; its arrays are those of who has saved it, or lie in shared memory.

    tree    JSON
    arrays  by the names that it gives them
    """

    tree: str
    arrays: Mapping[str, NDArray[Any]]

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.tree) + sum(array.nbytes for array in self.arrays.values())

    def write(self, file: IO[bytes]) -> None:
        """Write an ordinary .npz."""
        tree = np.frombuffer(self.tree.encode(), dtype=np.uint8)
        np.savez(file, **{**self.arrays, TREE: tree})  # type: ignore[arg-type]  # no option is a name of ours

    def tobytes(self) -> bytes:
        """The same, here."""
        file = io.BytesIO()
        self.write(file)
        return file.getvalue()
