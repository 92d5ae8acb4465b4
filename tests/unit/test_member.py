"""Classes with step, save and load."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow.compute as pc
import pytest

import raysearch as rs
from raysearch.engine.objective import examine
from raysearch.errors import ObjectiveError, UsageError
from raysearch.space import Float

SPACE = {"lr": Float(0.001, 0.5, log=True)}
QUIET = {"address": "inline", "progress": False}


class Descent:
    """A quadratic; counts what is asked of it."""

    def __init__(self):
        self.counts = {"load": 0, "save": 0}

    def load(self, state, trial):
        self.counts["load"] += 1
        self.w = np.array([1.0, -2.0]) if state is None else state["w"].copy()

    def step(self, config):
        self.w *= 1 - config["lr"]
        return {"loss": float((self.w**2).sum()), **self.counts}

    def save(self):
        self.counts["save"] += 1
        return {"w": self.w}


def pbt(**options):
    return rs.PopulationBased(**{"population": 5, "max_budget": 6, "interval": 2, **options})


def rows(study):
    names = ["number", "parent", "budget", "config.lr", "metrics.loss"]
    return study.trials.sort_by("number").select(names).to_pydict()


def test_instances_train_as_generators_do():
    def descent(config, trial):
        w = np.array([1.0, -2.0]) if trial.checkpoint is None else trial.checkpoint["w"]
        while True:
            w = w * (1 - config["lr"])
            yield {"loss": float((w**2).sum())}, {"w": w}

    study = rs.search(Descent, SPACE, pbt(), **QUIET)
    assert rows(study) == rows(rs.search(descent, SPACE, pbt(), **QUIET))


def test_one_that_goes_on_where_the_instance_stands_loads_nothing():
    alone = rs.search(Descent, SPACE, rs.ASHA(max_budget=4, eta=2), trials=30, **QUIET)
    table = alone.trials.sort_by("number").to_pydict()
    straight = sum(p == n - 1 for n, p in zip(table["number"], table["parent"], strict=True))
    assert straight
    assert table["metrics.load"][-1] == 30 - straight
    assert table["metrics.save"][-1] == 29  # the last one is saved after it has reported


def test_stopping_rules_train_them_too():
    study = rs.search(Descent, SPACE, rs.StoppingASHA(max_budget=4, eta=2), trials=12, **QUIET)
    assert set(study.counts) == {"complete", "stopped"}


class Momentum(Descent):
    """The same with a momentum, that begins anew where it is not loaded."""

    def load(self, state, trial):
        super().load(state, trial)
        self.v = np.zeros(2) if state is None or "v" not in state else state["v"].copy()

    def step(self, config):
        self.v = 0.9 * self.v - config["lr"] * self.w
        self.w = self.w + self.v
        return {"loss": float((self.w**2).sum())}

    def save(self):
        return {"w": self.w, "v": self.v}


def momentum(config, trial):
    member = Momentum()
    member.load(trial.checkpoint, trial)
    while True:
        yield member.step(config), member.save()


def test_what_is_not_inherited_begins_anew_where_a_member_exploits(tmp_path):
    some = pbt(inherit=("w",))
    study = rs.search(Momentum, SPACE, some, **QUIET)
    table = study.trials.sort_by("number").to_pydict()
    exploits = [n for n, names in enumerate(table["metrics.inherited"]) if names]
    assert exploits
    assert {table["metrics.inherited"][n] for n in exploits} == {'["w"]'}
    assert rows(study) == rows(rs.search(momentum, SPACE, some, **QUIET))
    assert rows(study) != rows(rs.search(momentum, SPACE, pbt(), **QUIET))
    rs.search(momentum, SPACE, some, trials=exploits[0], study=tmp_path / "pbt", **QUIET)
    assert rows(study) == rows(rs.search(momentum, SPACE, some, study=tmp_path / "pbt", **QUIET))
    for number in table["number"][-5:]:
        again = rs.replay(Momentum, study, number, **QUIET)
        assert again.best.metrics == study.trial(number).metrics
    assert rs.replay(momentum, again, **QUIET).best.metrics == again.best.metrics


def test_a_trial_that_is_run_once_more_inherits_as_before(tmp_path):
    some, states = pbt(inherit=("w",)), {}

    def noted(config, trial, broken):
        states[trial.number] = list(trial.checkpoint or {})
        if broken and states[trial.number] == ["w"]:
            raise RuntimeError("broken")
        yield from momentum(config, trial)

    how = {"study": tmp_path / "pbt", "checkpoints": "rungs", **QUIET}
    study = rs.search(partial(noted, broken=True), SPACE, some, **how)
    failed = study.trials.filter(pc.equal(study.trials["state"], "failed"))["number"].to_pylist()
    assert failed
    assert {n for n, names in states.items() if names == ["w"]} == set(failed)
    states.clear()
    study = rs.retry(partial(noted, broken=False), tmp_path / "pbt", **QUIET)
    assert states == {number: ["w"] for number in failed}
    assert study.trial(failed[0]).metrics["inherited"] == '["w"]'


def test_a_name_that_is_not_in_the_state_is_told_with_those_that_are():
    study = rs.search(momentum, SPACE, pbt(inherit=("weights",)), **QUIET)
    errors = [error for error in study.trials["error"].to_pylist() if error]
    assert errors
    assert all("['w', 'v'], found 'weights'" in error for error in errors)


class Fails(Descent):
    """Its state cannot be loaded."""

    def load(self, state, trial):
        if state is not None:
            raise RuntimeError("weights of another shape")
        super().load(state, trial)


def test_a_load_that_raises_fails_its_trial_by_name():
    study = rs.search(Fails, SPACE, pbt(), **QUIET)
    assert study.counts["failed"] > 0
    errors = [e for e in study.trials["error"].to_pylist() if e]
    assert all("weights of another shape" in e for e in errors)
    assert study.best.metrics["loss"] < 5


def test_they_need_a_strategy_that_ends_a_training():
    with pytest.raises(UsageError, match="take one with budgets"):
        rs.search(Descent, SPACE, rs.RandomSearch(), trials=3, **QUIET)


def test_wrong_methods_are_refused_by_name():
    class NoTrial(Descent):
        def load(self, state):
            pass

    class NoSave:
        def step(self, config):
            pass

        def load(self, state, trial):
            pass

    with pytest.raises(ObjectiveError, match=r"load\(state, trial\), found load\(state\)"):
        examine(NoTrial)
    with pytest.raises(ObjectiveError, match=r"lacks __call__ and \['save'\]"):
        examine(NoSave)


def test_a_state_that_is_none_is_refused():
    class Nothing(Descent):
        def save(self):
            return None

    with pytest.raises(rs.SearchFailed, match="save: expected a mapping as state, found NoneType"):
        rs.search(Nothing, SPACE, pbt(), **QUIET)
