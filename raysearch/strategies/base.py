"""What a strategy is: pure functions from state to state, over the unit cube.

A strategy's class is a frozen dataclass of its options and holds nothing else. What
changes while it searches is its `State`, a frozen dataclass of its own made of arrays,
numbers, texts, and tuples and dataclasses of these (beside the space, which is given), so
that any state goes to disk and back without pickle (`raysearch.strategies.state`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..space import Space
from ..trial import Batch, Floats, Ints, Outcome

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class State:
    """What every strategy's state has.

    space  that is searched
    seed   of the search
    asked  how many points have been proposed; the number of the next one
    """

    space: Space
    seed: int
    asked: int = 0


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Strategy(ABC, Generic[S]):
    """One method of search. To write one: subclass, decorate with @dataclass(frozen=True).

    The contract, which `raysearch.testing.conformance` checks for every registered strategy:

    - `ask` returns at most n legal points (constraints met), numbered on from the last
      ask. Fewer than n: it has no more to propose before it is told something. None, with
      nothing pending: it is finished. ask(m) then ask(n) proposes what ask(m + n) does.
    - Draw k depends on (seed, k) and what has been told, on nothing else.
    - `tell` takes any subset of the points asked, in any order, each once; also points it
      never asked (number FOREIGN). tell(a) then tell(b) is tell(a + b). A NaN loss is a
      failure, which never wins; +inf is a legal worst loss. Told points are canonical:
      x == space.encode(columns), so an x told may differ from the x asked by rounding.
    - Arguments are never changed, nor kept where the caller could change them.
    - No point is proposed twice while there are others left; but one that was told may be
      proposed again as the `parent` of itself with a higher budget (see also `parents`).
    - `ask` depends on what was told, never on what was merely reported.
    - Wrong options are refused when the strategy is made, by a UsageError (`options`).
    """

    #: whether losses with more than one column are understood
    multi_objective: ClassVar[bool] = False
    #: whether `Outcome.constraint` is understood; if not, what breaks one comes as infinitely bad
    constrained: ClassVar[bool] = False
    #: whether it promises to beat random search on smooth functions of some parameters
    beats_random: ClassVar[bool] = False
    #: whether it proposes the same points whatever the seed, some of them at least
    seedless: ClassVar[bool] = False

    def takes(self, objectives: int) -> bool:
        """Whether it understands losses with so many columns."""
        return objectives == 1 or self.multi_objective

    def costs(self) -> str | None:
        """What tells it what a trial costs, as `Outcome.cost`: the name of a metric, or "seconds",
        for how long it ran. None: it does not matter.
        """
        return None

    def settled(self, space: Space, **known: int | float | None) -> tuple[AnyStrategy, str]:
        """What is searched with in the end, and why; only `Auto` leaves that open.

        known  trials, slots, seconds, objectives: what is known of the search; None: unknown

        Strategies among the options are settled, too. Returns a line for each choice, or "".
        """
        lines: list[str] = []

        def one(option: Any) -> Any:
            if isinstance(option, Strategy):
                option, line = option.settled(space, **known)
                lines.extend(line.splitlines())
            return option

        found = {}
        for f in fields(self):
            option = getattr(self, f.name)
            found[f.name] = tuple(map(one, option)) if isinstance(option, tuple) else one(option)
        return (replace(self, **found) if lines else self), "\n".join(lines)

    @abstractmethod
    def init(self, space: Space, seed: int) -> S:
        """The state before the first ask."""

    @abstractmethod
    def ask(self, state: S, n: int) -> tuple[S, Batch]:
        """At most n points to evaluate, and the state that knows them as pending."""

    @abstractmethod
    def tell(self, state: S, batch: Batch, outcome: Outcome) -> S:
        """The state after the outcomes of some points have become known."""

    def parents(self, state: S) -> Ints | None:
        """Numbers of the points that others, pending or yet to come, may go on from.

        For strategies in which a point may have several children, and these may lie elsewhere:
        what is not named here is no parent any more. None: a parent has one child, its own
        configuration with a higher budget.
        """
        return None

    def inherits(self, state: S, number: Ints) -> list[tuple[str, ...] | None] | None:
        """What these points, just asked, take over of the states that their parents have saved.

        Names of entries; the others begin anew. None, for a point or for all: everything.
        """
        return None

    def budgets(self) -> tuple[float, ...]:
        """Budgets of which losses are compared, ascending; the last one is in full.

        Empty: points have no budget, and all are trained in full.
        """
        return ()

    def rungs(self) -> tuple[float, ...]:
        """Budgets at which running trials are judged, ascending; by default none is."""
        return ()

    def report(self, state: S, batch: Batch, rung: Ints, loss: Floats) -> tuple[S, Mask]:
        """Take in how trials stand that still run, and say which of them are to be stopped.

        batch  (k) points that were asked and not told yet
        rung   (k,) indices into `rungs`, of the budgets just reached
        loss   (k, m) there; never NaN

        Returns the state, and (k,) True for trials to be stopped. A rung may be reported
        more than once, after a worker has died; what is told of a trial later holds its
        rungs once more, as `Outcome.curve`.
        """
        return state, np.zeros(len(batch), dtype=bool)

    def max_pending(self, state: S, slots: int) -> int:
        """How many points may be pending at once without harm to the search's quality.

        Strategies that do not look at losses can bear any number; by default it is what
        `slots` trials running at once need.
        """
        return slots

    def asks_slowly(self) -> bool:
        """Whether an ask may take as long as a trial; such asks are made ahead of time.

        See `raysearch.engine.ahead`. No state may then depend on what is merely reported.
        """
        return False

    def proposers(self, state: S, number: Ints) -> list[str] | None:
        """Who has proposed these points, which are pending: names, where there are several.

        A study keeps them. None: the strategy itself.
        """
        return None


ANY_NUMBER = 2**62  # max_pending of strategies that do not look at losses
AnyStrategy = Strategy[Any]
