"""AskTell: any strategy in a loop of your own, without Ray and without files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import strategies
from .errors import UsageError
from .rng import check_seed, trial_seeds
from .scalars import real, whole
from .slopes import unit_gradient
from .space import Parameter, Space, space_of
from .strategies.base import AnyStrategy
from .strategies.warm_start import Former, warmed
from .trial import FOREIGN, Batch, Floats, Outcome, Trial


@dataclass(frozen=True)
class Told(Trial):
    """A trial whose result is known.

    values  one for each objective, as told
    """

    values: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The value of the first objective, most often the only one."""
        return self.values[0]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A trial that has been asked for, as its strategy knows it."""

    trial: Trial
    batch: Batch
    curve: Floats | None = None  # (1, r, m) losses at rungs
    stopped: float | None = None  # budget at which it was to be stopped


class AskTell:
    """A search that is driven by asking it for trials and telling it what came out.

    space     what is searched: a Space, or a mapping from names to parameters
    strategy  proposes the trials; Auto() if left out
    seed      of the search, in [0, 2**64)
    mode      "min" or "max"; several objectives: one of these for each
    warm_start  studies, finished trials or configurations whose best are asked for first

    Only trials that are not told yet, and the best ones, are held. Raises UsageError if
    an argument is wrong.

    >>> from raysearch.space import Float, Space
    >>> from raysearch.strategies.random import RandomSearch
    >>> loop = AskTell(Space({"x": Float(-1, 1)}), RandomSearch())
    >>> for trial in loop.ask(100):
    ...     loop.tell(trial, trial.config["x"] ** 2)
    >>> loop.best.value < 0.01
    True

    A strategy with budgets says in `trial.budget` how far to train, and in `trial.parent` the
    number of the trial to go on from, whose checkpoint is yours to keep. One that stops trials
    wants to hear of them while they run::

        for step in range(1, int(trial.budget) + 1):
            value = train_on()
            if loop.report(trial, step, value):
                break
        loop.tell(trial, value)
    """

    def __init__(
        self,
        space: Space | Mapping[str, Parameter],
        strategy: AnyStrategy | None = None,
        *,
        seed: int = 0,
        mode: str | Sequence[str] = "min",
        warm_start: Former | Sequence[Former] | None = None,
    ) -> None:
        modes = _modes(mode)
        strategy = strategies.get("auto")() if strategy is None else strategy
        strategies.check(strategy, len(modes))
        space = space_of(space)
        strategy = strategy if warm_start is None else warmed(strategy, warm_start)
        strategy, _ = strategy.settled(space, objectives=len(modes))
        self._space, self._strategy, self._seed = space, strategy, check_seed(seed)
        self._signs = np.array([1.0 if m == "min" else -1.0 for m in modes])
        self._state = strategy.init(self._space, self._seed)
        self._count = 0  # trials so far
        self._pending: dict[int, _Asked] = {}
        self._numbers: dict[int, int] = {}  # of points that may be parents: those of their trials
        self._in_full = max(strategy.budgets(), default=math.inf)
        self._reached = -math.inf  # the highest budget told
        self._constraints = 0  # how many each trial has
        self._front: list[tuple[Floats, Told]] = []  # losses, and the trial
        self._finished = False

    def ask(self, n: int = 1) -> list[Trial]:
        """Up to n trials to evaluate; fewer if the strategy wants to be told something first.

        None at all, with nothing left to be told: the search is `done`.
        """
        count = whole(n)
        if count is None or count < 1:
            raise UsageError(f"n: expected an integer >= 1, found {n!r}")
        self._state, batch = self._strategy.ask(self._state, count)
        self._finished = not len(batch) and not self._pending
        columns = self._space.decode(batch.x)
        x = self._space.encode(columns)  # canonical, as strategies are told
        trials = []
        for i, trial in enumerate(self._new_trials(columns.configs())):
            one = slice(i, i + 1)
            told_as = Batch(x[one], batch.number[one])
            if batch.budget is not None:
                told_as = replace(told_as, budget=batch.budget[one])
                trial = replace(trial, budget=float(batch.budget[i]))
            if batch.parent is not None:
                told_as = replace(told_as, parent=batch.parent[one])
                trial = replace(trial, parent=self._numbers.get(int(batch.parent[i])))
                self._numbers[int(batch.number[i])] = trial.number
            self._pending[trial.number] = _Asked(trial, told_as)
            trials.append(trial)
        return trials

    def report(self, trial: Trial, budget: float, value: float | Sequence[float]) -> bool:
        """Say how a trial stands that still runs; whether it is to be stopped, and then told.

        trial   as asked for
        budget  how far it has come, > 0; the strategy judges it at its `rungs`
        value   there, as for `tell`

        Raises UsageError if the trial is not waited for, or the budget or value is wrong.
        """
        asked, reached = self._waiting(trial), real(budget)
        if reached is None or not reached > 0:
            raise UsageError(f"budget: expected a number > 0, found {budget!r}")
        loss = self._loss(self._values(value))
        rungs = self._strategy.rungs()
        rung = int(np.searchsorted(rungs, reached, side="right")) - 1
        if rung < 0 or np.isnan(loss).any():
            return False
        nowhere = np.full((1, len(rungs), len(loss)), np.nan)
        curve = nowhere if asked.curve is None else asked.curve.copy()
        if not np.isnan(curve[0, rung]).any():
            return asked.stopped is not None  # judged there already
        curve[0, rung] = loss
        self._state, stop = self._strategy.report(
            self._state, asked.batch, np.array([rung]), loss[None]
        )
        stopped = reached if stop[0] else None
        self._pending[trial.number] = replace(asked, curve=curve, stopped=stopped)
        return bool(stop[0])

    def tell(
        self,
        trial: Trial | Mapping[str, Any],
        value: float | Sequence[float | None] | None,
        *,
        constraint: float | Sequence[float] | None = None,
        cost: float | None = None,
        gradient: Mapping[str, float] | None = None,
    ) -> None:
        """Say what came out of a trial, once, in any order.

        trial       as asked for; or a configuration (a dict) that was evaluated elsewhere
        value       a number; several objectives: a list with one for each; None or NaN: failed
        constraint  a number, or always equally many, to be at most 0, such as gb - 8: only
                    trials that meet all of them are the best. NaN, or none where others had
                    some: unknown, so not met
        cost        what it has cost, > 0, in any unit, for a strategy that looks at it
        gradient    name of a continuous, active parameter -> derivative of the (first) value with
                    respect to it; those left out are not known

        Raises UsageError if the trial is not waited for, or the value is of a wrong type.
        """
        values = self._values(value)
        loss = self._loss(values)
        asked = self._foreign(trial) if isinstance(trial, Mapping) else self._waiting(trial)
        slopes = None
        if gradient is not None:
            columns = self._space.columns([asked.trial.config])
            slopes = self._signs[0] * unit_gradient(self._space, columns, [gradient])
        budget = None if asked.stopped is None else np.array([asked.stopped])
        limits = self._limits(constraint)
        outcome = Outcome(loss[None], budget, asked.curve, limits, slopes, _cost(cost))
        if not self._strategy.constrained:
            outcome = outcome.unconstrained()
        self._state = self._strategy.tell(self._state, asked.batch, outcome)
        self._pending.pop(asked.trial.number, None)
        if not np.isnan(loss).any() and (limits is None or (limits <= 0).all()):
            self._compare(loss, asked, values)

    @property
    def best(self) -> Told:
        """The best trial told so far, of equals the first: its `.config`, `.value`, `.number`.

        It meets its constraints, if it was told any.
        Losses at different budgets cannot be compared: only those trials count that have come
        as far as any, which the strategy's budgets and `report` say.

        Raises UsageError as long as there is none, or if there are several objectives.
        """
        if len(self._signs) > 1:
            raise UsageError("best: there are several objectives; use .pareto")
        if not self._front:
            raise UsageError(
                "best: no trial has succeeded yet; tell one with a number (and constraints <= 0)"
            )
        return self._front[0][1]

    @property
    def pareto(self) -> list[Told]:
        """The trials that no other is at least as good as in every objective; of those that
        have come as far as any, as for `best`.
        """
        return [told for _, told in self._front]

    @property
    def pending(self) -> list[Trial]:
        """The trials asked for and not told yet."""
        return [asked.trial for asked in self._pending.values()]

    @property
    def done(self) -> bool:
        """Whether the strategy had nothing more to propose when last asked."""
        return self._finished

    def _new_trials(self, configs: Iterable[Mapping[str, Any]]) -> list[Trial]:
        configs = list(configs)
        ks = np.arange(self._count, self._count + len(configs))
        self._count += len(configs)
        seeds = trial_seeds(self._seed, ks).tolist()
        return [Trial(*t) for t in zip(ks.tolist(), configs, seeds, strict=True)]

    def _foreign(self, config: Mapping[str, Any]) -> _Asked:
        """A configuration that was not asked for; SpaceError if it is illegal."""
        columns = self._space.columns([config])
        batch = Batch(self._space.encode(columns), np.array([FOREIGN]))
        return _Asked(self._new_trials(columns.configs())[0], batch)

    def _waiting(self, trial: Any) -> _Asked:
        if not isinstance(trial, Trial):
            raise UsageError(f"trial: expected one that was asked for, or a dict, found {trial!r}")
        asked = self._pending.get(trial.number)
        if asked is not None and asked.trial == trial:
            return asked
        if asked is None and trial.number < self._count:
            raise UsageError(f"trial: number {trial.number} has been told already; tell each once")
        raise UsageError(
            f"trial: number {trial.number} was not asked for by this loop; "
            "for a configuration from elsewhere tell its .config"
        )

    def _values(self, value: Any) -> tuple[float, ...]:
        """One float for each objective; NaN in all of them if the trial failed."""
        m = len(self._signs)
        failed = (math.nan,) * m
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return failed
        each = [value] if m == 1 else value
        if isinstance(each, (str, bytes, Mapping)) or not isinstance(each, Iterable):
            raise UsageError(f"value: expected {m} numbers, one per objective, found {value!r}")
        values = tuple(_number(v) for v in each)
        if len(values) != m:
            raise UsageError(f"value: expected {m} numbers, one per objective, found {value!r}")
        return failed if any(map(math.isnan, values)) else values

    def _loss(self, values: tuple[float, ...]) -> Floats:
        loss: Floats = np.array(values) * self._signs
        if np.isneginf(loss).any():
            raise UsageError(
                f"value: expected no infinitely good value, found {values}; "
                "tell None if the trial failed"
            )
        return loss

    def _limits(self, constraint: Any) -> Floats | None:
        """(1, c) what was told of the constraints, if there are any."""
        if constraint is None:
            return np.full((1, self._constraints), np.nan) if self._constraints else None
        each = constraint if isinstance(constraint, (list, tuple, np.ndarray)) else [constraint]
        limits = np.array([[_number(value, "constraint", "unknown") for value in each]])
        if self._constraints not in (0, len(each)) or not len(each):
            wanted = self._constraints or "one or more"
            raise UsageError(f"constraint: expected {wanted} numbers, found {constraint!r}")
        self._constraints = len(each)
        return limits

    def _compare(self, loss: Floats, asked: _Asked, values: tuple[float, ...]) -> None:
        """Keep the trial if no other is at least as good; drop those it dominates."""
        trial = asked.trial
        budget = trial.budget if asked.stopped is None else asked.stopped
        reached = self._in_full if budget is None else budget
        if reached > self._reached:
            self._reached, self._front = reached, []
        if reached < self._reached or any((other <= loss).all() for other, _ in self._front):
            return
        told = Told(
            trial.number,
            trial.config,
            trial.seed,
            budget=budget,
            parent=trial.parent,
            values=values,
        )
        kept = [(other, t) for other, t in self._front if not (loss <= other).all()]
        self._front = [*kept, (loss, told)]


def _modes(mode: Any) -> Sequence[str]:
    if isinstance(mode, Mapping):
        raise UsageError(
            f"mode: values are told in order, without names; write mode={list(mode.values())!r}"
        )
    modes = (mode,) if isinstance(mode, str) or not isinstance(mode, Iterable) else tuple(mode)
    if not modes or not all(each in ("min", "max") for each in modes):
        raise UsageError(f"mode: expected 'min' or 'max', or a list of these, found {mode!r}")
    return modes


def _cost(cost: Any) -> Floats | None:
    """(1,) what was told of the cost."""
    if cost is None:
        return None
    number = _number(cost, "cost", "unknown")
    if not 0 < number < math.inf:
        raise UsageError(f"cost: expected a number > 0, or None if unknown, found {cost!r}")
    return np.array([number])


def _number(value: Any, name: str = "value", none: str = "the trial failed") -> float:
    """The value as a float; None as NaN."""
    if value is None:
        return math.nan
    with suppress(OverflowError):
        if (number := real(value)) is not None:
            return number
    raise UsageError(f"{name}: expected a number, or None if {none}, found {value!r}")
