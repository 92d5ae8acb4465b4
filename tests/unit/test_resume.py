"""Studies that are taken up again: nothing lost, nothing twice, and as if never interrupted."""

from __future__ import annotations

import os
import signal
import time

import pytest

import raysearch as rs
from raysearch import strategies
from raysearch.errors import Interrupted, StudyMismatch, StudyNotFound, UsageError
from raysearch.strategies.random import RandomSearch

EVEN = rs.QuasiRandom()
SPACE = rs.Space(
    {
        "x": rs.Float(-1, 1),
        "n": rs.Int(1, 100, log=True),
        "kind": rs.Choice(["a", "b", "c"]),
        "depth": rs.Int(1, 5).when(kind="b"),
    }
)
WIDE = rs.Space({**SPACE.parameters, "x": rs.Float(-3, 3)})


def objective(config, trial):
    if trial.number % 7 == 3:
        raise ValueError("every seventh")
    return {"loss": config["x"] ** 2 + config.get("depth", 3) / config["n"], "x2": 2 * config["x"]}


def search(place, objective=objective, space=SPACE, strategy=EVEN, **options):
    options = {"address": "inline", "progress": False, "trials": 40, "study": place, **options}
    return rs.search(objective, space, strategy, **options)


def table(study, by_number=False):
    """What was searched and found, and in which order; not when."""
    rows = study.trials.select(
        [n for n in study.trials.schema.names if n.startswith(("config.", "metrics."))]
        + ["number", "state"]
    ).to_pylist()
    return sorted(rows, key=lambda row: row["number"]) if by_number else rows


def after(k):
    """A callback that ends the search after k trials."""
    seen = []
    return lambda trials: seen.extend(trials) or len(seen) >= k


# --- as the uninterrupted search -----------------------------------------------------------------


@pytest.mark.parametrize("name", strategies.names())
@pytest.mark.parametrize("window", [None, 4])
def test_an_interrupted_search_goes_on_as_the_uninterrupted_one(tmp_path, name, window):
    strategy = strategies.get(name)()
    options = {"trials": 26}
    options |= {} if window is None else {"reproducible": True, "concurrency": window}
    whole = table(search(None, strategy=strategy, **options))
    for cuts in ([1], [2, 3], [10], [13, 1, 9]):
        place = tmp_path / str(cuts)
        for k in cuts:
            search(place, strategy=strategy, callbacks=[after(k)], **options)
        assert table(search(place, strategy=strategy, **options)) == whole, cuts


@pytest.mark.parametrize("window", [None, 4])
def test_ctrl_c_goes_on_as_if_it_had_not_been(tmp_path, window):
    """The trial that runs is finished, told and stored; the next ones are run on resume."""
    options = {} if window is None else {"reproducible": True, "concurrency": window}
    strategy = rs.LocalSearch()
    whole = table(search(None, strategy=strategy, **options))

    def pressing(config, trial):
        if trial.number == press_at:
            signal.raise_signal(signal.SIGINT)
        return objective(config, trial)

    for press_at in (5, 9, 20):
        with pytest.raises(Interrupted, match="the same command goes on") as caught:
            search(tmp_path, pressing, strategy=strategy, **options)
        assert caught.value.signal == signal.SIGINT
        assert press_at in caught.value.study.trials["number"].to_pylist()
    assert table(search(tmp_path, strategy=strategy, **options)) == whole


def test_a_time_limit_goes_on_as_if_it_had_not_been(tmp_path):
    options = {"reproducible": True, "concurrency": 4, "strategy": rs.LocalSearch()}
    whole = table(search(None, **options))

    def waiting(config, trial):
        time.sleep(0.4 if trial.number == 15 else 0)
        return objective(config, trial)

    search(tmp_path, waiting, time_limit=0.3, **options)
    assert len(rs.Study.load(tmp_path)) < 40
    assert table(search(tmp_path, **options)) == whole


def test_twice_ctrl_c_cancels_the_trial_that_runs(tmp_path):
    def pressing(config, trial):
        if trial.number == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return objective(config, trial)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="3 trials, stored in"):
        search(tmp_path, pressing, strategy=rs.LocalSearch())
    assert signal.getsignal(signal.SIGINT) is before
    assert len(search(tmp_path, strategy=rs.LocalSearch())) == 40


