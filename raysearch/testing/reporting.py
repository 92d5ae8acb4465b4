"""A training in miniature and a strategy that stops it early: to try an engine with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..space import Float, Int, Space
from ..strategies.base import Mask, State, Strategy
from ..strategies.random import RandomSearch
from ..strategies.sequence import SequenceState
from ..study import Study
from ..trial import Batch, Floats, Ints, Outcome, Trial

SPACE = Space({"x": Float(-1, 1), "n": Int(1, 9)})
_RUNGS = (1.0, 3.0, 9.0)


def train(config: Mapping[str, Any], trial: Trial) -> Iterator[Any]:
    """Twelve steps; losses depend on all of the state, so that a lost one would show."""
    state = trial.checkpoint or {"step": 0, "sum": np.zeros(2)}
    step, total = state["step"], state["sum"].copy()
    while step < 12:
        step += 1
        total += [config["x"] ** 2 / step, 1 / config["n"]]
        yield {"loss": float(total.sum()) / step, "step": step}, {"step": step, "sum": total}


def table(study: Study) -> list[dict[str, Any]]:
    """The trials in the order told, without times, attempts and workers."""
    names = [n for n in study.trials.schema.names if n.startswith(("config.", "metrics."))]
    columns = study.trials.select(["number", "state", "budget", "parent", *names])
    rows: list[dict[str, Any]] = columns.to_pylist()
    return rows


def curves(study: Study) -> list[tuple[int, float, float]]:
    """(number, step, loss) of all reports, sorted."""
    rows = study.reports.to_pylist()
    return sorted((row["number"], row["step"], row["metrics.loss"]) for row in rows)


@dataclass(frozen=True, eq=False)
class CutterState(State):
    """The sampler's state, and losses (r, k) of what was told at the rungs; NaN: not there."""

    inner: SequenceState = field(kw_only=True)
    told: Floats = field(kw_only=True)


@dataclass(frozen=True)
class Cutter(Strategy[CutterState]):
    """Random points; stops what is worse at a rung than the median of those told."""

    sampler: ClassVar[RandomSearch] = RandomSearch()

    def rungs(self) -> tuple[float, ...]:
        return _RUNGS

    def init(self, space: Space, seed: int) -> CutterState:
        """Nothing is known."""
        told = np.zeros((len(_RUNGS), 0))
        return CutterState(space, seed, inner=self.sampler.init(space, seed), told=told)

    def ask(self, state: CutterState, n: int) -> tuple[CutterState, Batch]:
        """Random points, to be trained in full."""
        inner, batch = self.sampler.ask(state.inner, n)
        full = replace(batch, budget=np.full(len(batch), _RUNGS[-1]))
        return replace(state, inner=inner, asked=inner.asked), full

    def tell(self, state: CutterState, batch: Batch, outcome: Outcome) -> CutterState:
        """Remember how each stood at the rungs."""
        curve = np.full((len(_RUNGS), len(batch)), np.nan)
        if outcome.curve is not None:
            curve = outcome.curve[:, :, 0].T
        return replace(state, told=np.concatenate([state.told, curve], axis=1))

    def report(
        self, state: CutterState, batch: Batch, rung: Ints, loss: Floats
    ) -> tuple[CutterState, Mask]:
        """Stop those that are worse than the median."""
        known = [row[~np.isnan(row)] for row in state.told[rung]]
        worse = [len(k) > 1 and v > np.median(k) for k, v in zip(known, loss[:, 0], strict=True)]
        return state, np.array(worse)
