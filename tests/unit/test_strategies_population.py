"""Population-based training: the algorithm of the paper, and whole searches with it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pytest

import raysearch as rs
from raysearch.engine import driver, inline
from raysearch.engine.checkpoint import unpack
from raysearch.errors import UsageError
from raysearch.log import StudyLog
from raysearch.log.checkpoints import StoredCheckpoints
from raysearch.models.fitting import fit
from raysearch.models.kernels import Layout
from raysearch.models.outputs import normalised
from raysearch.space import Array, Choice, Float, Int, Space
from raysearch.strategies.bandit import Bandit, Progress, nothing
from raysearch.strategies.explore import explored, perturb, resample, width
from raysearch.strategies.population_based import PopulationBased
from raysearch.trial import ROOT, Batch, Outcome

ONE = Space({"lr": Float(0, 1)})


def begun(strategy, space=ONE, seed=3):
    return strategy.ask(strategy.init(space, seed), strategy.population)


def tell(strategy, state, batch, loss):
    loss = np.array(loss, dtype=float).reshape(-1, 1)
    return strategy.tell(state, Batch(space_x(batch), batch.number, batch.budget), Outcome(loss))


def space_x(batch):
    return ONE.snap(batch.x)


def test_the_worst_go_on_from_the_best_and_the_others_as_they_are():
    pbt = PopulationBased(population=10, max_budget=3, interval=1)
    state, first = begun(pbt)
    losses = np.arange(10.0)[::-1]
    state, second = pbt.ask(tell(pbt, state, first, losses), 10)
    assert second.budget.tolist() == [2.0] * 10
    assert second.parent[2:].tolist() == list(range(2, 10))
    assert np.array_equal(second.x[2:], first.x[2:])
    assert set(second.parent[:2]) <= {8, 9}
    assert all(second.x[i] != first.x[second.parent[i]] for i in (0, 1))


def test_a_tournament_is_lost_to_somebody_better():
    pbt = PopulationBased(population=6, max_budget=3, interval=1, exploit="tournament")
    state, first = begun(pbt)
    losses = np.array([3.0, 1.0, 4.0, 0.5, 5.0, 2.0])
    _, second = pbt.ask(tell(pbt, state, first, losses), 6)
    moved = second.parent != np.arange(6)
    assert (losses[second.parent] <= losses).all()
    assert moved.any()
    assert second.parent[3] == 3


def test_a_straggler_holds_nobody_up_and_goes_on_from_the_others():
    pbt = PopulationBased(population=5, max_budget=4, interval=1)
    state, batch = begun(pbt)
    slow = Batch(batch.x[:1], batch.number[:1], batch.budget[:1])
    fast = Batch(batch.x[1:], batch.number[1:], batch.budget[1:])
    for stretch in (1, 2, 3):
        state = tell(pbt, state, fast, [1.0, 2.0, 3.0, 4.0] / np.array(stretch))
        state, fast = pbt.ask(state, 5)
        assert len(fast) == 4
    assert fast.budget.tolist() == [4.0] * 4
    state = tell(pbt, state, slow, [9.0])
    _, freed = pbt.ask(state, 1)
    assert freed.parent[0] in pbt.parents(state)
    assert freed.budget.tolist() == [4.0]


def test_members_take_turns():
    pbt = PopulationBased(population=5, max_budget=3, interval=1)
    state, order = pbt.init(ONE, 0), []
    for _ in range(15):
        state, one = pbt.ask(state, 1)
        order.append(one.budget[0])
        state = tell(pbt, state, one, [0.5])
    assert order == [1.0] * 5 + [2.0] * 5 + [3.0] * 5
    assert not len(pbt.ask(state, 1)[1])


def test_the_last_stretch_ends_at_the_full_budget():
    assert PopulationBased(max_budget=10, interval=4).budgets() == (4.0, 8.0, 10.0)
    assert PopulationBased(max_budget=0.3, interval=0.1).budgets()[-1] == 0.3
    assert len(PopulationBased(max_budget=0.3, interval=0.1).budgets()) == 3


def test_a_generation_that_fails_goes_on_from_the_last_success():
    pbt = PopulationBased(population=5, max_budget=4, interval=1)
    state, first = begun(pbt)
    state, second = pbt.ask(tell(pbt, state, first, [1, 2, 3, 4, 5]), 5)
    state, third = pbt.ask(tell(pbt, state, second, [math.nan] * 5), 5)
    assert third.parent.tolist() == [0, 1, 2, 3, 4]
    assert third.budget.tolist() == [2.0] * 5
    assert (third.x != first.x).all()


def test_where_all_fails_there_is_an_end():
    pbt = PopulationBased(population=5, max_budget=3, interval=1)
    state, asked = pbt.init(ONE, 0), 0
    while len((told := pbt.ask(state, 5))[1]):
        state, batch = told
        assert (batch.parent == ROOT).all()
        asked += len(batch)
        state = tell(pbt, state, batch, [math.nan] * len(batch))
    assert asked == 15


def test_one_that_fails_takes_over_one_that_has_not():
    pbt = PopulationBased(population=5, max_budget=3, interval=1)
    state, first = begun(pbt)
    _, second = pbt.ask(tell(pbt, state, first, [1, 2, math.nan, 4, math.nan]), 5)
    assert second.parent.tolist() == [0, 1, 0, 3, 0]


def test_only_those_that_exploit_inherit_a_part():
    pbt = PopulationBased(population=5, max_budget=4, interval=1, inherit=["w"])
    assert pbt == PopulationBased(population=5, max_budget=4, interval=1, inherit=("w",))
    state, first = begun(pbt)
    assert pbt.inherits(state, first.number) == [None] * 5
    state, second = pbt.ask(tell(pbt, state, first, [5, 1, 2, 3, 4]), 5)
    assert second.parent.tolist() == [1, 1, 2, 3, 4]
    names = pbt.inherits(state, second.number)
    assert names == [("w",), None, None, None, None]
    assert pbt.inherits(state, second.number[::-1]) == names[::-1]
    state, third = pbt.ask(tell(pbt, state, second, [math.nan] * 5), 5)
    assert third.parent.tolist() == [0, 1, 2, 3, 4]  # their own
    assert pbt.inherits(state, third.number) == [None] * 5
    assert replace(pbt, inherit=None).inherits(state, third.number) is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"population": 1}, "population: expected an integer >= 2"),
        ({"population": 4}, "expected at least 1 / fraction = 5"),
        ({"interval": 200}, "interval"),
        ({"exploit": "truncate"}, "truncation"),
        ({"explore": "mutate"}, "explore"),
        ({"fraction": 0.6}, "fraction"),
        ({"inherit": "weights"}, "inherit: expected a tuple of different names"),
        ({"inherit": ()}, "inherit"),
        ({"inherit": ("w", "w")}, "inherit"),
    ],
)
def test_wrong_options_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        PopulationBased(**options)


# --- exploration ------------------------------------------------------------------------------


def tries(space, x, seed=0):
    d = space.dim
    u = np.random.default_rng(seed).random((3, 400, d))
    u[1] = 1.0  # nothing is drawn anew
    return space.decode(perturb(space, space.encode(space.columns([x])), *u)).numbers


def test_values_are_multiplied():
    space = Space(
        {
            "lr": Float(1e-5, 1e-1, log=True),
            "dropout": Float(0, 0.5),
            "units": Int(8, 512, log=True),
            "layers": Int(1, 5),
            "batch": Choice([16, 32, 64], ordered=True),
            "rule": Choice(["sgd", "adam"]),
            "w": Array(1),
        }
    )
    found = tries(
        space,
        {
            "lr": 1e-3,
            "dropout": 0.3,
            "units": 100,
            "layers": 1,
            "batch": 32,
            "rule": "adam",
            "w": [2.0],
        },
    )
    values = {
        name: sorted(set(np.round(column, 9).ravel().tolist())) for name, column in found.items()
    }
    assert values["lr"] == pytest.approx([8e-4, 1.2e-3])
    assert values["dropout"] == pytest.approx([0.24, 0.36])
    assert values["units"] == pytest.approx([80, 120], abs=2)
    assert values["layers"] == [1, 2]
    assert len(values["batch"]) == 2
    assert len(values["rule"]) == 1
    assert values["w"] == pytest.approx([1.6, 2.4])


def test_bounds_and_constraints_hold():
    space = Space(
        {"a": Float(0, 1), "b": Float(0, 1)}, constraints=[lambda c: c["a"] + c["b"] <= 1]
    )
    x = np.array([[0.5, 0.5]])
    for seed in range(20):
        u = np.random.default_rng(seed).random(width(2))
        for explore in (perturb, resample):
            found = explored(explore, space, x, u)
            assert found.shape == (1, 2)
            assert space.allowed(space.decode(found)).all()
    alone = Space({"a": Float(0, 1)}, constraints=[lambda c: c["a"] == 0.5])
    assert explored(resample, alone, x[:, :1], np.random.default_rng(0).random(width(1))) == 0.5


# --- the bandit -------------------------------------------------------------------------------


def achieved(n=12, levels=4, seed=0):
    """Stretches of two parameters; the nearer to (0.3, 0.3), the more they achieve."""
    rng = np.random.default_rng(seed)
    x, t = rng.random((n, 2)), rng.integers(1, levels + 1, n)
    return Progress(x, t, ((x - 0.3) ** 2).sum(axis=1))


SQUARE = Space({"a": Float(0, 1), "b": Float(0, 1)})


def test_the_bound_is_that_of_the_paper_with_another_kernel():
    seen, running, until, t, levels = achieved(), np.array([[0.9, 0.1]]), np.array([3]), 3, 4
    at = np.random.default_rng(1).random((5, 2))
    found = Bandit(seen, running, until, t, levels).bound(SQUARE, at)

    unary = (np.arange(levels) < seen.t[:, None]) / 2  # 4 ** 0.5
    group = np.array([0, 1, 2, 2, 2, 2])
    points, layout = np.hstack([seen.x, unary]), Layout(group, np.zeros(6), group < 0)
    y = np.empty(12)
    for level in range(1, 5):
        y[seen.t == level] = normalised(seen.y[seen.t == level])
    theta = fit(layout, points, y)
    w, s, v = np.exp(-2 * theta[:3]), np.exp(theta[-2]), np.exp(theta[-1])

    def k(a, ta, b, tb):
        r2 = ((a[:, None] - b) ** 2 @ w[:2]) + w[2] * np.abs(ta[:, None] - tb) / levels
        r = np.sqrt(5 * r2)
        return s * (1 + r + r**2 / 3) * np.exp(-r)

    known = k(seen.x, seen.t, seen.x, seen.t) + v * np.eye(12)
    ones, inverse = np.ones(12), np.linalg.inv(known)
    mu = ones @ inverse @ y / (ones @ inverse @ ones)
    here = np.full(5, t)
    mean = mu + k(at, here, seen.x, seen.t) @ inverse @ (y - mu)
    x, when = np.vstack([seen.x, running]), np.append(seen.t, until)
    near = k(at, here, x, when)
    inverse = np.linalg.inv(k(x, when, x, when) + v * np.eye(13))
    variance = s - np.einsum("ij,jk,ik->i", near, inverse, near)
    expected = mean - np.sqrt(0.8 * np.log(4 * t) * variance)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_bandit_goes_where_most_is_achieved_and_knows_less_of_other_times():
    bandit = Bandit(achieved(60), np.empty((0, 2)), np.empty(0, dtype=int), 2, 4)
    u = np.random.default_rng(0).random((3, 400, 2))
    best = bandit(SQUARE, np.array([[0.9, 0.9]]), *u)[0]
    assert np.abs(best - 0.3).max() < 0.15
    early = Progress(achieved(60).x, np.ones(60, dtype=int), achieved(60).y)
    at, none = np.array([[0.3, 0.3]]), np.empty((0, 2))
    later = [Bandit(early, none, np.empty(0, dtype=int), t, 50).bound(SQUARE, at) for t in (2, 50)]
    assert later[1] < later[0]  # the more may come of it


def test_nobody_goes_where_others_have_just_gone():
    running = np.array([[0.2, 0.2], [0.8, 0.8]])
    bandit = Bandit(nothing(2), running, np.array([1, 1]), 1, 4)
    bound = bandit.bound(SQUARE, np.vstack([running, [[0.2, 0.8]]]))
    assert bound[2] < bound[:2].min()


def test_the_bandit_perturbs_what_has_no_order():
    space = Space({"a": Float(0, 1), "rule": Choice(["sgd", "adam", "lion"])})
    x = space.encode(space.columns([{"a": 0.5, "rule": "adam"}]))
    bandit, kept = Bandit(nothing(2), x, np.array([1]), 1, 4), 0
    for seed in range(20):
        u = np.random.default_rng(seed).random((3, 30, 2))
        rules = set(space.decode(bandit(space, x, *u)).numbers["rule"].tolist())
        assert len(rules) == 1
        kept += rules == {1}
    assert 10 < kept < 20


def test_a_population_explores_by_a_bandit_whatever_it_hears():
    pbt = PopulationBased(population=5, max_budget=5, interval=1, explore="bandit")
    state, batch = begun(pbt)
    for loss in ([1, 2, 3, 4, 5], [math.inf] * 5, [math.inf] * 5, [math.nan] * 5):
        state, batch = pbt.ask(tell(pbt, state, batch, loss), 5)
        assert len(batch) == 5
        assert ((batch.x >= 0) & (batch.x <= 1)).all()
    assert len(state.seen.y) == 15
    assert np.isnan(state.seen.y[5:]).all()
    assert np.array_equal(state.tried, batch.x)


# --- whole searches ---------------------------------------------------------------------------


def training(config, trial):
    """A quadratic by gradient descent: exact, so that it can be done again."""
    state = dict(trial.checkpoint or {"w": np.array([1.0, -2.0]), "epoch": 0})
    while True:
        state = {"w": state["w"] * (1 - config["lr"]), "epoch": state["epoch"] + 1}
        yield {"loss": float((state["w"] ** 2).sum())}, state


def search(strategy=None, objective=training, **options):
    strategy = strategy or PopulationBased(population=5, max_budget=6, interval=2)
    quiet = {"address": "inline", "progress": False, **options}
    return rs.search(objective, {"lr": Float(0.001, 0.5, log=True)}, strategy, **quiet)


def test_every_stretch_goes_on_from_its_parents_checkpoint(tmp_path):
    study = search(study=tmp_path / "pbt")
    table = study.trials.sort_by("number").to_pydict()
    losses = {}
    for number, parent, lr, loss in zip(
        table["number"], table["parent"], table["config.lr"], table["metrics.loss"], strict=True
    ):
        before = 5.0 if parent is None else losses[parent]
        losses[number] = loss
        assert loss == pytest.approx(before * (1 - lr) ** 4)
    shared = [p for p in table["parent"] if p is not None]
    assert len(set(shared)) < len(shared)  # some parent has several children
    kept = sorted(int(f.name.split("-")[0]) for f in (tmp_path / "pbt/checkpoints").iterdir())
    assert len(kept) == 5  # of each member the last
    assert study.best.number in kept


def test_a_search_that_was_cut_short_goes_on_as_the_whole_one(tmp_path):
    def rows(study):
        table = study.trials.sort_by("number")
        return table.select(["number", "parent", "budget", "config.lr", "metrics.loss"]).to_pydict()

    for stop, explore in ((3, "perturb"), (8, "perturb"), (11, "bandit")):
        pbt = PopulationBased(population=5, max_budget=6, interval=2, explore=explore)
        search(pbt, study=tmp_path / str(stop), trials=stop)
        assert rows(search(pbt, study=tmp_path / str(stop))) == rows(search(pbt))


def test_members_by_ask_and_tell_know_their_parents():
    loop = rs.AskTell(ONE, PopulationBased(population=5, max_budget=2, interval=1))
    for trial in loop.ask(5):
        loop.tell(trial, trial.config["lr"])
    parents = [trial.parent for trial in loop.ask(5)]
    assert None not in parents
    assert len(set(parents)) == 4


def test_the_schedule_found_is_a_single_training():
    study = search()
    schedule = study.schedule()
    assert schedule["from"].to_pylist() == [0.0, 2.0, 4.0]
    assert schedule["to"].to_pylist() == [2.0, 4.0, 6.0]
    assert schedule["number"][-1].as_py() == study.best.number
    again = rs.replay(training, study, address="inline", progress=False)
    assert again.trials["config.lr"].to_pylist() == schedule["config.lr"].to_pylist()
    assert again.trials["metrics.loss"].to_pylist() == schedule["metrics.loss"].to_pylist()
    assert again.best.metrics == study.best.metrics
    other = int(study.ranking[-1])
    again = rs.replay(training, study, other, address="inline", progress=False)
    assert again.best.metrics == study.trial(other).metrics


KILLED = """
import os, signal
import numpy as np
import raysearch as rs
from tests.unit.test_strategies_population import search, training