def test_a_driver_that_dies_at_any_row_loses_nothing(tmp_path):
    """Forked, and killed from inside a callback or a trial: what was acknowledged is there."""
    acknowledged = tmp_path / "acknowledged"
    for k in (1, 2, 9, 16):

        def callback(trials, k=k):
            with acknowledged.open("a") as file:
                file.writelines(f"{t.number}\n" for t in trials)
            if len(rs.Study.load(tmp_path / "study")) >= k:
                os._exit(9)

        child = os.fork()
        if not child:
            search(tmp_path / "study", strategy=rs.LocalSearch(), callbacks=[callback])
            os._exit(0)
        os.waitpid(child, 0)
        stored = rs.Study.load(tmp_path / "study").trials["number"].to_pylist()
        assert sorted(map(int, acknowledged.read_text().split())) == sorted(stored)
    study = search(tmp_path / "study", strategy=rs.LocalSearch())
    assert table(study) == table(search(None, strategy=rs.LocalSearch()))


def test_a_study_with_sessions_and_no_rows_goes_on(tmp_path):
    for _ in range(2):
        with pytest.raises(OSError, match="disk"):
            search(tmp_path, callbacks=[lambda trials: None], progress=failing_disk)
    assert len(rs.Study.load(tmp_path)) == 0
    assert table(search(tmp_path)) == table(search(None))


