"""Was the winner lucky? The best configurations once more, on seeds they have not seen.

The best of many noisy results is better than it is: it was picked for its luck, too. Means
over fresh seeds are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar
from zlib import crc32

import numpy as np
import pyarrow as pa
from scipy.special import stdtrit

from .engine.objective import examine, ready, together
from .finished import FinishedTrial
from .log import MemoryLog
from .rng import derived
from .space import Choice, Int, Space
from .strategies.base import ANY_NUMBER, State, Strategy
from .study import Study
from .trial import Batch, Floats, Outcome, Trial

_FRESH = 2**63  # number of the search's part whose seed is taken, beyond all trials


def rerun(
    run: Callable[..., Study], objective: Callable[..., Any], study: Study, best: int, repeats: int
) -> pa.Table:
    """Run the best trials of a study again, and compare their means.

    run      as `raysearch.search`, with all that says where and how trials are run
    best     how many trials, those first in `Study.ranking`
    repeats  how often each, >= 2
    """
    study.best  # noqa: B018  (says what is wrong, if there is none)
    candidates = [study.trial(number) for number in study.ranking[:best].tolist()]
    numbers = [trial.number for trial in candidates]
    space = Space(
        {
            "repeat": Int(0, repeats - 1),
            "candidate": Choice([str(n) for n in numbers], ordered=True),
        }
    )
    place = None
    if study.place != MemoryLog.place:  # the same candidates go on where they were
        place = f"{study.place}/confirmed-{crc32(repr((numbers, repeats)).encode()):08x}"
    found = run(
        _wrap(objective, candidates, study.space),
        space,
        Reruns(candidates[0].budget),
        trials=len(candidates) * repeats,
        metric=study.objectives.to_json(),
        seed=derived(study.spec["seed"], _FRESH),
        study=place,
    )
    return _table(found, candidates)


def _wrap(
    objective: Callable[..., Any], candidates: Sequence[FinishedTrial], space: Space
) -> Callable[..., Any]:
    """The objective of the space of reruns."""
    signature = examine(objective)
    configs = {str(trial.number): dict(trial.config) for trial in candidates}
    kind: Callable[..., Callable[..., Any]] = _Generator if signature.reports else _Function
    more: Any = signature.takes_trial
    if signature.vectorized:
        kind, more = _Vectorized, space
    arguments = objective, configs, more
    return partial(kind, *arguments) if signature.is_class else kind(*arguments)


@dataclass(frozen=True)
class _Own:
    objective: Callable[..., Any]
    configs: Mapping[str, dict[str, Any]]
    data: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", ready(self.objective, self.data))


@dataclass(frozen=True)
class _Rerun(_Own):
    takes_trial: bool

    def arguments(self, config: Mapping[str, Any], trial: Trial) -> tuple[Any, ...]:
        own = dict(self.configs[config["candidate"]])
        return (own, replace(trial, config=own)) if self.takes_trial else (own,)


class _Function(_Rerun):
    def __call__(self, config: Mapping[str, Any], trial: Trial) -> Any:
        return self.objective(*self.arguments(config, trial))


class _Generator(_Rerun):
    def __call__(self, config: Mapping[str, Any], trial: Trial) -> Iterator[Any]:
        yield from self.objective(*self.arguments(config, trial))


@dataclass(frozen=True)
class _Vectorized(_Own):
    space: Space

    def __call__(self, config: Mapping[str, Any], trial: Trial) -> Any:
        found = self.objective(together(self.space.columns([self.configs[config["candidate"]]])))
        if not isinstance(found, Mapping):
            return np.asarray(found).item()
        return {name: np.asarray(values).item() for name, values in found.items()}


@dataclass(frozen=True)
class Reruns(Strategy[State]):
    """Every candidate once, then every candidate again, and so on.

    budget  how far each is trained; None: in full
    """

    multi_objective: ClassVar[bool] = True

    budget: float | None = None

    def init(self, space: Space, seed: int) -> State:
        """At the first candidate."""
        return State(space, seed)

    def ask(self, state: State, n: int) -> tuple[State, Batch]:
        """The next n reruns, as long as there are any."""
        sizes = [int(p.size) for p in state.space.parameters.values()]  # repeats, candidates
        numbers = np.arange(state.asked, min(state.asked + n, math.prod(sizes)))
        repeat, candidate = np.divmod(numbers, sizes[1])
        x = (np.stack([repeat, candidate], axis=1) + 0.5) / sizes
        budget = None if self.budget is None else np.full(len(x), self.budget)
        return replace(state, asked=state.asked + len(x)), Batch(x, numbers, budget)

    def tell(self, state: State, batch: Batch, outcome: Outcome) -> State:
        """Nothing is learnt."""
        return state

    def max_pending(self, state: State, slots: int) -> int:
        """Any number."""
        return ANY_NUMBER


def _table(reruns: Study, candidates: Sequence[FinishedTrial]) -> pa.Table:
    """One row a candidate, the best mean first; see `raysearch.confirm`."""
    name, maximize = reruns.objectives.names[0], reruns.objectives.maximize[0]
    found = reruns.columns("config.candidate", "state", f"metrics.{name}")
    values: dict[str, list[float]] = {str(trial.number): [] for trial in candidates}
    for candidate, state, value in zip(*found.to_pydict().values(), strict=True):
        if state == "complete":
            values[candidate].append(value)
    rows = [
        {
            "trial": trial.number,
            "searched": float(trial.metrics[name]),
            **_interval(np.array(values[str(trial.number)])),
        }
        for trial in candidates
    ]
    sign = -1 if maximize else 1
    rows.sort(key=lambda row: (math.isnan(row["mean"]), sign * row["mean"]))
    return pa.Table.from_pylist(rows)


def _interval(values: Floats) -> dict[str, float]:
    """Mean, deviation, and the 95 % confidence interval of the mean, by Student's t."""
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    std = float(values.std(ddof=1)) if n > 1 else math.nan
    half = float(stdtrit(n - 1, 0.975)) * std / math.sqrt(n) if n > 1 else math.nan
    return {"runs": n, "mean": mean, "std": std, "low": mean - half, "high": mean + half}
