"""States in Ray's object store.

They belong to the driver, so that they outlive the actor that has saved them; they are lost with
the machine. Workers on one machine read them where they lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions as lost

from .saved import Packed

_PATIENCE = 30  # seconds for weights to come


@dataclass(frozen=True)
class Follows:
    """Stands for a state that comes next in the stream."""

    def get(self) -> Packed:
        """Nobody asks before it is there."""
        raise LookupError("it is yet to come")


FOLLOWS = Follows()


@dataclass(frozen=True)
class Shared:
    """A state in the object store.

    ref  to it
    """

    ref: Any

    def get(self) -> Packed:
        """Bring it here; its arrays are not to be changed."""
        try:
            state: Packed = ray.get(self.ref, timeout=_PATIENCE)
        except lost.GetTimeoutError as error:  # where its machine has been lost only now
            raise lost.ObjectLostError(self.ref.hex(), "", "") from error
        return state
