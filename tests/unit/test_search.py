"""search(): arguments, limits, failures and what is told to whom; in this process, without Ray."""

from __future__ import annotations

import math
import re
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import raysearch as rs
from raysearch.arguments import RAY_OPTIONS, limits_of
from raysearch.engine.limits import Limits
from raysearch.errors import ObjectiveError, SearchFailed, StudyMismatch, UsageError
from raysearch.strategies.random import RandomSearch

EVEN = rs.QuasiRandom()
SPACE = rs.Space({"x": rs.Float(-1, 1), "n": rs.Int(1, 100)})


def sphere(config):
    return config["x"] ** 2


def search(objective=sphere, space=SPACE, strategy=EVEN, **options):
    options = {"address": "inline", "progress": False, "trials": 20, **options}
    return rs.search(objective, space, strategy, **options)


def numbers(study):
    return study.trials["number"].to_pylist()


# --- what is refused, before anything is stored -------------------------------------------------

LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": 3}, "objective: expected a function"),
        ({"objective": lambda a, b, c: 0.0}, "objective: expected a function"),
        ({"objective": math}, "objective: expected a function"),
        ({"space": {}}, "space: "),
        ({"space": [1]}, "space: expected a mapping"),
        ({"space": {"x": 3}}, "space"),
        ({"strategy": RandomSearch}, r"strategy: .*the class RandomSearch; add \(\)"),
        ({"strategy": "random"}, r"strategy: .*found 'random'; write RandomSearch\(\)"),
        ({"trials": 0}, "trials: expected at least 1, found 0"),
        ({"trials": -5}, "trials: expected at least 1"),
        ({"trials": "5"}, "trials: expected an integer or None, found '5'"),
        ({"trials": True}, "trials: expected an integer"),
        ({"trials": 1.5}, "trials: expected an integer"),
        ({"time_limit": 0}, "time_limit: expected seconds > 0"),
        ({"time_limit": "1h"}, "time_limit: expected seconds > 0"),
        ({"time_limit": math.inf}, "time_limit: expected seconds > 0"),
        ({"time_limit": math.nan}, "time_limit: expected seconds > 0"),
        ({"timeout": -1}, "timeout: expected seconds > 0"),
        ({"timeout": True}, "timeout: expected seconds > 0"),
        ({"timeout": 1e12}, "timeout: expected seconds > 0, at most 1e9"),
        ({"time_limit": 10**400}, "time_limit: expected seconds > 0, at most 1e9"),
        ({"metric": {"a": "min", "b": "max"}, "mode": "max"}, "mode: the mapping of metrics says"),
        ({"metric": {"a": "min"}, "mode": "zzz"}, "mode: the mapping of metrics says"),
        ({"metric": ""}, "metric: expected the name"),
        ({"metric": {}}, "metric: expected a name"),
        ({"metric": ["loss"]}, "metric: expected a name"),
        ({"metric": {"loss": "down"}}, r"metric\['loss'\]: expected 'min' or 'max'"),
        (
            {"strategy": rs.LocalSearch(), "metric": {"a": "min", "b": "max"}},
            "takes one objective, found 2",
        ),
        ({"mode": "down"}, "mode: expected 'min' or 'max', found 'down'"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"study": ""}, "study: expected a folder or URI"),
        ({"study": 3}, "study: expected a folder or URI"),
        ({"study": "s3:/a"}, "study: .*did you mean 's3://a'"),
        ({"study": Path("gs://a/b")}, "study: .*did you mean 'gs://a/b'"),
        ({"study": __file__}, "study: expected a folder, found the file"),
        ({"study": "ftp://host/x"}, "study: expected a folder or a URI"),
        ({"resume": "yes"}, "resume: expected True, False or 'changed'"),
        ({"resume": 1}, "resume: expected True, False or 'changed'"),
        ({"concurrency": 0}, "concurrency: expected at least 1"),
        ({"reproducible": True}, "reproducible: .*concurrency=8"),
        ({"reproducible": "yes"}, "reproducible: expected True or False"),
        ({"retries": -1}, "retries: expected an integer >= 0"),
        ({"retries": None}, "retries: expected an integer >= 0"),
        ({"max_failures": 0}, "max_failures: expected at least 1"),
        ({"callbacks": print}, "callbacks: expected a list of functions"),
        ({"callbacks": [print, 3]}, r"callbacks\[1\]: expected a function"),
        ({"progress": "bar"}, "progress: expected True, False or a function"),
        ({"data": [1]}, "data: expected a mapping"),
        ({"data": {1: 2}}, "data: expected names"),
        ({"ray_options": ["num_cpus"]}, "ray_options: expected a mapping"),
        ({"ray_options": {"num_cups": 1}}, "found 'num_cups'; did you mean 'num_cpus'"),
        ({"ray_options": {"num_cups": 1}, "address": None}, "ray_options: .*num_cups"),
        ({"ray_options": {"max_retries": 3}, "address": None}, "max_retries is raysearch's own"),
        ({"address": 10001}, "address: expected None"),
        ({"address": ""}, "address: expected None"),
        ({"objective": lambda c: LOCK, "address": None}, "'LOCK'.* cannot be serialized"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_named_and_leaves_no_study_behind(tmp_path, arguments, message):
    place = tmp_path / "study"
    with pytest.raises(UsageError, match=message):
        search(**{"study": place, **arguments})
    assert not place.exists()


def test_numbers_of_numpy_are_arguments(tmp_path):
    limits = limits_of(
        10**18,
        trials=np.int64(3),
        time_limit=np.int32(60),
        retries=np.int8(0),
        max_failures=np.array(2),
        timeout=np.float32(0.5),
    )
    assert repr(limits) == repr(Limits(3, 10**18 + 60 * 10**9, 0, 2, 0.5))  # Python's own
    assert len(search(study=tmp_path, trials=np.int64(3), seed=np.uint64(7))) == 3


def test_the_options_known_as_rays_are_what_ray_takes():
    options = pytest.importorskip("ray._common.ray_option_utils").task_options
    ours = {"max_retries", "num_returns", "retry_exceptions"}
    public = {name for name in options if not name.startswith("_")}
    assert public - ours == set(RAY_OPTIONS)


@dataclass(frozen=True)
class Mine(RandomSearch):
    """A strategy of one's own, which nobody has registered."""

    option: float = 0.5


def test_a_strategy_of_ones_own_searches_and_goes_on(tmp_path):
    search(study=tmp_path, strategy=Mine(), trials=3)
    study = search(study=tmp_path, strategy=Mine(), trials=5)
    assert len(study) == 5
    assert study.spec["strategy"] == {"strategy": f"{__name__}:Mine", "options": {"option": 0.5}}
    with pytest.raises(StudyMismatch, match=r"strategy\.options\.option: stored 0\.5, now 0\.1"):
        search(study=tmp_path, strategy=Mine(0.1), trials=9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"states": ["complete"]}, "states: expected some of"),
        ({"timeout": 0}, "timeout: expected seconds"),
        ({"callbacks": 3}, "callbacks: expected a list"),
        ({"space": [1]}, "space: expected a mapping"),
        ({"objective": 3}, "objective: expected a function"),
    ],
    ids=str,
)
def test_retry_names_a_wrong_argument(tmp_path, arguments, message):
    search(study=tmp_path)
    with pytest.raises(UsageError, match=message):
        rs.retry(**{"objective": sphere, "study": tmp_path, "address": "inline", **arguments})


