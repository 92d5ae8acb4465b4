"""A schedule of hyperparameters that a search has found, once more as a single training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .engine.records import INHERITED
from .errors import UsageError
from .log.schema import METRICS
from .search import search
from .space import Space
from .strategies.base import State, Strategy
from .study import Study
from .trial import ROOT, Batch, Ints, Outcome


def replay(
    objective: Callable[..., Any],
    study: str | Path | Study,
    number: int | None = None,
    **options: Any,
) -> Study:
    """Train once by the schedule of a trial, `Study.schedule`, from its beginning to its end.

    objective  as it was searched with, or another one that saves checkpoints
    study      as a search returned it, or the place where one is stored
    number     of the trial; None: the best one
    options    of `search` that say where and how: address, concurrency, data, progress,
               ray_options, retries, timeout

    Returns a study in memory, whose trials are the stretches of the training, the last one its
    end. An objective that depends on nothing but its configuration and its checkpoint comes to
    the same metrics again; `trial.seed` is another one. Raises as `search`, and UsageError if the
    study's trials have no budgets.

    >>> import raysearch as rs
    >>> def descent(config, trial):
    ...     w = trial.checkpoint["w"] if trial.checkpoint else 1.0
    ...     while True:
    ...         w *= 1 - config["lr"]
    ...         yield {"loss": w}, {"w": w}
    >>> quiet = {"address": "inline", "progress": False}
    >>> pbt = rs.PopulationBased(population=5, max_budget=4, interval=1)
    >>> study = rs.search(descent, {"lr": rs.Float(0, 1)}, pbt, **quiet)
    >>> rs.replay(descent, study, **quiet).best.metrics == study.best.metrics
    True
    """
    found = study if isinstance(study, Study) else Study.load(study)
    schedule = found.schedule(number).to_pydict()
    numbers, until = schedule["number"], schedule["to"]
    if None in until:
        raise UsageError(
            "replay: expected a study whose trials have budgets, such as PopulationBased's, found "
            f"one of {found.spec['strategy']['strategy']!r}; run the objective on trial.config"
        )
    configs = [found.trial(n).config for n in numbers]
    x = found.space.encode(found.space.columns(configs))
    training = Training(tuple(map(tuple, x.tolist())), tuple(until), _inherit(found, schedule))
    metric = found.objectives.to_json()
    return search(
        objective, found.space, training, metric=metric, seed=found.spec["seed"], **options
    )


def _inherit(
    study: Study, schedule: Mapping[str, Sequence[Any]]
) -> tuple[tuple[str, ...] | None, ...]:
    """What each stretch took over of the state of the one before; None: everything."""
    column, options = METRICS + INHERITED, study.spec["strategy"]["options"]
    if options.get("inherit") is None or column not in schedule:
        return (None,) * len(schedule["number"])
    return tuple(names and tuple(json.loads(names)) for names in schedule[column])


@dataclass(frozen=True, eq=False)
class Progress(State):
    """How far a training is: stretches that have succeeded."""

    done: int = 0


@dataclass(frozen=True)
class Training(Strategy[Progress]):
    """A single training; each stretch goes on from the one before, until one fails.

    x        for each stretch the point of its configuration
    until    the budget at its end, ascending
    inherit  what it takes over of the state of the one before; None: everything
    """

    x: tuple[tuple[float, ...], ...]
    until: tuple[float, ...]
    inherit: tuple[tuple[str, ...] | None, ...]

    def inherits(self, state: Progress, number: Ints) -> list[tuple[str, ...] | None]:
        """As the members did."""
        return [self.inherit[n] for n in number.tolist()]

    def budgets(self) -> tuple[float, ...]:
        """Where stretches end."""
        return self.until

    def init(self, space: Space, seed: int) -> Progress:
        """At the beginning."""
        return Progress(space, seed)

    def ask(self, state: Progress, n: int) -> tuple[Progress, Batch]:
        """The next stretch."""
        k = state.asked
        rows = np.arange(k, k + int(n > 0 and k == state.done < len(self.x)))
        x = np.array(self.x)[rows]
        parent = np.where(rows > 0, rows - 1, ROOT)
        return replace(state, asked=k + len(rows)), Batch(
            x, rows, np.array(self.until)[rows], parent
        )

    def tell(self, state: Progress, batch: Batch, outcome: Outcome) -> Progress:
        """A stretch is over."""
        return replace(state, done=state.done + int((~np.isnan(outcome.loss).any(axis=1)).sum()))

    def parents(self, state: Progress) -> np.ndarray[Any, Any]:
        """The last stretch."""
        return np.arange(max(state.done - 1, 0), state.done)
