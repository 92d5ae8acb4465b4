"""Auto: which strategy is used when none is named.

What decides: parameters, configurations, trials in all (unknown: any number), trials at once
(unknown: few), what a trial takes (unknown: a minute), objectives. Trials are quick where one of
them ends every 20 ms or sooner, all slots together: a model could not keep up. The first row that
fits counts:

    case                                                            strategy
    ------------------------------------------------------------    ---------------------------
    more than 2,000 parameters                                      CMAES, or NSGA2 for
                                                                    several objectives
    no more trials than 8, or than run at once                      QuasiRandom
    no more configurations than 8, or than trials                   QuasiRandom
    several objectives    two or three, at most 300 trials,         GaussianProcess
                          not quick
                          more, at most 300 trials, not quick       TPE
                          otherwise                                 NSGA2
    quick trials          at most 300                               TPE
                          more                                      CMAES
    at most 300 trials                                              GaussianProcess
    otherwise                                                       GaussianProcess, and from
                                                                    300 results on TrustRegion

All of these learn from every result, repeat no configuration, and begin with quasi-random
points. The figures behind the table: docs/benchmarks.md. When one strategy hands over to the
next depends on how many results are known, never on a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..errors import UsageError
from ..scalars import real
from ..space import Space
from ..trial import Batch, Ints, Outcome
from .base import AnyStrategy, State, Strategy
from .cma_es import CMAES
from .gaussian_process import GaussianProcess
from .memo import per_space
from .nsga2 import NSGA2
from .options import check_int
from .quasi_random import QuasiRandom
from .relay import Relay
from .tpe import TPE
from .trust_region import TrustRegion

_FIRST = 8  # points that model-based strategies begin with, before they know anything
_FEW = 300  # trials in which models of the whole space go furthest
_FRONTS = 3  # objectives up to which the volume of their front leads furthest
_MANY = 2_000  # parameters for which models have not been tried
_QUICK = 0.02  # seconds, about what a suggestion of a Gaussian process takes
_MINUTE = 60.0


@dataclass(frozen=True)
class Choice:
    """What is chosen, and because of what."""

    strategy: AnyStrategy
    why: str

    def __str__(self) -> str:
        """In one line.

        >>> from raysearch.space import Float
        >>> print(Auto(trials=100).choice(Space({"lr": Float(0, 1)})))
        Auto: GaussianProcess, as 1 parameter and 100 trials
        """
        return f"Auto: {spelled(self.strategy)}, as {self.why}"


def spelled(strategy: AnyStrategy) -> str:
    """The name of a strategy; of a relay, those of its members and when each takes over.

    >>> spelled(Relay((TPE(), CMAES()), at=(1000,)))
    'TPE, from 1,000 results on CMAES'
    """
    if not isinstance(strategy, Relay):
        return type(strategy).__name__
    first, *others = map(spelled, strategy.members)
    legs = zip(strategy.at, others, strict=True)
    return ", ".join([first, *(f"from {at:,} results on {other}" for at, other in legs)])


@dataclass(frozen=True)
class Auto(Strategy[Any]):
    """Chooses by space, trials and slots among the others, and hands over; the default.

    trials      how many there will be, >= 1; None: unknown
    slots       how many run at once, >= 1; None: a few
    seconds     that a trial takes, >= 0; None: a minute
    objectives  how many there are, >= 1; None: one

    A search fills in what is left out here, as far as it knows, and stores what is chosen, so
    that a study goes on with the same. Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float
    >>> space = Space({f"x{i}": Float(0, 1) for i in range(5)})
    >>> Auto(trials=100).choice(space).strategy == GaussianProcess()
    True
    >>> Auto(trials=5000, seconds=0.001).choice(space).why
    '5 parameters and 5,000 trials of 0.001 s'
    """

    multi_objective: ClassVar[bool] = True
    beats_random: ClassVar[bool] = True

    trials: int | None = None
    slots: int | None = None
    seconds: float | None = None
    objectives: int | None = None

    def __post_init__(self) -> None:
        for option in ("trials", "slots", "objectives"):
            if getattr(self, option) is not None:
                check_int(self, option)
        if self.seconds is not None:
            number = real(self.seconds)
            if number is None or not number >= 0:
                raise UsageError(f"option seconds: expected a number >= 0, found {self.seconds!r}")
            object.__setattr__(self, "seconds", number)

    def settled(self, space: Space, **known: int | float | None) -> tuple[AnyStrategy, str]:
        """What is chosen, given what is known where options have been left out."""
        options: dict[str, Any] = {k: v for k, v in known.items() if getattr(self, k) is None}
        choice = replace(self, **options).choice(space)
        return choice.strategy, str(choice)

    def choice(self, space: Space) -> Choice:
        """What is searched with, and why, as the table at the head of this file says."""
        return _choice(space, self)

    def init(self, space: Space, seed: int) -> State:
        """The state of what is chosen."""
        state: State = self._chosen(space).init(space, seed)
        return state

    def ask(self, state: State, n: int) -> tuple[State, Batch]:
        """As what is chosen."""
        return self._chosen(state.space).ask(state, n)

    def tell(self, state: State, batch: Batch, outcome: Outcome) -> State:
        """As what is chosen."""
        told: State = self._chosen(state.space).tell(state, batch, outcome)
        return told

    def asks_slowly(self) -> bool:
        """It may: what is chosen depends on the space."""
        return True

    def max_pending(self, state: State, slots: int) -> int:
        return self._chosen(state.space).max_pending(state, slots)

    def proposers(self, state: State, number: Ints) -> list[str] | None:
        return self._chosen(state.space).proposers(state, number)

    def _chosen(self, space: Space) -> AnyStrategy:
        return self.choice(space).strategy


@per_space
def _choice(space: Space, auto: Auto) -> Choice:
    d, size, slots, m = space.dim, space.size, auto.slots or 1, auto.objectives or 1
    trials = math.inf if auto.trials is None else auto.trials
    quick = (_MINUTE if auto.seconds is None else auto.seconds) / slots <= _QUICK
    shape = f"{d:,} parameter{'s' * (d > 1)}"
    count = "any number of trials" if trials == math.inf else f"{trials:,} trials"
    if d > _MANY:
        return Choice(NSGA2() if m > 1 else CMAES(), shape)
    if trials <= max(_FIRST, slots):
        at_once = f", {slots:,} at once" if slots > 1 else ""
        return Choice(QuasiRandom(), f"{count}{at_once} leave nothing to learn from")
    if size <= max(_FIRST, auto.trials or 0):
        return Choice(QuasiRandom(), f"all {size:,} configurations can be tried")
    if m > 1:
        shape += f", {m} objectives"
    if quick:
        length = "" if auto.seconds is None else f" of {auto.seconds:g} s"
        count += length + (f", {slots:,} at once" if slots > 1 else "")
    return Choice(_strategy(trials, m, quick), f"{shape} and {count}")


def _strategy(trials: float, m: int, quick: bool) -> AnyStrategy:
    """The rows of the table from "several objectives" on."""
    if m > 1:
        few = trials <= _FEW and not quick
        return NSGA2() if not few else GaussianProcess() if m <= _FRONTS else TPE()
    if quick:
        return TPE() if trials <= _FEW else CMAES()
    if trials <= _FEW:
        return GaussianProcess()
    return Relay((GaussianProcess(), TrustRegion()), (_FEW,))