def test_a_file_or_a_folder_of_something_else_is_no_place_for_a_study(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match="expected a folder, found the file"):
        search(study=file)
    with pytest.raises(rs.errors.StudyError, match="file"):
        search(study=file / "below")
    with pytest.raises(StudyMismatch, match="expected a study or an empty folder"):
        search(study=tmp_path)
    assert file.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("trials", [1, 2, 10, 333])
def test_as_many_trials_as_wanted_are_run_and_stored_each_once(tmp_path, trials):
    ran = []

    def objective(config, trial):
        ran.append(trial.number)
        if trial.number % 3 == 2:
            raise ValueError("third")
        return config["x"]

    study = search(objective, trials=trials, study=tmp_path)
    assert sorted(ran) == sorted(numbers(study)) == list(range(trials))
    assert study.counts.get("failed", 0) == trials // 3  # failed ones count
    assert len(search(objective, trials=trials, study=tmp_path)) == trials
    assert len(ran) == trials  # nothing was left to do
    assert len(search(objective, trials=trials + 5, study=tmp_path)) == trials + 5


def test_the_time_limit_keeps_what_was_finished(tmp_path):
    def objective(config):
        time.sleep(0.05)
        return config["x"]

    begin = time.monotonic()
    study = search(objective, trials=None, time_limit=0.5, study=tmp_path)
    assert time.monotonic() - begin < 2.5
    assert numbers(study) == list(range(len(study)))
    assert 3 <= len(study) <= 11


