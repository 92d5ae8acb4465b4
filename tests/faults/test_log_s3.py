"""A study in a bucket of a real S3 server on loopback, which fails, answers late, or refuses."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count

import pytest

import raysearch as rs
from raysearch.errors import StudyStorage
from raysearch.log import check, objects
from raysearch.log.place import open_storage

QUIET = {"address": "inline", "progress": False}


def objective(config):
    return config["x"]


class Server:
    """An S3 server; `trouble(method, path)` may sleep, or return a status to fail with."""

    def __init__(self):
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.trouble = None
        self.requests = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._buckets = count()
        self._thread.start()

    def _answer(self, environ, start):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        status = self.trouble(method, path) if self.trouble else None
        if status is None:
            return self._app(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        code = {403: "AccessDenied", 503: "SlowDown"}[status]
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        start(f"{status} {code}", [("Content-Type", "application/xml")])
        return [body]

    def bucket(self):
        """The URI of a new bucket."""
        query = f"endpoint_override=127.0.0.1:{self._server.port}&scheme=http&region=us-east-1"
        uri = f"s3://key:secret@runs{next(self._buckets)}/digits?{query}"
        from pyarrow import fs

        filesystem, path = fs.FileSystem.from_uri(uri + "&allow_bucket_creation=true")
        filesystem.create_dir(path.split("/")[0])
        return uri

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def running():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(running):
    running.trouble = None
    running.requests.clear()
    yield running
    running.trouble = None


def search(uri, trials, **options):
    return rs.search(
        objective, {"x": rs.Float(0, 1)}, rs.RandomSearch(), trials=trials, study=uri,
        **(QUIET | options),
    )  # fmt: skip


def test_a_search_in_a_bucket_goes_on_and_is_what_it_is_on_a_disk(server, tmp_path):
    uri = server.bucket()
    search(uri, 20)
    found = search(uri, 40)
    same = search(tmp_path / "disk", 40)
    assert found.trials.select(["number", "config.x"]) == same.trials.select(["number", "config.x"])
    assert rs.Study.load(uri).best.config == same.best.config
    assert "secret" not in repr(found) + str(found.place)


def test_a_commit_is_one_request(server):
    uri = server.bucket()
    search(uri, 1)
    server.requests.clear()
    search(uri, 201, callbacks=[lambda trials: None])
    puts = [path for method, path in server.requests if method == "PUT" and path.endswith(".arrow")]
    assert len(puts) == len(set(puts)) > 0
    assert not [path for method, path in server.requests if method == "POST"]


def test_requests_that_fail_now_and_then_are_repeated(server, monkeypatch):
    uri = server.bucket()
    monkeypatch.setattr(objects, "_AGAIN_SECONDS", (0.1, 0.1, 0.1))
    turns = count()
    server.trouble = lambda method, path: 503 if next(turns) % 7 == 0 else None
    search(uri, 10)
    assert search(uri, 20).trials["number"].to_pylist() == list(range(20))
    server.trouble = None
    assert {finding.kind for finding in check(open_storage(uri))} <= {"sealed"}


def test_a_slow_server_is_waited_for(server):
    uri = server.bucket()
    server.trouble = lambda method, path: time.sleep(0.5) if method == "PUT" else None
    assert len(search(uri, 10)) == 10


def test_a_server_that_is_away_for_a_while_costs_no_trial(server, monkeypatch):
    uri = server.bucket()
    monkeypatch.setattr(objects, "_AGAIN_SECONDS", (0.1, 0.1, 0.1, 2.0))
    search(uri, 5)
    back = time.monotonic() + 1.5
    server.trouble = lambda method, path: (
        503 if "/log/" in path and method == "PUT" and time.monotonic() < back else None
    )
    assert search(uri, 10).trials["number"].to_pylist() == list(range(10))
    assert time.monotonic() >= back


@pytest.mark.parametrize("begun", [False, True], ids=["at the start", "in the middle"])
def test_a_right_that_is_missing_is_named_soon_and_nothing_is_lost(server, begun):
    uri = server.bucket()
    search(uri, 5)
    server.trouble = lambda method, path: (
        403 if method == "PUT" and (not begun or "/log/" in path) else None
    )
    start = time.monotonic()
    with pytest.raises(StudyStorage, match=r"ACCESS_DENIED.*See to space, rights") as error:
        search(uri, 10)
    assert time.monotonic() - start < 15
    assert "secret" not in str(error.value)
    server.trouble = None
    assert search(uri, 10).trials["number"].to_pylist() == list(range(10))


def test_a_bucket_that_is_not_there_is_named(server):
    uri = server.bucket().replace("@runs", "@others")
    with pytest.raises(StudyStorage, match="others"):
        search(uri, 5)


def test_a_driver_that_is_killed_leaves_a_study_that_goes_on(server, tmp_path):
    uri = server.bucket()
    (tmp_path / "search.py").write_text(
        "import os, sys, raysearch as rs\n"
        "def objective(config, trial):\n"
        "    if trial.number == 13:\n"
        f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "    return config['x']\n"
        "rs.search(objective, {'x': rs.Float(0, 1)}, rs.RandomSearch(), trials=30,\n"
        "          study=sys.argv[1], address='inline', progress=False)\n"
    )
    ended = subprocess.run([sys.executable, tmp_path / "search.py", uri], env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    begun = len(rs.Study.load(uri))
    assert begun <= 13
    found = search(uri, 30)
    assert found.trials["number"].to_pylist() == list(range(30))
    assert found.trials.slice(0, begun) == rs.Study.load(uri).trials.slice(0, begun)
