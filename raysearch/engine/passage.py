"""What passes between the engine and a worker that goes on with an island."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..strategies.islands import Migrant

if TYPE_CHECKING:
    from .records import Results, Trials

#: an island, as `raysearch.strategies.state` takes it apart
Value = tuple[Any, dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Stretch:
    """The next trials of an island, which the worker that runs them asks for itself.

    island    which one
    value     the island as it is, from `raysearch.engine.stretch`
    first     number in the study of the first trial of all islands
    trials    how many, none of which but the last may end an epoch
    migrants  that it takes in before
    lost      the state, and why, of the next trial, which is told instead of being run
    """

    island: int
    value: Value
    first: int
    trials: int
    migrants: tuple[Migrant, ...] = ()
    lost: tuple[int, str] | None = None


@dataclass(frozen=True)
class Passed:
    """A stretch that an island has gone through.

    parts  the trials, and what became of them; each part of the same metrics
    value  the island then
    sent   the migrant of the epoch that has ended with it
    more   whether the island has more trials
    """

    parts: tuple[tuple[Trials, Results], ...]
    value: Value
    sent: Migrant | None
    more: bool
