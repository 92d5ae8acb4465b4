"""Study: the reading side, for people and programs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.errors import StudyNotFound, UsageError
from raysearch.log import MemoryLog, StudyLog
from raysearch.space import Choice, Float, Space
from raysearch.strategies.pareto import front
from raysearch.study import Study
from raysearch.testing.told import made_up
from raysearch.trial import COMPLETE, CRASHED, FAILED

SPACE = Space({"x": Float(0, 1), "c": Choice([1, "a", None]), "y": Float(0, 1).when(c="a")})
SPEC = {"space": SPACE.to_json(), "metric": {"loss": "min"}, "strategy": {"name": "r"}, "seed": 0}


def trials(losses, first=0, states=None, errors=None, **metrics):
    made = made_up(SPACE, len(losses), first=first, seed=first)
    return dataclasses.replace(
        made,
        metrics={"loss": np.array(losses, dtype=np.float64), **metrics},
        state=np.array(states or [COMPLETE] * len(losses), np.uint8),
        errors=errors or {},
    )


def memory(*groups, spec=SPEC, space=SPACE):
    log = MemoryLog(space, spec)
    for group in groups:
        log.append([group])
    return log


def test_best_is_the_first_complete_trial_with_the_best_metric():
    groups = [trials([3, 1, 1]), trials([0.5, 2], first=3, states=[FAILED, COMPLETE])]
    assert Study(memory(*groups)).best.number == 1
    up = Study(memory(*groups, spec={**SPEC, "metric": {"loss": "max"}}))
    assert up.best.number == 0
    assert up.best.metrics == {"loss": 3.0}
    assert up.objectives.maximize == (True,)


def test_later_rows_of_a_trial_supersede_earlier_ones():
    again = trials([0.0], first=1)
    study = Study(
        memory(
            trials([3, np.nan, 2], states=[COMPLETE, CRASHED, COMPLETE]), again, trials([1, 4], 3)
        )
    )
    assert len(study) == 5
    assert study.trials["number"].to_pylist() == [0, 2, 1, 3, 4]
    assert study.best.number == 1
    assert study.trial(1).state == "complete"
    assert study.counts == {"complete": 5}


def test_stored_and_in_memory_studies_are_the_same(tmp_path):
    with StudyLog.open(tmp_path, SPACE, SPEC) as log:
        log.append([trials([3, 1, 2])])
        live = Study(log, SPACE)
        assert live.best.number == 1
    stored = Study.load(tmp_path)
    assert stored.trials.equals(Study(memory(trials([3, 1, 2]))).trials)
    assert stored.best == live.best
    assert stored.space == SPACE
    assert stored.spec["strategy"] == {"name": "r"}
    assert stored.to_pandas().shape == stored.trials.shape


def test_configurations_come_back_as_the_objective_saw_them():
    made = made_up(SPACE, 30)
    study = Study(memory(made))
    assert [study.trial(i).config for i in range(30)] == made.columns.configs()

    def relu(): ...

    space = Space({"f": Choice([relu, "b", 3])})
    made = made_up(space, 10)
    spec = {**SPEC, "space": space.to_json()}
    log = memory(made, spec=spec, space=space)
    assert [Study(log, space).trial(i).config for i in range(10)] == made.columns.configs()
    names = {Study(log).trial(i).config["f"] for i in range(10)}
    assert names == {"relu", "b", 3}


def test_columns_are_those_of_the_trials_and_no_others_are_read():
    read = []

    class Watched(MemoryLog):
        def batches(self, names=None):
            read.append(names)
            return super().batches(names)

    log = Watched(SPACE, SPEC)
    log.append([trials([3, np.nan, 2], states=[COMPLETE, CRASHED, COMPLETE])])
    log.append([trials([0.0], first=1)])
    study = Study(log)
    wanted = study.trials.select(["state", "number"])
    read.clear()
    assert study.columns("state", "number").equals(wanted)
    assert read == [("state", "number")]
    with pytest.raises(
        UsageError, match=r"no column 'metrics\.lost'; did you mean 'metrics\.loss'"
    ):
        study.columns("metrics.lost")
    assert Study(memory()).columns("told").num_rows == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Study.load(None), "study: expected a folder or URI, found NoneType"),
        (lambda: Study.load("s3:/bucket/a"), "did you mean 's3://bucket/a'"),
        (lambda: Study.load(__file__), "expected a folder, found the file"),
        (lambda: Study("runs/a"), r"found 'runs/a'; use Study\.load"),
    ],
)
def test_what_is_no_study_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        wrong()


def test_a_study_is_a_snapshot_while_the_search_goes_on():
    log = memory(trials([3, 1]))
    study = Study(log)
    assert len(study) == 2
    log.append([trials([0], first=2)])
    assert study.trials.num_rows == 2
    assert study.best.number == 1
    assert Study(log).best.number == 2


def test_a_study_without_valid_trials_says_why():
    errors = {0: "Traceback\nValueError: a", 1: "Traceback\n  x\nKeyError: 'b'", 2: "KeyError: 'b'"}
    study = Study(memory(trials([np.nan] * 3, states=[FAILED] * 3, errors=errors)))
    with pytest.raises(UsageError, match=r"no trial is complete.*2 times in 3 trials: KeyError"):
        _ = study.best
    assert study.counts == {"failed": 3}
    empty = Study(memory())
    assert len(empty) == 0
    assert empty.trials.num_rows == empty.pareto.num_rows == 0
    assert "config.x" in empty.trials.column_names
    assert "no trials" in repr(empty)
    with pytest.raises(UsageError, match="there are 0 trials"):
        _ = empty.best
    with pytest.raises(UsageError, match="found 7"):
        study.trial(7)


def test_several_objectives_have_a_front_and_no_best():
    spec = {**SPEC, "metric": {"loss": "min", "gain": "max"}}
    gain = np.array([1.0, 2.0, 0.5, 9.0])
    group = trials([1, 2, 3, 0], states=[0, 0, 0, FAILED], gain=gain)
    study = Study(memory(group, spec=spec))
    assert study.pareto["number"].to_pylist() == [0, 1]
    with pytest.raises(UsageError, match=r"study\.pareto"):
        _ = study.best


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=25))
def test_the_front_is_what_nothing_dominates(points):
    loss = np.array(points, dtype=np.float64).reshape(-1, 3)
    wanted = [
        i for i, p in enumerate(loss) if not any((q <= p).all() and (q < p).any() for q in loss)
    ]
    assert front(loss).tolist() == wanted


def test_what_notebooks_show_is_escaped():
    space = Space({"<b>": Float(0, 1)})
    spec = {**SPEC, "space": space.to_json()}
    study = Study(memory(made_up(space, 2), spec=spec, space=space))
    for text in (study._repr_html_(), study.best._repr_html_()):
        assert "<b>" not in text
        assert "&lt;b&gt;" in text


def test_nothing_there_is_said_so(tmp_path):
    with pytest.raises(StudyNotFound):
        Study.load(tmp_path / "nothing")


def test_times_come_back_without_pandas(tmp_path):
    study = Study(memory(trials([1.0])))
    started = study.trial(0).started
    assert started is not None
    assert started.year == 2023


DOC = Path(__file__).parents[2] / "docs" / "study-format.md"


@pytest.mark.parametrize("library", ["pyarrow.parquet", "duckdb", "polars"])
def test_the_documented_ways_to_read_a_study_work(tmp_path, monkeypatch, library):
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    for session in range(2):
        with StudyLog.open("runs/digits", SPACE, SPEC) as log:
            log.append([trials([3, 1], first=2 * session)])
            if session:
                log.append([trials([2], first=4, extra=np.array([1.0]))])
    found = documented(library)
    assert len(found) == 5
    columns = getattr(found, "column_names", None) or found.columns
    assert "metrics.extra" in columns


def test_a_running_segment_is_read_as_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with StudyLog.open("runs/digits", SPACE, SPEC) as log:
        log.append([trials([3, 1])])
        assert len(documented("pa.ipc")) == 2


def documented(library):
    """What the three lines in the documentation read from runs/digits."""
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if library in block]
    assert code.count("\n") <= 3
    scope: dict = {}
    exec(code, scope)
    return scope["trials"]
