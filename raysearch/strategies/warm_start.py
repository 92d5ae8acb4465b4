"""Warm start: what was good in earlier studies comes first, then another strategy goes on.

That strategy is told the first points as any that it has not proposed itself, so that it learns
from them as from its own. The studies may have searched other spaces: a value that a parameter
cannot have, or none, gives way to that of a random point; names that the space does not
have are passed over.

Feurer, Springenberg & Hutter (2015), "Initializing Bayesian hyperparameter optimization via
meta-learning", AAAI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import SpaceError, UsageError
from ..rng import generator
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Outcome
from .base import AnyStrategy, State, Strategy
from .known import coding
from .random import RandomSearch

_STREAM = 7  # of random numbers for values that configurations lack


@dataclass(frozen=True, eq=False)
class WarmState(State):
    """How far the first points have come.

    outer  state of the strategy that goes on
    first  (k, d) points that are still to come first
    begun  how many have been asked; the outer strategy's points are numbered on from there
    open   how many of these have not been told
    """

    outer: State = field(kw_only=True)
    first: Floats = field(kw_only=True)
    begun: int = 0
    open: int = 0


@dataclass(frozen=True)
class WarmStart(Strategy[WarmState]):
    """The best of earlier studies first, then whatever another strategy proposes.

    outer    proposes all other points; one without budgets (those take this one as sampler)
    configs  configurations to begin with, in this order, of this space or a similar one

    Raises UsageError if an option is wrong.

    >>> from raysearch.space import Float, Space
    >>> search = WarmStart(RandomSearch(), [{"lr": 0.25, "momentum": 0.9}])
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 3)
    >>> float(batch.x[0, 0]), batch.number.tolist()
    (0.25, [0, 1, 2])
    """

    multi_objective: ClassVar[bool] = True  # if the outer one is
    constrained: ClassVar[bool] = True  # likewise
    seedless: ClassVar[bool] = True

    outer: AnyStrategy = field(default_factory=RandomSearch)
    configs: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        from . import check

        check(self.outer)
        if self.outer.budgets() or self.outer.rungs():
            raise UsageError(
                f"option outer: expected a strategy that sets no budgets, found {self.outer!r}; "
                "give it a WarmStart as its sampler"
            )
        given = isinstance(self.configs, Sequence) and not isinstance(self.configs, str)
        if not given or not all(isinstance(config, Mapping) for config in self.configs):
            raise UsageError(
                f"option configs: expected a list of configurations, found {self.configs!r:.80}"
            )
        object.__setattr__(self, "configs", tuple(dict(config) for config in self.configs))

    def takes(self, objectives: int) -> bool:
        return self.outer.takes(objectives)

    def costs(self) -> str | None:
        return self.outer.costs()

    def asks_slowly(self) -> bool:
        return self.outer.asks_slowly()

    def init(self, space: Space, seed: int) -> WarmState:
        """The configurations as points; those that break a constraint of the space are left out."""
        first = self._points(space, seed)
        first = first[space.allowed(space.decode(first))]
        _, rows = np.unique(first, axis=0, return_index=True)  # each once
        first = first[np.sort(rows)]
        return WarmState(space, seed, outer=self.outer.init(space, seed), first=first)

    def _points(self, space: Space, seed: int) -> Floats:
        """(k, d) where the configurations lie."""
        x = generator(seed, 0, _STREAM).random((len(self.configs), space.dim))
        for row, config in zip(x, self.configs, strict=True):
            for name, parameter in space.parameters.items():
                if name in config:
                    try:
                        number = parameter.lookup(config[name])
                    except SpaceError:
                        continue
                    value = np.array([number], dtype=parameter.dtype)
                    row[space.places[name]] = parameter.encode(value)[0]
        return space.snap(x)

    def ask(self, state: WarmState, n: int) -> tuple[WarmState, Batch]:
        """The first points, then the outer strategy's.

        Where that could propose one of them again, they are waited for.
        """
        first, number = state.first[:n], state.asked
        k = len(first)
        state = replace(state, first=state.first[n:], begun=state.begun + k, open=state.open + k)
        x = first
        if k < n and (not state.open or coding(state.space).endless):
            outer, batch = self.outer.ask(state.outer, n - k)
            state, x = replace(state, outer=outer), np.concatenate([first, batch.x])
        return replace(state, asked=number + len(x)), Batch(x, np.arange(number, number + len(x)))

    def tell(self, state: WarmState, batch: Batch, outcome: Outcome) -> WarmState:
        """The outer strategy learns of everything."""
        outers = batch.number >= state.begun
        told = replace(batch, number=np.where(outers, batch.number - state.begun, FOREIGN))
        if not self.outer.constrained:
            outcome = outcome.unconstrained()
        new = ~(state.first[:, None] == batch.x).all(axis=2).any(axis=1)
        return replace(
            state,
            outer=self.outer.tell(state.outer, told, outcome),
            first=state.first[new],
            open=state.open - int((~outers & (batch.number != FOREIGN)).sum()),
        )

    def max_pending(self, state: WarmState, slots: int) -> int:
        """What the outer strategy can bear."""
        return self.outer.max_pending(state.outer, slots)
