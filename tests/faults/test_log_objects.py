"""An object store that fails, answers late, or does what it says it has not done."""

from __future__ import annotations

import io
import os
import time

import pyarrow as pa
import pytest
from pyarrow import fs

import raysearch as rs
from raysearch.errors import StudyStorage
from raysearch.log import Reader, StudyLog, check, objects, place
from raysearch.log.objects import ObjectStorage
from raysearch.space import Float, Space
from raysearch.strategies.random import RandomSearch
from raysearch.testing.told import made_up

SPACE = Space({"x": Float(0, 1)})
SPEC = {"space": SPACE.to_json(), "metric": {"loss": "min"}}


class Faulty(fs.FileSystemHandler):
    """Objects in a folder; `trouble(operation, name)` comes before each operation, and may raise.

    Where it returns True the operation is carried out, and fails all the same.
    """

    def __init__(self, folder, trouble):
        self._inner = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
        self._trouble = trouble

    def do(self, operation, name, action):
        late = self._trouble(operation, name)
        found = action()
        if late:
            raise OSError(f"no answer to {operation} {name}")
        return found

    def get_type_name(self):
        return "faulty"

    def normalize_path(self, path):
        return path

    def get_file_info(self, paths):
        return self.do("look", paths[0], lambda: self._inner.get_file_info(paths))

    def get_file_info_selector(self, selector):
        return self.do("list", selector.base_dir, lambda: self._inner.get_file_info(selector))

    def create_dir(self, path, recursive):
        self._inner.create_dir(path, recursive=recursive)

    def delete_file(self, path):
        self.do("delete", path, lambda: self._inner.delete_file(path))

    def open_input_file(self, path):
        return self.do("get", path, lambda: self._inner.open_input_file(path))

    def open_output_stream(self, path, metadata):
        return pa.PythonFile(Upload(self, path), mode="w")

    def put(self, path, data):
        def action():
            self._inner.create_dir(os.path.dirname(path) or ".")
            with self._inner.open_output_stream(path) as stream:
                stream.write(data)

        self.do("put", path, action)

    def _never(self, *arguments):
        raise NotImplementedError

    delete_dir = delete_dir_contents = delete_root_dir_contents = _never
    move = copy_file = open_input_stream = open_append_stream = _never


class Upload(io.BytesIO):
    """An object appears when all of it is there."""

    def __init__(self, owner, path):
        super().__init__()
        self._owner, self._path = owner, path

    def close(self):
        if not self.closed:
            data = self.getvalue()
            super().close()
            self._owner.put(self._path, data)


def storage(folder, trouble):
    folder.mkdir(exist_ok=True)
    return ObjectStorage(fs.PyFileSystem(Faulty(folder, trouble)), f"faulty://{folder.name}")


def no_trouble(operation, name):
    return False


def numbers(source):
    return [n for batch in source.batches(["number"]) for n in batch.column(0).to_pylist()]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(objects, "_AGAIN_SECONDS", (0, 0))


@pytest.mark.parametrize("done", [False, True], ids=["refused", "unanswered"])
def test_whichever_upload_fails_it_is_repeated_and_nothing_is_there_twice(tmp_path, done):
    n = 0
    while True:
        n += 1
        left = n

        def trouble(operation, name):
            nonlocal left
            left -= operation == "put"
            if operation == "put" and left == 0:
                if done:
                    return True
                raise OSError("503 slow down")
            return False

        at = storage(tmp_path / str(n), trouble)
        for session in range(2):
            with StudyLog.open(at, SPACE, SPEC) as log:
                for k in range(2):
                    log.append([made_up(SPACE, 2, first=4 * session + 2 * k)])
        assert numbers(Reader(at)) == list(range(8))
        assert {finding.kind for finding in check(at)} == {"sealed"}
        if left > 0:
            break
    assert n > 10


@pytest.mark.parametrize("done", [False, True], ids=["refused", "unanswered"])
def test_a_store_that_stays_away_ends_the_log_and_what_was_acknowledged_is_there(tmp_path, done):
    n = 0
    while True:
        n += 1
        left = n

        def trouble(operation, name):
            nonlocal left
            left -= 1
            if left <= 0:
                if done and left == 0:
                    return True
                raise OSError("503 slow down")
            return False

        told, at = 0, storage(tmp_path / str(n), trouble)
        try:
            with StudyLog.open(at, SPACE, SPEC) as log:
                for k in range(3):
                    log.append([made_up(SPACE, 2, first=2 * k)])
                    told += 2
        except StudyStorage as error:
            assert "what was recorded before is safe" in str(error)  # noqa: PT017
        ended = left > 0
        at = storage(tmp_path / str(n), no_trouble)
        (tmp_path / str(n) / "lock").unlink(missing_ok=True)  # its driver has died
        with StudyLog.open(at, SPACE, SPEC) as log:
            found = numbers(log)
            assert found in (list(range(told)), list(range(told + 2)))
            log.append([made_up(SPACE, 1, first=len(found))])
        assert numbers(Reader(at)) == list(range(len(found) + 1))
        if ended:
            break
    assert n > 20


@pytest.mark.usefixtures("ray_local")
def test_a_slow_store_holds_the_search_back_and_nothing_piles_up(tmp_path, monkeypatch):
    """What has been begun and is not stored stays within twice the slots, begun and queued."""
    (tmp_path / "begun").mkdir()
    stored, piled = [], []

    def trouble(operation, name):
        if operation == "put":
            piled.append(len(os.listdir(tmp_path / "begun")) - len(stored))
            time.sleep(0.3)
        return False

    def objective(config, trial):
        (tmp_path / "begun" / str(trial.number)).touch()
        time.sleep(0.11)  # so that a task holds one trial
        return config["x"]

    at = storage(tmp_path / "study", trouble)
    monkeypatch.setitem(place.SCHEMES, "faulty", lambda uri: at)
    study = rs.search(
        objective,
        {"x": rs.Float(0, 1)},
        RandomSearch(),
        trials=12,
        concurrency=2,
        study="faulty://study",
        callbacks=[stored.extend],
        progress=False,
    )
    assert study.counts == {"complete": 12}
    assert sorted(study.trials["number"].to_pylist()) == list(range(12))
    assert max(piled) <= 8
