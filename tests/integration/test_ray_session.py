from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from raysearch.engine import ray_access, ray_session
from raysearch.engine.ray_session import connect
from raysearch.errors import ClusterError


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def unconnected(monkeypatch):
    """As in a process that has no connection yet; nothing here makes one."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_session, "_init", lambda *_: pytest.fail("connected"))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
@pytest.mark.filterwarnings("ignore:address. Ray Client")
def test_an_address_where_nothing_answers_is_refused_at_once(form):
    port, start = free_port(), time.monotonic()
    with (
        pytest.raises(ClusterError, match=rf"nothing answers at 127.0.0.1:{port}.*ray status"),
        connect(form.format(port)),
    ):
        pass
    assert time.monotonic() - start < 10


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("address", ["nonsense", "host:", "host:port", ":6379"])
def test_an_address_of_the_wrong_form_is_named(address):
    with pytest.raises(ClusterError, match=f'"host:port".*{address!r}'), connect(address):
        pass


@pytest.mark.usefixtures("unconnected")
def test_auto_means_a_head_that_is_there(monkeypatch):
    monkeypatch.setattr(ray_access, "_head", lambda: None)
    with pytest.raises(ClusterError, match=r"found none.*ray start --head"), connect("auto"):
        pass


@pytest.mark.usefixtures("unconnected")
def test_the_file_of_a_dead_head_is_no_obstacle(monkeypatch):
    seen = []
    monkeypatch.setattr(ray_access, "_head", lambda: f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(ray_session, "_init", lambda target, start: seen.append(target))
    monkeypatch.setattr(ray_session, "authenticate", lambda target: None)
    with connect():
        pass
    assert seen == [None]
    with pytest.raises(ClusterError, match="nothing answers"), connect("auto"):
        pass


def test_a_connection_of_the_users_is_used_and_kept(ray_local):
    import ray

    with connect():
        assert ray.cluster_resources()["CPU"] == 2
    assert ray.is_initialized()


def test_the_log_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_session, "MAX_LOG_BYTES", 1000)
    sink = ray_session._Sink(tmp_path / "run.log")
    for i in range(100):
        sink.lines({"pid": i, "lines": ["a line", "another"]})
    sink.lines({"pid": "autoscaler", "lines": ["status"]})
    sink.close()
    sink.write("late")
    text = (tmp_path / "run.log").read_text()
    assert text.startswith("(0) a line\n(0) another\n")
    assert text.endswith("has reached 10 MB)\n")
    assert 900 < len(text) < 1100


def test_a_full_disk_costs_messages_and_nothing_else():
    sink = ray_session._Sink(Path("/dev/full"))
    sink.write("one\n")
    sink.lines({"pid": 1, "lines": ["another"]})
    sink.close()


PROGRAM = """
import os, signal, sys
from pathlib import Path
from raysearch.engine.ray_session import connect

kept = signal.signal(signal.SIGTERM, signal.SIG_IGN)
with connect("local", Path(sys.argv[1]) / "run.log", {"num_cpus": 1, "_temp_dir": sys.argv[1]}):
    import ray
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    ray.get(ray.remote(max_retries=0)(lambda: print("from a worker")).remote())
    assert os.environ["RAY_AUTH_MODE"] == "token"
assert not ray.is_initialized()
"""


def test_a_ray_of_ones_own_is_quiet_private_and_ended():
    folder = tempfile.mkdtemp(prefix="rs", dir="/tmp")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment["HOME"] = folder
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not os.path.exists(os.path.join(folder, ".ray"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("unconnected")
def test_the_folder_of_a_ray_of_ones_own_is_private_and_removed(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    seen = []
    monkeypatch.setattr(ray_session, "_init", lambda target, start: seen.append(start))
    with connect("local"):
        folder = Path(seen[0]["_temp_dir"])
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "session_2026").mkdir()
        sockets = folder / "session_2026-11-25_10-44-00_587945_4194304/sockets/plasma_store.10"
        assert len(str(sockets)) <= 107  # bytes that Ray, and the system, allow
    assert not folder.exists()
    with connect("local", start={"_temp_dir": "/elsewhere"}):
        assert seen[1]["_temp_dir"] == "/elsewhere"
    monkeypatch.setenv("RAY_TMPDIR", "/somewhere")
    with connect("local"):
        assert "_temp_dir" not in seen[2]  # Ray reads the variable itself


VISITOR = """
import sys
from raysearch.engine.ray_session import connect

with connect(sys.argv[1]):
    import ray
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
"""


def test_a_head_that_runs_is_joined_and_left_running(ray_local):
    import ray

    address = ray.get_runtime_context().gcs_address
    environment = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_MODE"}
    done = subprocess.run(
        [sys.executable, "-c", VISITOR, address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ray.get(ray.remote(lambda: 7).remote()) == 7


def test_a_ray_that_is_started_here_is_watchful(ray_local):
    import ray

    @ray.remote(num_cpus=0)
    def environment():
        return dict(os.environ)

    assert ray.get(environment.remote()).items() >= ray_session.WATCHFUL.items()
