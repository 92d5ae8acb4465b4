# ruff: noqa: NPY002 (objectives do draw from the global generator)
from __future__ import annotations

import math
import os
import random
import re
import signal
import sys
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch import rng
from raysearch.engine.evaluate import evaluate
from raysearch.engine.objective import examine, vectorized
from raysearch.engine.records import Job, Objectives, Results, Trials
from raysearch.engine.watchdog import TimeUp, Watchdog
from raysearch.space import Choice, Float, Int, Space
from raysearch.trial import COMPLETE, CRASHED, FAILED, INVALID, TIMEOUT

SPACE = Space(
    {
        "x": Float(0, 1),
        "n": Int(1, 9),
        "kind": Choice(["a", "b"]),
        "slope": Float(1, 2).when(kind="a"),
    }
)
LOSS = Objectives(("loss",), (False,))


def run(objective, k=1, objectives=LOSS, first=0, **options) -> Results:
    columns = SPACE.decode(rng.uniform(0, first, k, SPACE.dim))
    job = Job(objective, SPACE, objectives, seed=3, **options)
    return evaluate(job, examine(objective), Trials(np.arange(first, first + k), columns))


def only(objective, **options) -> tuple[int, str]:
    results = run(objective, **options)
    return int(results.state[0]), results.errors.get(0, "")


# --- what is called ---------------------------------------------------------------------------


def test_configurations_arrive_as_their_own_dicts():
    columns = SPACE.decode(rng.uniform(0, 0, 20, SPACE.dim))
    seen = []

    def objective(config):
        seen.append(dict(config))
        config.clear()
        return 1.0

    assert (run(objective, 20).state == COMPLETE).all()
    assert seen == columns.configs()
    assert columns.configs()[0]  # as it was


def test_a_trial_knows_its_number_seed_and_data():
    def objective(config, trial):
        assert trial.config == config
        return {"loss": trial.data["offset"] + trial.number, "seed": trial.seed}

    results = run(objective, 5, first=7, data={"offset": 100})
    assert results.metrics["loss"].tolist() == [107, 108, 109, 110, 111]
    assert results.metrics["seed"].tolist() == rng.trial_seeds(3, np.arange(7, 12)).tolist()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_how_trials_are_grouped_is_irrelevant(sizes):
    def objective(config, trial):
        return config["x"] + trial.rng.random()

    whole = run(objective, sum(sizes)).metrics["loss"]
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    parts = [run(objective, k, first=i).metrics["loss"] for i, k in zip(starts, sizes, strict=True)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_times_follow_each_other():
    before = time.time_ns()
    results = run(lambda config: time.sleep(0.002) or 0.0, 5)
    after = time.time_ns()
    ends = results.started + results.seconds * 1e9
    assert (results.seconds >= 0.002).all()
    assert (results.started[1:] >= ends[:-1] - 1000).all()
    assert results.started[0] >= before - 10**6
    assert ends[-1] <= after + 10**6
    assert results.worker.endswith(f":{os.getpid()}")


# --- what comes back --------------------------------------------------------------------------


class ZeroDim:
    """As arrays of torch and jax look."""

    ndim = 0

    def item(self):
        return 2.0


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.0,
        np.float32(2),
        np.int8(2),
        np.array(2.0),
        ZeroDim(),
        {"loss": 2},
        {"loss": np.int64(2)},
    ],
)
def test_numbers_of_all_kinds_are_results(value):
    results = run(lambda config: value, 3)
    assert (results.state == COMPLETE).all()
    assert results.metrics["loss"].dtype == np.float64
    assert results.metrics["loss"].tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "found None; does the objective return"),
        ("0.5", "found str '0.5'"),
        (True, "found bool True"),
        (np.bool_(True), "found bool True"),
        (1j, "found complex 1j"),
        ([1.0], "found list"),
        ((1.0, 2.0), "found tuple"),
        (np.ones(2), "found ndarray"),
        (Fraction(1, 2), "found Fraction"),
        (10**400, "range of float"),
        (math.nan, "'loss': expected a number, found nan"),
        (-math.inf, "found -inf"),
        ({}, "expected the metric 'loss', found no metrics at all"),
        ({"acc": 1, "time": 2}, "expected the metric 'loss', found only 'acc', 'time'"),
        ({"loss": "low"}, "metric 'loss': expected a number, found str 'low'"),
        ({"loss": None}, "metric 'loss': expected a number, found None"),
        ({"loss": True}, "metric 'loss': expected a number, found bool"),
        ({"loss": 1.0, "curve": [1, 2]}, "metric 'curve': .* found list"),
        ({"loss": 1.0, 3: 1.0}, "names .* found 3"),
        ({"loss": 1.0, "log": "x" * 2**21}, "1 MiB of metrics, found 2.0 MiB"),
    ],
)
def test_what_is_no_result_is_invalid_and_named(value, says):
    state, error = only(lambda config: value)
    assert state == INVALID
    assert re.search(says, error)


