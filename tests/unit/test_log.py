"""The study log: what is appended is there, in order, for whoever reads, by whatever storage."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from raysearch.errors import (
    StudyCorrupt,
    StudyFormat,
    StudyLocked,
    StudyMismatch,
    StudyNotFound,
    StudyStorage,
    UsageError,
)
from raysearch.log import MemoryLog, Reader, Rows, StudyLog, check, salvage
from raysearch.log.objects import ObjectStorage
from raysearch.log.place import open_storage
from raysearch.log.storage import FOLDERS
from raysearch.space import Choice, Float, Space
from raysearch.testing.told import made_up

SPACE = Space({"x": Float(0, 1), "c": Choice(["a", "b"]), "y": Float(0, 1).when(c="a")})
SPEC = {"space": SPACE.to_json(), "metric": {"loss": "min"}, "strategy": {"name": "r"}, "seed": 0}


@pytest.fixture(params=["local", "object"])
def place(request, tmp_path):
    if request.param == "local":
        return tmp_path / "study"
    for name in FOLDERS:  # which keys of objects need not, but files do
        (tmp_path / "bucket" / name).mkdir(parents=True)
    filesystem = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    return ObjectStorage(filesystem, "s3://bucket/study")


def open_log(place, **options):
    return StudyLog.open(place, SPACE, SPEC, **options)


def numbers(source):
    return [n for batch in source.batches(["number"]) for n in batch.column(0).to_pylist()]


def crash(log):
    """What the end of its process does to a log: the lock goes, nothing is sealed."""
    log._release()
    log._release = lambda: None


def test_what_is_appended_is_read_back_over_sessions(place):
    with open_log(place) as log:
        log.append([made_up(SPACE, 3), made_up(SPACE, 1, first=3)])
        log.append([])
        log.append([made_up(SPACE, 2, first=4)])
        assert numbers(log) == list(range(6))
    with open_log(place) as log:
        assert log.session == 2
        assert log.notes == []
        assert numbers(log) == list(range(6))
        log.append([made_up(SPACE, 2, first=6)])
        assert numbers(log) == list(range(8))
    log.close()
    assert numbers(Reader(place)) == list(range(8))
    files = open_storage(place).names("log")
    assert [f.rpartition(".")[2] for f in files] == ["parquet", "parquet"]


def test_trials_come_back_to_the_bit_from_segments_and_from_parquet(place):
    trials = dataclasses.replace(
        made_up(SPACE, 50),
        metrics={"loss": np.linspace(-1, 1, 50), "nan": np.full(50, np.nan)},
        errors={3: "Traceback\nValueError: ü"},
    )
    with open_log(place) as log:
        log.append([trials])
        live = list(log.batches())
    stored = list(Reader(place).batches())
    assert (
        pa.Table.from_batches(live)
        .combine_chunks()
        .equals(pa.Table.from_batches(stored).combine_chunks())
        or np.isnan(trials.metrics["nan"]).all()
    )
    (batch,) = stored
    again = Rows(SPACE).from_batch(batch)
    assert again.columns.configs() == trials.columns.configs()
    assert again.metrics["loss"].tobytes() == trials.metrics["loss"].tobytes()
    assert again.metrics["nan"].tobytes() == trials.metrics["nan"].tobytes()
    assert again.errors == trials.errors
    for name in ("number", "after", "asked", "submitted", "started", "finished", "told"):
        np.testing.assert_array_equal(getattr(again, name), getattr(trials, name))


def test_new_metrics_begin_a_new_segment_and_older_rows_lack_them(place):
    more = dataclasses.replace(made_up(SPACE, 2, first=2), metrics={"extra": np.array([1.0, 2.0])})
    with open_log(place) as log:
        log.append([made_up(SPACE, 2)])
        log.append([more])
        log.append([made_up(SPACE, 1, first=4)])
        live = pa.Table.from_batches(list(log.batches()))
        wrong = dataclasses.replace(more, metrics={"loss": np.array(["a", "b"], dtype=object)})
        with pytest.raises(StudyMismatch, match="loss"):
            log.append([wrong])
        log.append([log.admit(wrong)])
    table = pa.Table.from_batches(list(Reader(place).batches()))
    assert table.slice(0, 5).equals(live)
    assert table["metrics.extra"].to_pylist() == [None, None, 1.0, 2.0, None, None, None]
    assert table["metrics.loss"].null_count == 4
    assert table["state"].to_pylist()[-2:] == ["invalid", "invalid"]
    with open_log(place) as log, pytest.raises(StudyMismatch, match="extra"):
        log.append([dataclasses.replace(more, metrics={"extra": np.array([True, None])})])


def test_a_segment_is_an_ordinary_arrow_stream(tmp_path):
    with open_log(tmp_path) as log:
        for i in range(3):
            log.append([made_up(SPACE, 2, first=2 * i)])
        (file,) = (tmp_path / "log").iterdir()
        with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
            assert stream.read_all()["number"].to_pylist() == list(range(6))
    (file,) = (tmp_path / "log").iterdir()
    assert pq.read_table(file)["number"].to_pylist() == list(range(6))


def test_files_belong_to_their_user_alone(tmp_path):
    with open_log(tmp_path / "s") as log:
        log.append([made_up(SPACE, 1)])
        paths = [tmp_path / "s", *(tmp_path / "s").rglob("*")]
        modes = {path.name: path.stat().st_mode & 0o777 for path in paths}
        assert all(mode in (0o600, 0o700) for mode in modes.values()), modes


def test_resuming_another_search_is_refused_with_the_difference(place):
    open_log(place).close()
    changed = {**SPEC, "seed": 1, "strategy": {"name": "q"}}
    with pytest.raises(StudyMismatch, match=r"strategy\.name: stored 'r', now 'q'\n.*seed.*0.*1"):
        StudyLog.open(place, SPACE, changed)
    with pytest.raises(StudyMismatch, match="resume=True"):
        open_log(place, resume=False)
    with StudyLog.open(place, SPACE, changed, allow={"seed", "strategy"}) as log:
        assert log.session == 2
    assert Reader(place).spec["seed"] == 1


def test_two_drivers_are_kept_apart_and_the_holder_is_named(place):
    with open_log(place) as log:
        log.append([made_up(SPACE, 1)])
        with pytest.raises(StudyLocked, match=f"process {os.getpid()} on"):
            open_log(place)
        assert str(os.getpid()) in (Reader(place).holder() or "")
        log.append([made_up(SPACE, 1, first=1)])
    assert Reader(place).holder() is None
    open_log(place).close()


def test_the_lock_of_a_dead_driver_counts_for_nothing(tmp_path):
    code = (
        "import os, sys\n"
        "from raysearch.log import StudyLog\n"
        "from raysearch.space import Float, Space\n"
        "from raysearch.testing.told import made_up\n"
        "space = Space({'x': Float(0, 1)})\n"
        "log = StudyLog.open(sys.argv[1], space, {'space': space.to_json(), 'metric': {}})\n"
        "log.append([made_up(space, 3)])\n"
        "os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=False)
    assert done.returncode == 9
    assert Reader(tmp_path / "s").holder() is None
    space = Space({"x": Float(0, 1)})
    spec = {"space": space.to_json(), "metric": {}}
    with StudyLog.open(tmp_path / "s", space, spec) as log:
        assert numbers(log) == [0, 1, 2]
        log.append([made_up(space, 1, first=3)])
    assert numbers(Reader(tmp_path / "s")) == [0, 1, 2, 3]


def test_a_driver_that_was_taken_over_is_told_at_its_next_commit(place):
    stale = open_log(place)
    stale.append([made_up(SPACE, 2)])
    crash(stale)
    with open_log(place) as log:
        log.append([made_up(SPACE, 1, first=10)])
        with pytest.raises(StudyLocked, match="taken over"):
            stale.append([made_up(SPACE, 1, first=2)])
        with pytest.raises(StudyStorage, match="taken over"):
            stale.append([made_up(SPACE, 1, first=3)])
        log.append([made_up(SPACE, 1, first=11)])
        assert numbers(log) == [0, 1, 10, 11]
        more = dataclasses.replace(made_up(SPACE, 1, first=4), metrics={"new": np.ones(1)})
        stale._dead = None  # it may even open another segment before it looks
        with pytest.raises(StudyLocked):
            stale.append([more])
        assert numbers(log) == [0, 1, 10, 11]
    stale.close()
    assert numbers(Reader(place)) == [0, 1, 10, 11]
    with open_log(place) as log:
        assert numbers(log) == [0, 1, 10, 11]


def test_what_is_not_a_study_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StudyMismatch, match=r"thesis\.tex"):
        open_log(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StudyNotFound, match="no study"):
        Reader(tmp_path)
    with pytest.raises(StudyStorage, match="opening failed"):
        open_log(tmp_path / "thesis.tex")


def test_places_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="'http'"):
        open_storage("http://user:secret@host/x")
    with pytest.raises(UsageError, match="found ''"):
        open_storage("")
    assert open_storage("file:///tmp/x").place == "/tmp/x"


def test_formats_of_a_newer_major_version_are_refused_and_minor_ones_read(tmp_path):
    with open_log(tmp_path) as log:
        log.append([made_up(SPACE, 1)])
    about = json.loads((tmp_path / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps({**about, "format": "1.9", "new": 1}))
    assert numbers(Reader(tmp_path)) == [0]
    (tmp_path / "study.json").write_text(json.dumps({**about, "format": "2.0"}))
    with pytest.raises(StudyFormat, match=r"2\.0"):
        Reader(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(StudyCorrupt, match=r"study\.json"):
        Reader(tmp_path)


def test_symbolic_links_in_a_study_are_not_followed(tmp_path):
    with open_log(tmp_path / "a") as log:
        log.append([made_up(SPACE, 1)])
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "a" / "lock").unlink()
    (tmp_path / "a" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StudyStorage):
        open_log(tmp_path / "a")
    assert (tmp_path / "victim").read_text() == "precious"
    (tmp_path / "a" / "lock").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a" / "log").rename(tmp_path / "moved")
    (tmp_path / "a" / "log").symlink_to(tmp_path / "moved")
    with pytest.raises(StudyStorage, match="symbolic link"):
        open_log(tmp_path / "a")


def test_readers_see_a_prefix_while_a_driver_writes(place):
    with open_log(place) as log:
        seen = Reader(place)
        assert numbers(seen) == []
        for i in range(4):
            log.append([made_up(SPACE, 2, first=2 * i)])
            assert numbers(seen) == list(range(2 * i + 2))
        reading = seen.batches(["number"])
        first = next(reading)
    # the driver has compacted the segment that is being read
    rest = [n for batch in reading for n in batch.column(0).to_pylist()]
    assert first.column(0).to_pylist() + rest == list(range(8))


def test_memory_and_disk_give_the_same_rows(tmp_path):
    memory = MemoryLog(SPACE, SPEC)
    more = dataclasses.replace(made_up(SPACE, 2, first=2), metrics={"extra": np.array([1.0, 2.0])})
    with open_log(tmp_path) as log, memory:
        for each in (log, memory):
            each.append([each.admit(made_up(SPACE, 2))])
            each.append([each.admit(more)])
        names = ["number", "metrics.extra", "no such column"]
        for wanted in (None, names):
            a = pa.Table.from_batches(list(log.batches(wanted)))
            b = pa.Table.from_batches(list(memory.batches(wanted)))
            assert a.equals(b)


def test_check_finds_a_healthy_study_healthy_and_salvage_copies_it(place, tmp_path):
    with open_log(place) as log:
        log.append([made_up(SPACE, 3)])
    log = open_log(place)
    log.append([made_up(SPACE, 2, first=3)])
    going_on = "open" if isinstance(place, Path) else "sealed"  # objects never grow
    findings = [(finding.kind, finding.rows) for finding in check(place)]
    assert findings == [("sealed", 3), (going_on, 2), ("open", 5)]
    assert salvage(place, tmp_path / "copy") == 5
    log.close()
    assert [(f.kind, f.rows) for f in check(place)] == [("sealed", 3), ("sealed", 2), ("sealed", 5)]
    assert numbers(Reader(tmp_path / "copy")) == list(range(5))
    with pytest.raises(StudyMismatch, match="already"):
        salvage(place, tmp_path / "copy")


def test_nothing_of_a_study_is_ever_run():
    folder = Path(sys.modules["raysearch.log"].__file__ or "").parent
    for file in folder.glob("*.py"):
        text = file.read_text()
        assert not any(word in text for word in ("pickle", "eval(", "exec(", "__reduce__")), file
