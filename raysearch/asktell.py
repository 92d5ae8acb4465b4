"""AskTell: any strategy in a loop of your own, without Ray and without files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import strategies
from .errors import UsageError
from .rng import check_seed, trial_seeds
from .scalars import real, whole
from .slopes import unit_gradient
from .space import Parameter, Space, space_of
from .strategies.base import AnyStrategy
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


class AskTell:
    """A search that is driven by asking it for trials and telling it what came out.

    space     what is searched: a Space, or a mapping from names to parameters
    strategy  proposes the trials
    seed      of the search, in [0, 2**64)
    mode      "min" or "max"; several objectives: one of these for each

    Only trials that are not told yet, and the best ones, are held. Raises UsageError if
    an argument is wrong.

    >>> from raysearch.space import Float, Space
    >>> from raysearch.strategies.random import RandomSearch
    >>> loop = AskTell(Space({"x": Float(-1, 1)}), RandomSearch())
    >>> for trial in loop.ask(100):
    ...     loop.tell(trial, trial.config["x"] ** 2)
    >>> loop.best.value < 0.01
    True
    """

    def __init__(
        self,
        space: Space | Mapping[str, Parameter],
        strategy: AnyStrategy,
        *,
        seed: int = 0,
        mode: str | Sequence[str] = "min",
    ) -> None:
        modes = _modes(mode)
        strategies.check(strategy, len(modes))
        self._space, self._strategy, self._seed = space_of(space), strategy, check_seed(seed)
        self._signs = np.array([1.0 if m == "min" else -1.0 for m in modes])
        self._state = strategy.init(self._space, self._seed)
        self._count = 0  # trials so far
        self._pending: dict[int, _Asked] = {}
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
        trials = self._new_trials(columns.configs())
        for i, trial in enumerate(trials):
            told_as = Batch(x[i : i + 1], batch.number[i : i + 1])
            self._pending[trial.number] = _Asked(trial, told_as)
        return trials

    def tell(
        self,
        trial: Trial | Mapping[str, Any],
        value: float | Sequence[float | None] | None,
        *,
        gradient: Mapping[str, float] | None = None,
    ) -> None:
        """Say what came out of a trial, once, in any order.

        trial     as asked for; or a configuration (a dict) that was evaluated elsewhere
        value     a number; several objectives: a list with one for each; None or NaN: failed
        gradient  name of a continuous, active parameter -> derivative of the (first) value with
                  respect to it; those left out are not known

        Raises UsageError if the trial is not waited for, or the value is of a wrong type.
        """
        values = self._values(value)
        loss = np.array(values) * self._signs
        if np.isneginf(loss).any():
            raise UsageError(
                f"value: expected no infinitely good value, found {value!r}; "
                "tell None if the trial failed"
            )
        asked = self._foreign(trial) if isinstance(trial, Mapping) else self._waiting(trial)
        slopes = None
        if gradient is not None:
            columns = self._space.columns([asked.trial.config])
            slopes = self._signs[0] * unit_gradient(self._space, columns, [gradient])
        outcome = Outcome(loss[None], gradient=slopes)
        self._state = self._strategy.tell(self._state, asked.batch, outcome)
        self._pending.pop(asked.trial.number, None)
        if not np.isnan(loss).any():
            self._compare(loss, asked.trial, values)

    @property
    def best(self) -> Told:
        """The best trial told so far, of equals the first: its `.config`, `.value`, `.number`.

        Raises UsageError as long as there is none, or if there are several objectives.
        """
        if len(self._signs) > 1:
            raise UsageError("best: there are several objectives; use .pareto")
        if not self._front:
            raise UsageError("best: no trial has succeeded yet; tell one with a number")
        return self._front[0][1]

    @property
    def pareto(self) -> list[Told]:
        """The trials that no other is at least as good as in every objective."""
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

    def _compare(self, loss: Floats, trial: Trial, values: tuple[float, ...]) -> None:
        """Keep the trial if no other is at least as good; drop those it dominates."""
        if any((other <= loss).all() for other, _ in self._front):
            return
        told = Told(trial.number, trial.config, trial.seed, values=values)
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


def _number(value: Any) -> float:
    """The value as a float; None as NaN."""
    if value is None:
        return math.nan
    with suppress(OverflowError):
        if (number := real(value)) is not None:
            return number
    raise UsageError(f"value: expected a number, or None if the trial failed, found {value!r}")