def test_an_infinity_is_a_result_only_on_the_bad_side():
    maximize = Objectives(("loss",), (True,))
    assert only(lambda config: math.inf)[0] == COMPLETE
    assert only(lambda config: math.inf, objectives=maximize)[0] == INVALID
    assert only(lambda config: -math.inf, objectives=maximize)[0] == COMPLETE


def test_one_bad_trial_leaves_its_neighbours_alone():
    results = run(
        lambda config, trial: (
            [1.0, math.nan, "no", 1 // 0 if trial.number == 3 else 2][trial.number]
            if trial.number < 4
            else 5.0
        ),
        6,
    )
    assert results.state.tolist()[:3] == [COMPLETE, INVALID, INVALID]
    assert results.state.tolist()[3:] == [FAILED, COMPLETE, COMPLETE]
    assert set(results.errors) == {1, 2, 3}
    assert LOSS.losses(results.state, results.metrics)[[0, 4, 5], 0].tolist() == [1.0, 5.0, 5.0]


def test_metrics_are_columns_with_none_where_missing():
    def objective(config, trial):
        row = {"loss": 1, "note": "\ud800", "ok": True}
        return row if trial.number else {**row, "extra": 2}

    metrics = run(objective, 2).metrics
    assert metrics["loss"].dtype == np.float64
    assert metrics["extra"].tolist() == [2.0, None]
    assert metrics["ok"].tolist() == [True, True]
    assert metrics["note"].tolist() == ["?", "?"]


def test_several_objectives_need_a_mapping():
    both = Objectives(("error", "ms"), (False, False))
    assert only(lambda config: {"error": 1, "ms": 2}, objectives=both)[0] == COMPLETE
    for wrong in (1.0, 1, {"error": 1}):
        state, error = only(lambda config, wrong=wrong: wrong, objectives=both)
        assert state == INVALID
        assert "'ms'" in error


# --- what goes wrong --------------------------------------------------------------------------


class Nasty(BaseException):
    def __str__(self):
        raise RuntimeError

    def __reduce__(self):
        raise TypeError


def test_a_traceback_starts_with_the_users_own_line():
    def objective(config):
        raise ValueError("\x1b[31mred\x00 \ud800")

    state, error = only(objective)
    assert state == FAILED
    assert error.splitlines()[1].endswith("in objective")
    assert error.rstrip().endswith("ValueError: [31mred ?")
    assert "engine" not in error


def test_tracebacks_are_bounded():
    def objective(config):
        raise ValueError("ä" * 10**6)

    error = only(objective)[1]
    assert len(error.encode()) < 2**16
    assert "bytes in all" in error


@pytest.mark.parametrize("kind", [Nasty, GeneratorExit, MemoryError, RecursionError])
def test_any_exception_is_a_failure(kind):
    def objective(config):
        raise kind

    state, error = only(objective)
    assert state == FAILED
    assert kind.__name__ in error


def test_sys_exit_counts_as_a_crash():
    state, error = only(lambda config: sys.exit(3))
    assert state == CRASHED
    assert error.startswith("sys.exit(3)")


def test_ctrl_c_gets_through():
    def objective(config):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(objective)


# --- timeouts ---------------------------------------------------------------------------------


def test_a_ring_that_comes_just_before_a_sleep_is_not_the_last_one(monkeypatch):
    unheard, rings = iter([True]), Watchdog._ring

    def ring(self, number, frame):
        if not next(unheard, False):
            rings(self, number, frame)

    monkeypatch.setattr(Watchdog, "_ring", ring)
    with Watchdog(kill=False) as watchdog:
        watchdog.begin(0.02)
        start = time.monotonic()
        with pytest.raises(TimeUp):
            time.sleep(60)
        assert time.monotonic() - start < 30
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_trial_that_waits_is_ended_at_its_timeout():
    def objective(config, trial):
        time.sleep(0.0 if trial.number % 2 else 60)
        return 1.0

    handler = signal.getsignal(signal.SIGALRM)
    results = run(objective, 4, timeout=0.1)
    assert results.state.tolist() == [TIMEOUT, COMPLETE, TIMEOUT, COMPLETE]
    assert (results.seconds < 30).all()
    assert "timeout of 0.1 s" in results.errors[0]
    assert results.errors[0].splitlines()[-1].startswith("    time.sleep")  # where it was
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_each_trial_has_its_own_time():
    results = run(lambda config: time.sleep(0.06) or 0.0, 5, timeout=0.2)
    assert (results.state == COMPLETE).all()


def test_a_late_result_does_not_count():
    def objective(config):
        try:
            time.sleep(60)
        except BaseException:
            return 1.0

    results = run(objective, timeout=0.05)
    assert results.state.tolist() == [TIMEOUT]
    assert results.metrics == {}


def test_without_the_main_thread_late_results_do_not_count_either():
    states = []
    thread = threading.Thread(
        target=lambda: states.append(only(lambda c: time.sleep(0.05) or 0.0, timeout=0.01)[0])
    )
    thread.start()
    thread.join()
    assert states == [TIMEOUT]


# --- surroundings -----------------------------------------------------------------------------


def test_what_a_trial_alters_is_put_back(tmp_path):
    folder, handler = os.getcwd(), signal.getsignal(signal.SIGTERM)
    seen = []

    def objective(config):
        seen.append(
            (
                os.getcwd(),
                os.environ.get("MARK"),
                os.environ.get("HOME"),
                signal.getsignal(signal.SIGTERM),
                signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            )
        )
        os.chdir(tmp_path)
        os.environ["MARK"] = "1"
        os.environ.pop("HOME", None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        if len(seen) == 2:  # another mapping in its place
            os.environ = {**os.environ, "MARK": "2"}  # noqa: B003
        time.sleep(0.002)
        return 0.0

    environment = os.environ
    run(objective, 3)
    assert os.environ is environment
    assert seen == [seen[0]] * 3
    assert seen[0][0] == folder == os.getcwd()
    assert "MARK" not in os.environ
    assert signal.getsignal(signal.SIGTERM) is handler


def test_global_generators_start_from_the_trials_seed():
    random.seed(1)
    np.random.seed(1)
    here = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)

    def objective(config):
        time.sleep(0.002)
        return random.random() + np.random.random()

    whole = run(objective, 3).metrics["loss"]
    assert len(set(whole.tolist())) == 3
    assert run(objective, 1, first=2).metrics["loss"][0] == whole[2]
    assert (random.random(), np.random.random()) == here


# --- vectorized -------------------------------------------------------------------------------


def test_a_vectorized_objective_gets_columns_and_returns_columns():
    @vectorized
    def objective(columns):
        return {"loss": columns["x"] * 2, "kind": columns["kind"]}

    columns = SPACE.decode(rng.uniform(0, 0, 8, SPACE.dim))
    results = run(objective, 8)
    assert (results.state == COMPLETE).all()
    assert results.metrics["loss"].tolist() == (columns["x"] * 2).tolist()
    assert results.metrics["kind"].tolist() == columns["kind"].tolist()


def test_rows_of_a_vectorized_objective_are_judged_one_by_one():
    values = np.array([1.0, np.nan, np.inf, -np.inf])
    results = run(vectorized(lambda columns: values), 4)
    assert results.state.tolist() == [COMPLETE, INVALID, COMPLETE, INVALID]


@pytest.mark.parametrize(
    ("value", "state", "says"),
    [
        (np.ones(3), INVALID, r"shape \(2,\), one value per configuration.* \(3,\)"),
        (1.0, INVALID, r"of shape \(\)"),
        (np.array([True, False]), INVALID, "found bool True"),
        (["a", "b"], INVALID, "found str 'a'"),
        ({"acc": np.ones(2)}, INVALID, "found only 'acc'"),
    ],
)
def test_a_wrong_answer_to_columns_is_named(value, state, says):
    results = run(vectorized(lambda columns: value), 2)
    assert results.state.tolist() == [state] * 2
    assert re.search(says, results.errors[1])


def test_a_vectorized_objective_fails_and_times_out_as_a_whole():
    @vectorized
    def broken(columns):
        return 1 / 0

    assert run(broken, 3).state.tolist() == [FAILED] * 3
    hangs = vectorized(lambda columns: time.sleep(60))
    assert run(hangs, 3, timeout=0.02).state.tolist() == [TIMEOUT] * 3


def test_vectorized_trials_share_the_time_of_their_call():
    @vectorized
    def slow(columns):
        time.sleep(0.02)
        return np.zeros(len(columns["x"]))

    results = run(slow, k=4)
    span = (results.started[-1] - results.started[0]) / 1e9 + results.seconds[-1]
    assert span == pytest.approx(results.seconds.sum(), rel=0.01)
