"""Schedules: values are compared in tests/golden; here, what all of them keep to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch import optim
from raysearch.errors import UsageError

EXAMPLES: list[optim.Schedule] = [
    optim.Constant(0.1),
    optim.Step(0.1, every=7),
    optim.MultiStep(0.1, milestones=(3, 9)),
    optim.Exponential(0.1, gamma=0.9),
    optim.InverseTime(0.1, decay=0.2),
    optim.InverseSqrt(0.1, level=4),
    optim.Polynomial(0.1, 0.01, steps=20, power=1.5),
    optim.Linear(0.1, 0.0, steps=20),
    optim.Cosine(0.1, steps=20),
    optim.CosineRestarts(0.1, steps=3, factor=2),
    optim.OneCycle(0.1, steps=20),
    optim.Cyclic(0.01, 0.1, up=4, down=3, gamma=0.5),
    optim.Warmup(optim.Cosine(0.1, steps=20), steps=5),
    optim.WarmupStableDecay(0.1, warmup=5, stable=5, decay=5),
    optim.Chained((optim.Constant(0.1), optim.Exponential(1.0, 0.9))),
    optim.Joined((optim.Constant(0.1), optim.Linear(0.1, 0.0, steps=5)), boundaries=(4,)),
]
schedules = pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda s: type(s).__name__)


def test_every_schedule_has_an_example() -> None:
    assert {type(s).__name__ for s in EXAMPLES} == set(optim.SCHEDULES)


@schedules
@given(k=st.integers(0, 10**6))
def test_values_are_finite_and_between_zero_and_the_peak(schedule: optim.Schedule, k: int) -> None:
    assert -1e-18 <= schedule(k) <= 0.1 + 1e-12


@schedules
def test_a_schedule_prints_as_the_code_that_makes_it(schedule: optim.Schedule) -> None:
    assert eval(repr(schedule), dict(vars(optim))) == schedule


@schedules
def test_it_plots_in_one_line(schedule: optim.Schedule) -> None:
    assert 1 <= len(schedule.plot(30, width=20)) <= 20
    assert len(schedule.values(30)) == 30


@schedules
def test_a_negative_step_is_refused(schedule: optim.Schedule) -> None:
    with pytest.raises(UsageError, match="expected a step >= 0, found -1"):
        schedule(-1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: optim.Cosine(0.1, steps=0),
            r"Cosine\(steps=...\): expected a number > 0, found 0",
        ),
        (lambda: optim.Constant(math.nan), r"initial=...\): expected a finite number, found nan"),
        (lambda: optim.Exponential(0.1, gamma=-1.0), "gamma"),
        (lambda: optim.OneCycle(0.1, 10, pct_start=2.0), "pct_start"),
        (lambda: optim.Joined((optim.Constant(1.0),), (3,)), "boundaries"),
        (lambda: optim.Joined((optim.Constant(1.0),) * 3, (3, 3)), "ascending"),
        (lambda: optim.Joined((optim.Constant(1.0),) * 2, (-3,)), "ascending"),
        (lambda: optim.Chained(()), "one schedule at least"),
        (lambda: optim.Warmup(0.1, steps=3), r"after=...\): expected a schedule, found 0.1"),
        (lambda: optim.Chained((0.1,)), "expected a schedule"),
        (lambda: optim.Cosine("a", steps=3), "expected a finite number, found 'a'"),
        (lambda: optim.Cosine(0.1, steps=2.5), "expected a whole number, found 2.5"),
        (lambda: optim.Cosine(0.1, steps=3)(math.nan), "expected a step >= 0, found nan"),
        (lambda: optim.MultiStep(0.1, (-1, 3)), "milestones"),
        (lambda: optim.OneCycle(0.1, 10, div_factor=0.0), "div_factor"),
        (lambda: optim.ReduceOnPlateau(0.1, factor=1.0), "factor"),
        (lambda: optim.ReduceOnPlateau(0.1, patience=-1), "patience"),
        (lambda: optim.ReduceOnPlateau(0.1, final=1.0), r"in \[0, initial\]"),
    ],
)
def test_wrong_numbers_are_named(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


@given(steps=st.integers(1, 50), factor=st.integers(1, 4), cycle=st.integers(0, 4))
def test_cosine_restarts_start_each_cycle_at_the_top(steps: int, factor: int, cycle: int) -> None:
    start = sum(steps * factor**i for i in range(cycle))
    schedule = optim.CosineRestarts(1.0, steps=steps, factor=factor)
    assert schedule(start) == 1.0
    assert cycle == 0 or schedule(start - 1) < 1.0 or steps == 1


def test_one_cycle_of_few_steps() -> None:
    for steps in range(1, 8):
        values = optim.OneCycle(1.0, steps=steps).values(steps + 3)
        assert np.isfinite(values).all()
        assert values[-1] == pytest.approx(1 / 25 / 1e4)


def test_plateau_counts_nan_as_no_improvement() -> None:
    plateau = optim.ReduceOnPlateau(1.0, factor=0.5, patience=0)
    memory = plateau.init()
    assert [plateau.step(x, memory) for x in (1.0, math.nan, math.nan)] == [1.0, 0.5, 0.25]
