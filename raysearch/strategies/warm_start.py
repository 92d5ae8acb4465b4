"""Warm start: what was good in earlier studies comes first, then another strategy goes on.

That strategy is told the first points as any that it has not proposed itself, so that it learns
from them as from its own. The studies may have searched other spaces: a number that is too low
or too high gives way to the nearest one; any other value that a parameter cannot have, or none,
to that of a random point; names that the space does not have are passed over.

Of a study come its best K = 5 trials, and only their configurations: a loss that was measured on
other data, or on another scale, would mislead whoever compares it with new ones.

Feurer, Springenberg & Hutter (2015), "Initializing Bayesian hyperparameter optimization via
meta-learning", AAAI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ..errors import SpaceError, UsageError
from ..rng import generator
from ..space import Space
from ..space.names import nearest, stand_in
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import AnyStrategy, State, Strategy
from .fidelity import Fidelity
from .known import coding
from .random import RandomSearch

BEST = 5  # K, trials that are taken of each study
_STREAM = 7  # of random numbers for values that configurations lack


@runtime_checkable
class FormerTrial(Protocol):
    """A trial of an earlier search."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Of its active parameters."""


@runtime_checkable
class FormerStudy(Protocol):
    """An earlier search: a `Study`."""

    @property
    def ranking(self) -> Ints:
        """Numbers of its trials, the best first."""

    def trial(self, number: int) -> FormerTrial:
        """The trial of this number."""


#: what a search can begin with
Former = FormerStudy | FormerTrial | Mapping[str, Any]


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
    configs  what to begin with, in this order: configurations, trials that are over, and studies,
             which stand for their 5 best trials; of this space or a similar one. Kept are the
             configurations alone

    Raises UsageError if an option is wrong; `init` does if a configuration has nothing in
    common with the space.

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
    configs: Former | Sequence[Former] = ()

    def __post_init__(self) -> None:
        from . import check

        check(self.outer)
        if self.outer.budgets() or self.outer.rungs():
            raise UsageError(
                f"option outer: expected a strategy that sets no budgets, found {self.outer!r}; "
                "give it a WarmStart as its sampler"
            )
        object.__setattr__(self, "configs", configurations("option configs", self.configs))

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
        configs: Any = self.configs  # a tuple of dicts by now
        x = generator(seed, 0, _STREAM).random((len(configs), space.dim))
        for row, config in zip(x, configs, strict=True):
            if not config.keys() & space.parameters.keys():
                near = f"; {nearest(next(iter(config)), space.parameters)}" if config else ""
                raise UsageError(
                    f"warm start: expected configurations with parameters of this space, found "
                    f"{config!r:.80}, which has none{near}"
                )
            for name, parameter in space.parameters.items():
                if name in config:
                    try:
                        number = parameter.nearest(config[name])
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

    def proposers(self, state: WarmState, number: Ints) -> list[str] | None:
        """Whom the outer strategy names; the first points are this one's."""
        outers = number >= state.begun
        names = self.outer.proposers(state.outer, number[outers] - state.begun)
        if names is None:
            return None
        found = iter(names)
        return [next(found) if own else type(self).__name__ for own in outers.tolist()]


def warmed(strategy: AnyStrategy, former: Any) -> AnyStrategy:
    """The strategy, beginning with what was good; one with budgets has a sampler that does.

    former  as `WarmStart.configs`

    Raises UsageError if the strategy proposes its points by itself, or `former` is wrong.
    """
    configs = configurations("warm_start", former)
    if isinstance(strategy, Fidelity):
        return replace(strategy, sampler=warmed(strategy.sampler, configs))
    if strategy.budgets() or strategy.rungs():
        raise UsageError(
            "warm_start: expected a strategy that can begin with given points, found "
            f"{strategy!r}, which draws its own; leave warm_start out, or take one such as ASHA()"
        )
    return WarmStart(strategy, configs)


def configurations(argument: str, former: Any) -> tuple[dict[str, Any], ...]:
    """What stands for each, in values that can be stored; UsageError names the argument."""
    found: list[dict[str, Any]] = []
    single = isinstance(former, FormerStudy | FormerTrial)
    for one in [former] if single else _listed(argument, former):
        if isinstance(one, FormerStudy):
            configs = [one.trial(number).config for number in one.ranking[:BEST].tolist()]
        elif isinstance(one, (FormerTrial, Mapping)):
            configs = [one.config if isinstance(one, FormerTrial) else one]
        else:
            raise _wrong(argument, one)
        found += ({name: _plain(value) for name, value in c.items()} for c in configs)
    return tuple(found)


def _listed(argument: str, former: Any) -> Sequence[Any]:
    if isinstance(former, str) or not isinstance(former, Sequence):
        raise _wrong(argument, former)
    return former


def _wrong(argument: str, found: Any) -> UsageError:
    return UsageError(
        f"{argument}: expected a list of configurations, finished trials or studies, "
        f"found {found!r:.80}"
    )


def _plain(value: Any) -> Any:
    """The value as it is stored; one that has no name stays, and cannot be."""
    try:
        return stand_in(value.tolist() if isinstance(value, np.ndarray) else value)
    except SpaceError:
        return value