@pytest.mark.parametrize("lockstep", [False, True])
def test_a_result_that_comes_in_at_the_limit_is_kept(lockstep):
    def objective(config):
        time.sleep(0.3)
        return config["x"]

    strategy = rs.LocalSearch() if lockstep else RandomSearch()
    assert len(search(objective, strategy=strategy, trials=None, time_limit=0.2)) == 1


def test_trials_that_hang_or_wait_are_ended_at_their_timeout():
    def objective(config, trial):
        if trial.number == 1:
            time.sleep(60)
        while trial.number == 2:
            pass
        return 0.0

    study = search(objective, trials=5, timeout=0.2)
    assert study.counts == {"complete": 3, "timeout": 2}
    assert "objective" in study.trial(1).error
    assert study.trial(2).attempts == 1


# --- failures -------------------------------------------------------------------------------------


def test_the_first_ten_failures_end_the_search_and_show_the_error(tmp_path):
    ran = []

    def objective(config, trial):
        ran.append(trial.number)
        time.sleep(0.002)
        raise ValueError("no such file: digits.csv")

    with pytest.raises(SearchFailed) as caught:
        search(objective, trials=1000, study=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "ValueError: no such file: digits.csv"
    assert 'raise ValueError("no such file: digits.csv")' in str(caught.value)
    assert "max_failures" in lines[-1]
    assert 10 <= len(ran) < 100
    assert len(rs.Study.load(tmp_path)) == len(numbers(rs.Study.load(tmp_path))) >= 10


def test_max_failures_is_the_users(tmp_path):
    def slow(config):
        time.sleep(0.11)  # so that a task holds one trial
        raise ValueError

    with pytest.raises(SearchFailed):
        search(slow, max_failures=3, study=tmp_path)
    assert len(rs.Study.load(tmp_path)) == 3

    def bad(config):
        raise ValueError

    assert search(bad, max_failures=None).counts == {"failed": 20}

    def once(config, trial):
        if trial.number != 5:
            raise ValueError
        return 1.0

    assert search(once, strategy=rs.LocalSearch(), trials=60).counts["complete"] == 1


class Strange(Exception):
    def __str__(self):
        raise RuntimeError

    def __reduce__(self):
        raise RuntimeError


BAD = {
    "raises": (lambda: 1 / 0, "failed", "ZeroDivisionError"),
    "unprintable": (lambda: (_ for _ in ()).throw(Strange()), "failed", "Strange"),
    "nan": (lambda: math.nan, "invalid", "found nan"),
    "minus infinity": (lambda: -math.inf, "invalid", "found -inf"),
    "nothing": (lambda: None, "invalid", "does the objective return its result"),
    "text": (lambda: "0.5", "invalid", "found str '0.5'"),
    "complex": (lambda: 1j, "invalid", "complex"),
    "bool": (lambda: True, "invalid", "bool"),
    "list": (lambda: [1.0], "invalid", "list"),
    "no metric": (lambda: {"acc": 1.0, "f1": 2.0}, "invalid", "'acc', 'f1'"),
    "metric of text": (lambda: {"loss": "low"}, "invalid", "'loss'"),
    "metric with a bad name": (lambda: {"loss": 1.0, "\ud800": 1.0}, "invalid", "metrics["),
    "exit": (lambda: sys.exit(3), "crashed", "sys.exit(3)"),
    "huge integer": (lambda: 10**400, "invalid", "range of float"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("strategy", [RandomSearch(), rs.LocalSearch()], ids=["any", "lockstep"])
def test_what_goes_wrong_in_a_trial_stays_in_it(name, strategy):
    call, state, message = BAD[name]

    def objective(config, trial):
        return call() if trial.number == 1 else 1.0

    study = search(objective, strategy=strategy, trials=4)
    assert [t["state"] for t in sorted(study.trials.to_pylist(), key=lambda t: t["number"])] == [
        "complete",
        state,
        "complete",
        "complete",
    ]
    assert message in study.trial(1).error
    assert study.best.number == 0


def test_plus_infinity_is_a_legal_worst_value():
    study = search(lambda c, trial: math.inf if trial.number else 3.0, trials=3)
    assert study.counts == {"complete": 3}
    assert study.best.number == 0


def test_a_metric_that_changes_its_type_makes_its_own_trial_invalid(tmp_path):
    values = [1.0, "text", 2.0, True, None, 3.0]

    def objective(config, trial):
        return {"loss": 1.0, "note": values[trial.number % 6]}

    for place in (None, tmp_path):
        study = search(objective, trials=120, study=place)  # many in one batch, and in one round
        note = study.trials["metrics.note"].to_pylist()
        states = dict(zip(numbers(study), study.trials["state"].to_pylist(), strict=True))
        assert len(study) == 120
        assert {n % 6 for n, state in states.items() if state == "invalid"} == {1, 3}
        assert set(note) == {1.0, 2.0, 3.0, None}
    error = "expected a number, as in the trials before, found"
    assert error in study.trial(1).error


def test_types_are_known_within_the_round_in_which_they_come_up(tmp_path):
    """Told one by one, written together: the first of them decides."""

    def objective(config, trial):
        note = {} if trial.number < 20 else {"note": ["text", 2.0][trial.number % 2]}
        return {"loss": 1.0, **note}

    for place in (None, tmp_path):
        study = search(objective, reproducible=True, concurrency=16, trials=60, study=place)
        assert study.counts == {"complete": 40, "invalid": 20}


def test_one_trial_a_round_may_be_the_one_that_changes_a_type():
    def objective(config, trial):
        time.sleep(0.11 if trial.number < 2 else 0.0)  # so that a task holds one trial
        return {"loss": 1.0, "note": "x" if trial.number == 0 else 2.0}

    study = search(objective, trials=4)
    assert study.counts == {"complete": 1, "invalid": 3}


# --- what comes of it --------------------------------------------------------------------------


def test_maximise_finds_the_largest():
    study = search(lambda c: {"score": c["x"]}, metric="score", mode="max", trials=50)
    assert study.best.metrics["score"] == max(study.trials["metrics.score"].to_pylist())
    best = []
    search(
        lambda c: {"score": c["x"]},
        strategy=rs.LocalSearch(),
        metric={"score": "max"},
        trials=60,
        progress=lambda p: best.append(p.best.value if p.best else -9.0),
    )
    assert best == sorted(best)
    assert best[-1] > 0.5


def test_in_memory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = search()
    assert (len(study), study.place) == (20, "memory")
    assert study.best.config.keys() == {"x", "n"}
    assert list(tmp_path.iterdir()) == []


def test_several_objectives_make_a_front():
    study = search(
        lambda c: {"error": c["x"] ** 2, "gain": c["x"]},
        metric={"error": "min", "gain": "max"},
        trials=50,
    )
    front = study.pareto.to_pylist()
    assert 1 < len(front) < 50
    for row in front:
        assert not any(
            other["metrics.error"] <= row["metrics.error"]
            and other["metrics.gain"] > row["metrics.gain"]
            for other in study.trials.to_pylist()
        )
    corners = [(1 - row["metrics.error"]) * row["metrics.gain"] for row in front]
    volume = study.hypervolume({"gain": 0, "error": 1})
    assert max(corners) < volume < 2 / 3  # below 1 - x^2
    for wrong in ({"error": 1}, {"error": 1, "gain": "0"}, [1, 0]):
        with pytest.raises(UsageError, match=r"reference: .*'error', 'gain'"):
            study.hypervolume(wrong)


def test_what_has_no_budgets_has_no_schedule_to_replay():
    with pytest.raises(UsageError, match=r"replay: .* budgets.*'quasi-random'"):
        rs.replay(sphere, search(trials=2), address="inline", progress=False)


def test_callbacks_get_trials_that_are_durable_and_may_end_the_search(tmp_path):
    seen = []

    def callback(trials):
        seen.extend(trials)
        assert {t.number for t in trials} <= set(numbers(rs.Study.load(tmp_path)))
        return len(seen) >= 7

    study = search(trials=1000, study=tmp_path, callbacks=[lambda trials: None, callback])
    assert [t.number for t in seen] == numbers(study)
    assert 7 <= len(study) < 1000
    for trial in seen:
        assert trial == study.trial(trial.number)


def test_no_trial_begins_after_a_callback_has_ended_the_search():
    ran = []

    def objective(config, trial):
        time.sleep(0.11)  # so that a task holds one trial, and one may be ahead
        ran.append(trial.number)
        return 0.0

    study = search(objective, strategy=rs.LocalSearch(chains=1), callbacks=[lambda trials: True])
    assert numbers(study) == ran == [0]


def test_an_error_in_a_callback_is_the_users_and_the_study_is_whole(tmp_path):
    def callback(trials):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        search(study=tmp_path, callbacks=[callback])
    assert len(rs.Study.load(tmp_path)) > 0
    assert len(search(study=tmp_path)) == 20


def test_a_trial_that_callbacks_and_progress_see_fail():
    shown, seen = [], []

    def objective(config, trial):
        if trial.number == 2:
            raise ValueError("two")
        return 1.0

    search(objective, progress=shown.append, callbacks=[seen.extend], trials=6)
    assert (shown[-1].done, shown[-1].failed, shown[-1].trials) == (6, 1, 6)
    assert {t.number: t.error is not None for t in seen}[2]


def test_data_arrive_read_only_in_every_trial():
    images = np.arange(5.0)

    def objective(config, trial):
        assert not trial.data["images"].flags.writeable
        return trial.data["images"].sum() + trial.data["shift"]

    study = search(objective, data={"images": images, "shift": 1}, trials=3)
    assert study.trials["metrics.loss"].to_pylist() == [11.0] * 3
    assert images.flags.writeable


def test_the_same_seed_gives_the_same_trials_and_another_seed_others():
    one, same, other = (search(seed=s, trials=30).trials for s in (1, 1, 2))
    assert one["config.x"] == same["config.x"]
    assert one["config.x"] != other["config.x"]


def test_a_strategy_that_is_used_up_ends_the_search():
    space = {"c": rs.Choice(["a", "b", "c"])}
    study = search(lambda c: 0.0, space, rs.GridSearch(), trials=None)
    assert sorted(study.trials["config.c"].to_pylist()) == ["a", "b", "c"]


def test_two_searches_in_one_study_at_once_are_refused(tmp_path):
    def callback(trials):
        with pytest.raises(rs.errors.StudyLocked, match="process"):
            search(study=tmp_path)
        return True

    search(study=tmp_path, callbacks=[callback])
    assert len(search(study=tmp_path)) == 20


async def coroutine(config): ...


def test_the_objective_may_be_wrong_only_where_it_is_called(tmp_path):
    with pytest.raises(ObjectiveError, match="async"):
        search(coroutine, study=tmp_path / "study")
    assert not Path(tmp_path / "study").exists()
