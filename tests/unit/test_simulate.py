"""Searches in virtual time: they are the real search, and take what arithmetic says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import raysearch as rs
from raysearch import simulate
from raysearch.engine.records import Done, Lost, Results, Task, Trials
from raysearch.errors import UsageError
from raysearch.simulate.clock import START, VirtualClock
from raysearch.simulate.executor import Death, Outage, SimulatedExecutor, Stalled

SPACE = rs.Space({"x": rs.Float(-1, 1), "n": rs.Int(1, 10)})


@rs.vectorized
def bowl(columns):
    return columns["x"] ** 2 + columns["n"]


def found(study):
    """What was found, whenever it was."""
    columns = ["number", "state", "config.x", "config.n", "metrics.loss"]
    return study.trials.select(columns).to_pylist()


def run(strategy=None, **options):
    options = {"workers": 4, "trials": 40, "duration": 10, "seed": 3, **options}
    return simulate.run(bowl, SPACE, strategy or rs.LocalSearch(), **options)


# --- as the real search ------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [rs.RandomSearch(), rs.LocalSearch(), rs.SimulatedAnnealing()])
def test_with_one_worker_it_is_the_search_itself(strategy):
    real = rs.search(bowl, SPACE, strategy, trials=40, seed=3, address="inline", progress=False)
    assert found(run(strategy, workers=1).study) == found(real)


def test_reproducible_it_is_the_search_itself_whatever_happens():
    calm = run(reproducible=True)
    rough = run(
        reproducible=True,
        duration=simulate.LogNormal(10, 1),
        retries=5,
        mishaps=[simulate.Crashes(0.2), simulate.Preemptions(every=200, away=30)],
        outages=[simulate.Outage(20, 60, range(4)), simulate.Outage(70, 80, range(2))],
    )
    assert found(rough.study) == found(calm.study)
    assert rough.makespan > calm.makespan
    assert max(rough.study.trials["attempts"].to_pylist()) > 1


def test_the_same_arguments_give_the_same_to_the_bit():
    options = {"duration": simulate.LogNormal(5, 1), "mishaps": [simulate.Crashes(0.1)]}
    one, other = run(**options), run(**options)
    assert one.study.trials.equals(other.study.trials)
    assert one.study.trials["worker"].to_pylist()[0].startswith("worker ")


# --- time --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(workers=st.integers(1, 50), trials=st.integers(1, 200), duration=st.floats(6, 1e6))
def test_equal_trials_go_in_waves(workers, trials, duration):
    result = run(rs.RandomSearch(), workers=workers, trials=trials, duration=duration)
    waves = math.ceil(trials / workers)
    assert result.makespan == pytest.approx(waves * duration)
    assert result.busy == pytest.approx(trials * duration)
    assert result.available == pytest.approx(workers * waves * duration)
    assert result.utilisation == pytest.approx(trials / (waves * workers))


def test_short_trials_are_batched_and_queued_before_their_slot_is_free():
    result = run(rs.RandomSearch(), workers=10, trials=10_000, duration=1e-3)
    assert result.makespan == pytest.approx(1.0, rel=0.2)
    assert result.utilisation > 0.8


def test_a_time_limit_is_virtual():
    result = run(trials=None, time_limit=95)
    assert result.why == "time"
    assert result.makespan == 95
    assert len(result.study) == 4 * 9


def test_durations_of_a_function_of_the_configuration():
    result = run(duration=lambda config: 100 * config["n"])
    rows = result.study.trials.to_pylist()
    assert [row["seconds"] for row in rows] == [100 * row["config.n"] for row in rows]
    assert all(
        (row["finished"].value - row["started"].value) / 1e9 == row["seconds"] for row in rows
    )


def test_a_trial_takes_as_long_whoever_runs_it_and_whenever():
    durations = simulate.LogNormal(60, 1)
    few, many = (
        run(rs.RandomSearch(), workers=n, trials=5000, duration=durations) for n in (3, 400)
    )
    times = [
        dict(
            zip(*(s.study.trials[name].to_pylist() for name in ("number", "seconds")), strict=True)
        )
        for s in (few, many)
    ]
    assert times[0] == times[1]
    logs = np.log(list(times[0].values()))
    assert np.median(logs) == pytest.approx(np.log(60), abs=0.05)
    assert logs.std() == pytest.approx(1, abs=0.05)


def test_measured_durations_are_drawn_as_often_as_they_were_measured():
    durations = simulate.Measured([1.0, 1.0, 7.0, math.nan])
    seconds = run(rs.RandomSearch(), trials=3000, duration=durations).study.trials["seconds"]
    values, counts = np.unique(seconds.to_numpy(), return_counts=True)
    assert values.tolist() == [1, 7]
    assert counts[0] / 3000 == pytest.approx(2 / 3, abs=0.05)


def test_time_to_quality():
    result = run(rs.RandomSearch(), workers=1)
    rows = found(result.study)
    losses = [row["metrics.loss"] for row in rows]
    for k in (0, 5, 20):
        first = next(i for i, loss in enumerate(losses) if loss <= losses[k])
        assert result.time_to(losses[k]) == pytest.approx(10 * (first + 1))
    assert result.time_to(min(losses) - 1) is None
    upwards = run(rs.RandomSearch(), workers=1, mode="max")
    assert upwards.time_to(max(losses)) == pytest.approx(10 * (int(np.argmax(losses)) + 1))


def test_only_what_meets_the_bounds_counts():
    def two(config):
        return {"loss": config["x"], "y": config["n"]}

    simulation = simulate.run(
        two, SPACE, rs.RandomSearch(), workers=1, trials=50, require={"y": ">= 5"}
    )
    x, y = (simulation.study.trials[name].to_numpy() for name in ("config.x", "metrics.y"))
    best = x[y >= 5].min()
    assert simulation.study.best.metrics["loss"] == best > x.min()
    assert simulation.time_to(best) == 1.0 + np.flatnonzero((x == best) & (y >= 5))[0]
    assert simulation.time_to(best - 1e-9) is None


def test_a_driver_that_is_charged_holds_workers_up():
    result = run(rs.RandomSearch(), workers=2, trials=20, duration=6, charge_driver=True)
    assert result.driver > 0
    assert result.makespan > 60
    assert result.utilisation < 1


def test_what_handing_out_a_task_takes_holds_workers_up():
    """One driver that needs a second a task keeps ten of twenty workers busy."""
    result = run(rs.RandomSearch(), workers=20, trials=1000, duration=10, dispatch=1.0)
    assert result.driver == 1000
    assert result.makespan == pytest.approx(1000, rel=0.05)
    assert result.utilisation == pytest.approx(0.5, abs=0.03)


# --- mishaps -----------------------------------------------------------------------------------


def test_crashes_are_retried_and_then_given_up():
    result = run(rs.RandomSearch(), trials=300, mishaps=[simulate.Crashes(0.5)], retries=1)
    states = result.study.counts
    assert set(states) == {"complete", "crashed"}
    assert states["crashed"] / 300 == pytest.approx(0.25, abs=0.08)
    assert result.busy > 10 * states["complete"]


def test_preempted_workers_are_away_for_a_while():
    calm = run(rs.RandomSearch(), trials=400)
    spot = run(rs.RandomSearch(), trials=400, mishaps=[simulate.Preemptions(every=100, away=50)])
    assert spot.study.counts == {"complete": 400}
    lost = spot.busy - calm.busy  # 1 of 100 s of work, half a trial each and half a minute away
    assert lost / calm.busy == pytest.approx(0.05, abs=0.03)
    assert spot.available < 4 * spot.makespan
    assert spot.utilisation == pytest.approx(1, abs=0.05)


def test_a_search_outlives_the_loss_of_all_workers():
    result = run(rs.RandomSearch(), outages=[simulate.Outage(15, 1000, range(4))])
    assert result.study.counts == {"complete": 40}
    assert result.makespan == 1000 + 9 * 10  # one wave before, nine after
    assert result.available == 4 * (15 + 90)


# --- replay ------------------------------------------------------------------------------------


def test_a_replay_runs_the_same_trials():
    study = run(duration=lambda config: 7 * config["n"]).study
    for workers in (1, 3, 40):
        again = simulate.replay(study, workers=workers)
        key = lambda row: row["number"]  # noqa: E731
        assert sorted(found(again.study), key=key) == sorted(found(study), key=key)
    seconds = study.trials["seconds"].to_numpy()
    assert simulate.replay(study, workers=1).makespan == pytest.approx(seconds.sum())
    assert simulate.replay(study, workers=40).makespan == pytest.approx(seconds.max())


def test_a_replay_of_an_empty_study_is_refused():
    study = run(trials=None, time_limit=1).study
    with pytest.raises(UsageError, match="expected one with finished trials"):
        simulate.replay(study, workers=2)


def test_the_replay_of_trials_that_never_came_back_takes_what_they_kept_us_waiting():
    study = run(rs.RandomSearch(), trials=30, mishaps=[simulate.Crashes(0.5)], retries=0).study
    lost = study.counts["crashed"]
    again = simulate.replay(study, workers=4)
    assert again.study.counts["crashed"] == lost
    assert 0 < again.busy < 300


# --- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers: expected an integer of at least 1, found 0"),
        ({"trials": None}, "trials: expected how many"),
        ({"duration": -1}, "duration: expected seconds > 0, found -1"),
        ({"duration": "1h"}, "duration: expected seconds"),
        ({"duration": lambda config: math.nan}, "duration: expected seconds >= 0, found nan"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        run(**options)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: simulate.LogNormal(0, 1),
        lambda: simulate.LogNormal(1, -1),
        lambda: simulate.Measured([]),
        lambda: simulate.Crashes(1.0),
        lambda: simulate.Preemptions(every=0),
        lambda: simulate.Preemptions(every=1, away=math.inf),
        lambda: simulate.Outage(2, 1, range(2)),
    ],
)
def test_wrong_chances_are_refused(wrong):
    with pytest.raises(UsageError, match="expected"):
        wrong()


# --- the executor ------------------------------------------------------------------------------


def executor(workers=2, **options):
    clock = VirtualClock()

    def takes(trials):
        return trials.number.astype(float)

    def returns(trials):
        zeros = np.zeros(len(trials))
        number = {"loss": trials.number.astype(float)}
        return Results(zeros.astype(np.uint8), number, {}, zeros.astype(np.int64), zeros, "")

    return SimulatedExecutor(takes, returns, workers, clock, **options), clock


def task(id, *numbers):
    columns = SPACE.decode(np.full((len(numbers), SPACE.dim), 0.5))
    return Task(id, Trials(np.array(numbers, dtype=np.int64), columns))


def test_tasks_come_back_when_they_are_done_from_the_first_free_worker():
    simulated, clock = executor()
    for each in (task(1, 5), task(2, 2, 1), task(3, 4)):
        simulated.submit(each)
    came = []
    while len(came) < 3:
        for event in simulated.poll(math.inf):
            assert isinstance(event, Done)
            results = event.results
            started = ((results.started - START) / 1e9).tolist()
            came.append((event.task, (clock.now - START) / 1e9, results.worker, started))
            assert results.metrics["loss"].tolist() == results.seconds.tolist()
    assert came == [
        (2, 3.0, "worker 1", [0.0, 2.0]),
        (1, 5.0, "worker 0", [0.0]),
        (3, 7.0, "worker 1", [3.0]),
    ]
    with pytest.raises(Stalled):
        simulated.poll(math.inf)
    assert simulated.poll(2.5) == []
    assert clock.now - START == 9.5e9


def test_a_cancelled_task_frees_its_worker_at_once():
    simulated, clock = executor(workers=1)
    for each in (task(1, 100), task(2, 3), task(3, 4)):
        simulated.submit(each)
    assert simulated.poll(1) == []
    simulated.cancel(1)
    simulated.cancel(2)
    simulated.cancel(77)
    events = [*simulated.poll(0), *simulated.poll(math.inf)]
    assert [(type(event), event.task) for event in events] == [(Lost, 1), (Lost, 2), (Done, 3)]
    assert (clock.now - START) / 1e9 == 5


def test_a_dead_worker_takes_its_task_with_it_and_a_lost_machine_all_of_them():
    def fate(task, seconds):
        return Death(1.0, "crashed", "dead", away=2.0) if task.id == 1 else None

    outage = Outage(2, 4, range(1, 3))
    simulated, clock = executor(workers=3, fate=fate, outages=[outage])
    for each in (task(1, 5), task(2, 50), task(3, 60)):
        simulated.submit(each)
    seen = []
    for _ in range(4):
        events = [(event.task, event.how) for event in simulated.poll(math.inf)]
        seen.append(((clock.now - START) / 1e9, events, simulated.slots()))
    assert (
        seen
        == [
            (1.0, [(1, "crashed")], 2),
            (2.0, [(2, "node"), (3, "node")], 0),
            (3.0, [], 1),
            (4.0, [], 3),
        ][:4]
        + seen[4:]
    )
