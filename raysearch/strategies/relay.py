"""A relay: one strategy after another, each handing over what it has learned.

Member i proposes points as long as fewer than at_i results are known; then the next one does.
All of them are told everything from the beginning, so that one which takes over knows what
its predecessors have found. Where a member has nothing to propose, those after it are asked.

Which member proposes depends on how many results are known, never on how long they took:
so the search is the same wherever it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import UsageError
from ..space import Space
from .base import AnyStrategy
from .cma_es import CMAES
from .gaussian_process import GaussianProcess
from .options import integer
from .team import Team, TeamState


@dataclass(frozen=True)
class Relay(Team[TeamState]):
    """One strategy after another over one history, as far-sighted ones hand over to quick ones.

    members  strategies, or their names, in their order
    at       after how many results each hands over, ascending; one fewer than members

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> relay = Relay((GaussianProcess(), CMAES()), at=(100,))
    >>> relay.turns(relay.init(Space({"lr": Float(0, 1)}), seed=0))
    range(0, 2)
    """

    members: tuple[AnyStrategy, ...] = (GaussianProcess(), CMAES())
    at: tuple[int, ...] = (200,)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.at if isinstance(self.at, (tuple, list)) else (self.at,)
        at = tuple(integer("at", value) for value in given)
        if len(at) != len(self.members) - 1 or any(a >= b for a, b in pairwise(at)):
            raise UsageError(
                f"option at: expected {len(self.members) - 1} ascending numbers of results, one "
                f"fewer than members, found {self.at!r}"
            )
        object.__setattr__(self, "at", at)

    def init(self, space: Space, seed: int) -> TeamState:
        """All members at their beginning."""
        return self._begun(TeamState, space, seed)

    def turns(self, state: TeamState) -> range:
        """The member whose leg it is, then those after it."""
        return range(int(np.searchsorted(self.at, state.told, side="right")), len(self.members))