def dies(config, trial):
    for step, (metrics, state) in enumerate(training(config, trial)):
        if trial.number == 8 and step == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield metrics, state

search(objective=dies, study="pbt")
"""


class InMemory:
    """A state as live actors leave it."""

    def __init__(self, state):
        self.state = state

    def get(self):
        return self.state


def test_a_driver_that_is_killed_while_a_thread_stores_states_loses_nothing(tmp_path, monkeypatch):
    """Rows never speak of a state that is not stored, wherever the driver dies."""
    put = StoredCheckpoints._put

    def slowly(self, name, data):
        time.sleep(0.02)
        put(self, name, data)

    def dies(config, trial, at):
        for metrics, state in training(config, trial):
            if trial.number == at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield metrics, state

    names = ["number", "parent", "budget", "config.lr", "metrics.loss"]
    whole = search().trials.sort_by("number").select(names).to_pydict()
    monkeypatch.setattr(inline, "stream", partial(inline.stream, put=InMemory))
    monkeypatch.setattr(StoredCheckpoints, "_put", slowly)
    monkeypatch.setattr(driver, "_LAG", 0)

    def at_last(self, *args, method, calls, **kwargs):
        calls.append(None)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *args, **kwargs)

    stored = []
    for at in (6, 10, 13, "append", "record", "settle"):
        place = tmp_path / str(at)
        if not (child := os.fork()):
            if isinstance(at, str):
                method = partialmethod(at_last, method=getattr(StudyLog, at), calls=[])
                setattr(StudyLog, at, method)
            search(objective=partial(dies, at=at), study=place)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        stored += [unpack(f.read_bytes()) for f in (place / "checkpoints").glob("[0-9]*")]
        found = search(study=place).trials.sort_by("number").select(names)
        assert found.to_pydict() == whole
        assert len(list((place / "checkpoints").iterdir())) == 5
    assert stored


def test_a_generation_without_a_result_costs_its_stretches_alone():
    def unlucky(config, trial):
        for metrics, state in training(config, trial):
            bad = trial.budget == 4 and trial.number < 10
            yield {"loss": math.nan if bad else metrics["loss"]}, state

    study = search(objective=unlucky)
    assert study.counts == {"complete": 15 - 5, "invalid": 5}
    parents = set(study.trials["parent"].to_pylist())
    assert not parents & set(range(5, 10))
    assert parents & set(range(5))


def test_a_driver_that_is_killed_loses_nothing(tmp_path):
    root = str(Path(__file__).parents[2])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}
    )
    assert killed.returncode == -signal.SIGKILL
    names = ["number", "parent", "budget", "config.lr", "metrics.loss"]
    found = search(study=tmp_path / "pbt").trials.sort_by("number").select(names)
    assert found.to_pydict() == search().trials.sort_by("number").select(names).to_pydict()
