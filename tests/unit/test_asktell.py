"""AskTell: a strategy in a loop of one's own."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from raysearch.asktell import AskTell, Told
from raysearch.errors import UsageError
from raysearch.rng import trial_seeds
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.asha import ASHA
from raysearch.strategies.asha_stopping import StoppingASHA
from raysearch.strategies.base import State, Strategy
from raysearch.strategies.random import RandomSearch
from raysearch.trial import FOREIGN, Batch

SPACE = Space({"n": Int(0, 9), "opt": Choice(["a", "b"]), "m": Float(0, 1).when(opt="b")})


@dataclass(frozen=True, eq=False)
class Heard(State):
    told: tuple = ()


@dataclass(frozen=True)
class Two(Strategy[Heard]):
    """Proposes four points, no more than two at a time, and remembers what it is told."""

    multi_objective: ClassVar[bool] = True

    def init(self, space, seed):
        return Heard(space, seed)

    def ask(self, state, n):
        waiting = state.asked - sum(number != FOREIGN for number, _, _ in state.told)
        k = max(0, min(n, 2 - waiting, 4 - state.asked))
        x = np.linspace(0.2, 0.7, state.space.dim) + 0.01 * np.arange(k)[:, None]
        batch = Batch(x, np.arange(state.asked, state.asked + k))
        return replace(state, asked=state.asked + k), batch

    def tell(self, state, batch, outcome):
        news = zip(batch.number.tolist(), batch.x.tolist(), outcome.loss.tolist(), strict=True)
        return replace(state, told=state.told + tuple(news))


def heard(loop):
    """What the strategy was told: [(number, x, loss)]."""
    return loop._state.told


def test_a_loop_goes_on_until_it_is_done():
    loop, numbers = AskTell(SPACE, Two()), []

    while not loop.done:
        for trial in loop.ask(3):
            numbers.append(trial.number)
            loop.tell(trial, 1.0)

    assert numbers == [0, 1, 2, 3]
    assert loop.pending == []


def test_asking_without_telling_is_not_the_end():
    loop = AskTell(SPACE, Two())
    first = loop.ask(5)

    assert [len(first), len(loop.ask(5)), loop.done] == [2, 0, False]
    loop.tell(first[0], 1.0)
    assert [t.number for t in loop.ask(5)] == [2]
    assert [t.number for t in loop.pending] == [1, 2]


def test_trials_have_legal_configurations_and_seeds_of_their_own():
    trials = AskTell(SPACE, RandomSearch(), seed=7).ask(20)

    assert all(SPACE.contains(trial.config) for trial in trials)
    assert [t.seed for t in trials] == trial_seeds(7, np.arange(20)).tolist()
    again = AskTell(SPACE, RandomSearch(), seed=7)
    assert [t.config for _ in range(20) for t in again.ask()] == [t.config for t in trials]


def test_strategies_are_told_canonical_points_and_losses():
    loop = AskTell(SPACE, Two(), mode="max")
    (trial,) = loop.ask()

    loop.tell(trial, 3)

    ((number, x, loss),) = heard(loop)
    assert (number, loss) == (0, [-3.0])
    assert x == SPACE.encode(SPACE.columns([trial.config])).tolist()[0]
    assert (loop.best.value, loop.best.number, loop.best.config) == (3.0, 0, trial.config)


def test_the_best_is_the_first_of_the_best():
    low, high = AskTell(SPACE, RandomSearch()), AskTell(SPACE, RandomSearch(), mode="max")
    for loop in (low, high):
        for trial, value in zip(loop.ask(6), [math.inf, 2, None, 1, 1, 3], strict=True):
            if not (loop is high and value == math.inf):
                loop.tell(trial, value)

    assert (low.best.number, low.best.value) == (3, 1.0)
    assert (high.best.number, high.best.values) == (5, (3.0,))
    assert isinstance(low.best, Told)


@pytest.mark.parametrize("value", [None, math.nan, np.float64("nan")])
def test_failures_are_told_but_never_best(value):
    loop = AskTell(SPACE, Two())

    loop.tell(loop.ask()[0], value)

    assert math.isnan(heard(loop)[0][2][0])
    with pytest.raises(UsageError, match="no trial has succeeded yet"):
        _ = loop.best


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0)])
def test_numbers_of_all_kinds_are_values(value):
    loop = AskTell(SPACE, Two())

    loop.tell(loop.ask()[0], value)

    assert loop.best.values == (2.0,)
    assert type(loop.best.value) is float


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        "0.3",
        b"1",
        1j,
        np.complex128(1),
        [0.3],
        {"loss": 1},
        np.array([1.0]),
        ...,
    ],
    ids=repr,
)
def test_what_is_no_number_is_refused_and_changes_nothing(value):
    loop = AskTell(SPACE, Two())
    (trial,) = loop.ask()

    with pytest.raises(UsageError, match="value: expected a number, or None if the trial failed"):
        loop.tell(trial, value)

    assert heard(loop) == ()
    loop.tell(trial, 1.0)


def test_an_infinitely_good_value_is_refused():
    loop = AskTell(SPACE, Two(), mode="max")

    with pytest.raises(UsageError, match="infinitely good"):
        loop.tell(loop.ask()[0], math.inf)


def test_several_objectives_have_a_front_instead_of_a_best():
    loop = AskTell(SPACE, RandomSearch(), mode=["min", "max"])
    values = [(1, 1), (2, 2), (0, 0), (1, 0), (1, 3), [None, 9], None, (1, 3)]
    for trial, value in zip(loop.ask(8), values, strict=True):
        loop.tell(trial, value)

    assert [(told.number, told.values) for told in loop.pareto] == [
        (2, (0.0, 0.0)),
        (4, (1.0, 3.0)),
    ]
    with pytest.raises(UsageError, match=r"several objectives; use \.pareto"):
        _ = loop.best


@pytest.mark.parametrize("value", [1.0, [1.0], [1, 2, 3], "ab", {"a": 1, "b": 2}, [1.0, "x"]])
def test_several_objectives_need_as_many_numbers(value):
    loop = AskTell(SPACE, Two(), mode=["min", "min"])

    with pytest.raises(UsageError, match="value: expected"):
        loop.tell(loop.ask()[0], value)


def test_one_failed_objective_fails_the_trial():
    loop = AskTell(SPACE, Two(), mode=["min", "min"])

    loop.tell(loop.ask()[0], [1.0, None])

    assert np.isnan(heard(loop)[0][2]).all()
    assert loop.pareto == []


def test_configurations_from_elsewhere_may_be_told():
    loop = AskTell(SPACE, Two())

    loop.tell({"n": 3, "opt": "a"}, 0.5)

    ((number, x, loss),) = heard(loop)
    assert (number, loss) == (FOREIGN, [0.5])
    assert x == [0.35, 0.25, 0.5]
    assert loop.best.config == {"n": 3, "opt": "a"}
    assert [t.number for t in loop.ask(2)] == [1, 2]
    with pytest.raises(UsageError, match="n: expected a value in"):
        loop.tell({"n": 10, "opt": "a"}, 0.5)


def test_each_trial_is_told_once():
    loop = AskTell(SPACE, Two())
    (trial,) = loop.ask()
    loop.tell(trial, 1.0)

    with pytest.raises(UsageError, match="number 0 has been told already"):
        loop.tell(trial, 2.0)


def test_trials_that_were_stored_meanwhile_are_known():
    loop = AskTell(SPACE, Two())
    (trial,) = loop.ask()

    loop.tell(pickle.loads(pickle.dumps(trial)), 1.0)

    assert loop.best.number == 0


@pytest.mark.parametrize("foreign", ["another loop", 0, None, "later"])
def test_what_was_not_asked_for_is_refused(foreign):
    loop = AskTell(SPACE, Two())
    (trial,) = loop.ask()
    if foreign == "another loop":
        foreign = AskTell(SPACE, RandomSearch(), seed=1).ask()[0]
    elif foreign == "later":
        foreign = replace(trial, number=5)

    with pytest.raises(UsageError, match=r"trial: (number|expected one that was asked for)"):
        loop.tell(foreign, 1.0)


def test_finished_trials_are_not_held():
    loop = AskTell(SPACE, RandomSearch())
    for _ in range(50):
        for trial in loop.ask(4):
            loop.tell(trial, 1.0)

    assert (loop.pending, len(loop.pareto)) == ([], 1)


@dataclass(frozen=True)
class One(Two):
    """Takes one objective only."""

    multi_objective: ClassVar[bool] = False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AskTell({}, Two()), r"space: expected a mapping.*found \{\}"),
        (lambda: AskTell(SPACE, Two), r"strategy: expected one such as .* the class Two; add \(\)"),
        (lambda: AskTell(SPACE, "local"), r"strategy: .*found 'local'; write LocalSearch\(\)"),
        (lambda: AskTell(SPACE, Two(), mode=3), r"mode: expected 'min' or 'max'.*found 3"),
        (lambda: AskTell(SPACE, Two(), mode=[[]]), r"mode: expected 'min' or 'max'"),
        (
            lambda: AskTell(SPACE, Two(), mode={"loss": "max"}),
            r"mode: values are told .* without names; write mode=\['max'\]",
        ),
        (lambda: AskTell(SPACE, Two(), mode="minimize"), r"mode: expected 'min' or 'max'"),
        (lambda: AskTell(SPACE, Two(), mode=[]), r"mode: expected 'min' or 'max'"),
        (
            lambda: AskTell(SPACE, One(), mode=["min", "max"]),
            r"strategy: One\(\) takes one objective, found 2",
        ),
        (lambda: AskTell(SPACE, Two(), seed=-1), r"seed: expected 0 <= seed"),
        (lambda: AskTell(SPACE, Two()).ask(0), r"n: expected an integer >= 1, found 0"),
        (lambda: AskTell(SPACE, Two()).ask(True), r"n: expected an integer >= 1, found True"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_mapping_will_do_for_a_space():
    assert set(AskTell({"x": Float(0, 1)}, RandomSearch()).ask()[0].config) == {"x"}


def test_neither_ray_nor_arrow_is_needed():
    code = "import sys, raysearch.asktell; print({'ray', 'pyarrow'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


# --- budgets --------------------------------------------------------------------------------


def test_trials_have_budgets_and_parents():
    loop = AskTell(SPACE, ASHA(max_budget=9))
    loop.tell({"n": 3, "opt": "a"}, 5.0)  # trial 0, which the strategy does not number
    first = loop.ask(3)
    assert [(t.number, t.budget, t.parent) for t in first] == [(k, 1.0, None) for k in (1, 2, 3)]
    for trial, value in zip(first, [3.0, 1.0, 2.0], strict=True):
        loop.tell(trial, value)
    on, new = loop.ask(2)
    assert (on.number, on.budget, on.parent, on.config) == (4, 3.0, 2, first[1].config)
    assert (new.budget, new.parent) == (1.0, None)


def test_the_best_is_of_the_highest_budget():
    loop = AskTell(SPACE, ASHA(max_budget=9, eta=2))
    for trial, value in zip(loop.ask(2), [0.1, 0.2], strict=True):
        loop.tell(trial, value)
    assert (loop.best.number, loop.best.budget) == (0, 1.0)
    (on,) = loop.ask(1)
    loop.tell(on, 7.0)
    assert (loop.best.value, loop.best.budget, loop.best.parent) == (7.0, 2.0, 0)
    loop.tell({"n": 3, "opt": "a"}, 9.0)  # in full
    assert loop.best.value == 9.0


def test_running_trials_are_stopped():
    loop = AskTell(SPACE, StoppingASHA(max_budget=9), mode="max")
    values, stopped = [0.5, 0.6, 0.4, 0.7], []
    for trial, value in zip(loop.ask(4), values, strict=True):
        assert loop.report(trial, 0.5, 0.0) is False  # before the first rung
        stop = loop.report(trial, 1, value)
        assert loop.report(trial, 2, math.nan) is False or stop
        assert loop.report(trial, 2, 0.0) is stop  # judged at that rung already
        stopped.append(stop)
        loop.tell(trial, value)
    assert stopped == [False, False, True, False]
    assert loop._state.curve[:, 0, 0].tolist() == [-0.5, -0.6, -0.4, -0.7]
    assert loop._state.copies.successes.tolist() == [4, 0, 3]
    assert (loop.best.value, loop.best.budget) == (0.7, 9.0)


def test_reports_are_checked():
    loop = AskTell(SPACE, StoppingASHA())
    (trial,) = loop.ask()
    with pytest.raises(UsageError, match="budget: expected a number > 0, found 0"):
        loop.report(trial, 0, 1.0)
    with pytest.raises(UsageError, match="value: expected a number"):
        loop.report(trial, 1, "low")
    loop.tell(trial, 1.0)
    with pytest.raises(UsageError, match="number 0 has been told already"):
        loop.report(trial, 1, 1.0)
    loop = AskTell(SPACE, RandomSearch())
    assert loop.report(loop.ask()[0], 1, 1.0) is False
