"""A portfolio: several strategies race over one history, and who does well proposes more.

A bandit decides who proposes next. Of the latest W results, ordered from the best (rank 0) to
the worst, rank r is worth its weight, and a member's credit is the share of what its own
results are worth beside how many there are of them; the member with the highest upper
confidence bound is asked:

    w_r = D^(r / W) (W - r)        q_i = sum of w_r over ranks r of member i / (n_i max w)
    i = argmax  q_i + C sqrt(2 log(sum_j n_j) / n_i)

Ranks make no difference between losses of any scale, and the window forgets: a member that
was right at the beginning is overtaken by one that is right now. Points that are pending
count in n_i as if they were worth nothing, so that parallel asks spread. Failures rank last;
several objectives are ranked by fronts.

Fialho, Schoenauer & Sebag (2010), "Toward comparison-based adaptive operator selection", GECCO
(sum of ranks, decay, sliding window).

author  (w,) who proposed the latest results, w <= W      loss  (w, m) these
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import AnyStrategy
from .cma_es import CMAES
from .gaussian_process import GaussianProcess
from .options import check_float, check_int
from .pareto import fronts
from .team import Team, TeamState
from .tpe import TPE

_DECAY = 0.1  # D


@dataclass(frozen=True, eq=False)
class PortfolioState(TeamState):
    """The members, and the latest results; see the head of this file."""

    authors: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    loss: Floats = field(default_factory=lambda: np.zeros((0, 1)))


@dataclass(frozen=True)
class Portfolio(Team[PortfolioState]):
    """Races several strategies over one history; those that find better points propose more.

    members      strategies, or their names; each is told what the others have found
    window       results that are looked at to compare members, >= 2
    exploration  how long a member that does badly is still tried, in (0, 10]

    A study says in its column ``metrics.proposer`` who has proposed each trial. Raises
    UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> race, space = Portfolio((TPE(), CMAES())), Space({"x": Float(0, 1)})
    >>> state, batch = race.ask(race.init(space, seed=0), 4)
    >>> race.proposers(state, batch.number)
    ['TPE', 'CMAES', 'TPE', 'CMAES']
    """

    members: tuple[AnyStrategy, ...] = (GaussianProcess(), TPE(), CMAES())
    window: int = 50
    exploration: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int(self, "window", 2)
        check_float(self, "exploration", 0, 10)

    def init(self, space: Space, seed: int) -> PortfolioState:
        """All members at their beginning."""
        return self._begun(PortfolioState, space, seed)

    def turns(self, state: PortfolioState) -> list[int]:
        """Members by their upper confidence bounds; those that have proposed nothing first."""
        m, w = len(self.members), len(state.loss)
        order = np.lexsort((np.arange(w), fronts(state.loss)))  # of equals the earlier
        ranks = np.arange(w)
        worth = _DECAY ** (ranks / self.window) * (self.window - ranks) / self.window
        told = np.bincount(state.authors, minlength=m)
        n = told + np.bincount(state.author, minlength=m)
        credit = np.bincount(state.authors[order], weights=worth, minlength=m) / np.maximum(n, 1)
        wide = math.sqrt(2 * math.log(max(n.sum(), 1)))
        bound = np.where(n, credit + self.exploration * wide / np.sqrt(np.maximum(n, 1)), math.inf)
        turns: list[int] = np.argsort(-bound, kind="stable").tolist()
        return turns

    def tell(self, state: PortfolioState, batch: Batch, outcome: Outcome) -> PortfolioState:
        """All members learn, and get credit for their own."""
        own = batch.number != FOREIGN
        authors = state.author[np.searchsorted(state.waiting, batch.number[own])]
        loss = outcome.unconstrained().loss[own]
        before = state.loss if len(state.loss) else loss[:0]
        return replace(
            super().tell(state, batch, outcome),
            authors=np.concatenate([state.authors, authors])[-self.window :],
            loss=np.concatenate([before, loss])[-self.window :],
        )