def test_a_study_whose_driver_died_before_its_first_session_is_no_study_yet(tmp_path):
    search(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "study.json":
            path.unlink()
    with pytest.raises(StudyNotFound, match="nothing was searched here yet"):
        rs.Study.load(tmp_path)
    assert len(search(tmp_path)) == 40


def failing_disk(progress):
    raise OSError("disk")


# --- what is refused, and what flags allow -----------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"space": WIDE}, r"space\.parameters\.x.*stored \[-1.0, 1.0\], now \[-3.0, 3.0\]"),
        ({"strategy": RandomSearch()}, "strategy.*stored 'quasi-random', now 'random'"),
        ({"strategy": rs.QuasiRandom(method="halton")}, "method: stored 'sobol', now 'halton'"),
        ({"metric": "x2"}, r"metric\.x2: not stored, now 'min'"),
        ({"mode": "max"}, r"metric\.loss: stored 'min', now 'max'"),
        ({"seed": 1}, "seed: stored 0, now 1"),
        ({"reproducible": True, "concurrency": 2}, "reproducible: .*now 2"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_a_changed_search_is_refused_and_the_study_stays(tmp_path, changed, difference):
    before = table(search(tmp_path))
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(StudyMismatch, match=difference):
        search(tmp_path, trials=50, **changed)
    with pytest.raises(StudyMismatch, match="there is a study already"):
        search(tmp_path, trials=50, resume=False)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files
    assert table(search(tmp_path)) == before
    more = search(tmp_path, trials=50, resume="changed", **changed)
    assert table(more)[:40] == before
    assert sorted(more.trials["number"].to_pylist()) == list(range(50))
    again = search(tmp_path, trials=55, **changed)  # it is the search that is stored now
    assert table(again)[:50] == table(more)


def test_a_widened_space_goes_on_from_the_best_so_far(tmp_path):
    space = rs.Space({"x": rs.Float(0, 1)})
    wide = rs.Space({"x": rs.Float(0, 2)})

    def distance(config):
        return (config["x"] - 1.1) ** 2

    old = search(tmp_path, distance, space, rs.LocalSearch()).best
    fresh = search(None, distance, wide, rs.LocalSearch(), trials=12).trials["config.x"].to_pylist()
    study = search(tmp_path, distance, wide, rs.LocalSearch(), trials=52, resume="changed")
    new = study.trials["config.x"].to_pylist()[40:]
    assert new != fresh  # the old trials were told to the strategy
    assert study.best.metrics["loss"] < old.metrics["loss"]
    cut = search(tmp_path, distance, wide, rs.LocalSearch(), trials=60, callbacks=[after(3)])
    assert table(cut)[:52] == table(study)
    assert len(search(tmp_path, distance, wide, rs.LocalSearch(), trials=60)) == 60


def test_a_metric_that_old_trials_lack_is_no_failure_of_theirs(tmp_path):
    def with_note(config, trial):
        return {"loss": config["x"] ** 2, "note": "text"}

    def with_number(config, trial):
        return {"note2": 1.0, "loss": 2.0}

    for metric in ("note", "note2"):
        place = tmp_path / metric
        search(place, with_note, strategy=rs.LocalSearch())
        options = {"strategy": rs.LocalSearch(), "metric": metric, "resume": "changed"}
        study = search(place, with_number, trials=50, max_failures=None, **options)
        assert len(study) == 50


def test_a_strategy_whose_code_has_changed_is_noticed_and_allowed(tmp_path, monkeypatch):
    search(tmp_path, strategy=RandomSearch(), trials=10)
    ask = RandomSearch.ask

    def other(self, state, n):
        state, batch = ask(self, state, n)
        return state, type(batch)(1 - batch.x, batch.number)

    monkeypatch.setattr(RandomSearch, "ask", other)
    with pytest.raises(StudyMismatch, match="is not what RandomSearch"):
        search(tmp_path, strategy=RandomSearch(), trials=20)
    study = search(tmp_path, strategy=RandomSearch(), trials=20, resume="changed")
    assert sorted(study.trials["number"].to_pylist()) == list(range(20))
    assert len(search(tmp_path, strategy=RandomSearch(), trials=30)) == 30


# --- retry ---------------------------------------------------------------------------------------


def mended(config, trial):
    return {"loss": config["x"] ** 2, "x2": 0.0}


def test_retried_trials_take_the_place_of_their_failures(tmp_path):
    before = search(tmp_path, strategy=rs.LocalSearch())
    failed = [t["number"] for t in before.trials.to_pylist() if t["state"] == "failed"]
    seen, shown = [], []
    after = rs.retry(
        mended, tmp_path, address="inline", progress=shown.append, callbacks=[seen.extend]
    )
    assert sorted(t.number for t in seen) == failed
    assert after.counts == {"complete": 40}
    assert shown[-1].failed == 0
    assert shown[-1].done == 40
    for number in failed:
        assert after.trial(number).config == before.trial(number).config
        assert after.trial(number).attempts == before.trial(number).attempts + 1
        assert after.trial(number).metrics["loss"] == before.trial(number).config["x"] ** 2
    more = search(tmp_path, strategy=rs.LocalSearch(), trials=60)
    assert sorted(more.trials["number"].to_pylist()) == list(range(60))
    assert rs.retry(mended, tmp_path, address="inline", progress=False, states=["oom"])


def test_the_strategy_learns_what_a_retry_found(tmp_path):
    """A retried trial is the best by far: local search goes on from there."""
    space = rs.Space({"x": rs.Float(0, 1), "y": rs.Float(0, 1)})

    def first(config, trial):
        if trial.number == 4:
            raise ValueError
        return 1.0 + trial.number

    strategy = rs.LocalSearch()
    for place in ("retried", "not"):
        search(tmp_path / place, first, space, strategy, trials=12)
    rs.retry(lambda c: -1.0, tmp_path / "retried", address="inline", progress=False)
    retried, plain = (
        search(tmp_path / place, first, space, strategy, trials=20)
        .trials.to_pandas()
        .set_index("number")
        .loc[12:]
        for place in ("retried", "not")
    )
    assert not retried["config.x"].equals(plain["config.x"])


def test_an_interrupted_retry_can_be_repeated(tmp_path):
    search(tmp_path)
    one = rs.retry(
        mended, tmp_path, address="inline", progress=False, callbacks=[lambda trials: True]
    )
    assert 0 < one.counts["failed"] < 6
    assert rs.retry(mended, tmp_path, address="inline", progress=False).counts == {"complete": 40}


def test_a_retry_that_fails_again_is_a_failure_once_more(tmp_path):
    before = search(tmp_path)
    after = rs.retry(objective, tmp_path, address="inline", progress=False)
    assert after.counts == before.counts
    assert len(after) == 40


def test_only_the_chosen_states_are_retried(tmp_path):
    def two(config, trial):
        if trial.number == 1:
            return None
        return objective(config, trial)

    search(tmp_path, two)
    study = rs.retry(mended, tmp_path, states=["invalid"], address="inline", progress=False)
    assert study.counts == {"complete": 34, "failed": 6}


def test_failures_of_an_earlier_space_are_retried_as_far_as_they_fit(tmp_path):
    search(tmp_path)
    search(tmp_path, space=WIDE, resume="changed", trials=50)
    study = rs.retry(mended, tmp_path, address="inline", progress=False)
    assert study.counts == {"complete": 50}
    with pytest.raises(UsageError, match="states"):
        rs.retry(mended, tmp_path, states="failed", address="inline")
