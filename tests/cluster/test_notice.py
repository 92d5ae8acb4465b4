"""Machines that are told to go, by their cloud or as a pod; Ray only notes what it is told."""

from __future__ import annotations

import http.server
import importlib.machinery
import json
import signal
import sys
import threading
import time
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD, NODE = "192.0.2.1:6379", "ab" * 28
#: What each cloud answers: before, and then.
SAID = {
    "aws": (
        {"/latest/api/token": "a token"},
        {"/latest/meta-data/spot/instance-action": '{"action": "terminate"}'},
    ),
    "gcp": (
        {"/computeMetadata/v1/instance/preempted": "FALSE"},
        {"/computeMetadata/v1/instance/preempted": "TRUE"},
    ),
    "azure": (
        {
            "/metadata/instance/compute/name": "me",
            "/metadata/scheduledevents": json.dumps(
                {
                    "Events": [
                        {"EventType": "Preempt", "Resources": ["you"]},
                        {"EventType": "Reboot", "Resources": ["me"]},
                    ]
                }
            ),
        },
        {
            "/metadata/scheduledevents": json.dumps(
                {"Events": [{"EventType": "Preempt", "Resources": ["you", "me"]}]}
            )
        },
    ),
}
#: The header without which the cloud says nothing.
WANTED = {
    "/latest/api/token": ("X-aws-ec2-metadata-token-ttl-seconds", "60"),
    "/latest/meta-data/spot/instance-action": ("X-aws-ec2-metadata-token", "a token"),
    "/computeMetadata/v1/instance/preempted": ("Metadata-Flavor", "Google"),
    "/metadata/instance/compute/name": ("Metadata", "true"),
    "/metadata/scheduledevents": ("Metadata", "true"),
}


@pytest.fixture
def notice(tmp_path, monkeypatch):
    """The script as a module, on a machine where no Ray runs, with an impatient clock."""
    loader = importlib.machinery.SourceFileLoader("notice", str(ROOT / "cluster/node/notice"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = types.ModuleType("notice")
    exec(loader.get_code("notice"), module.__dict__)
    monkeypatch.setattr(module, "PROCESSES", tmp_path / "proc")  # nobody else's Ray is touched
    monkeypatch.setattr(module, "EVERY", 0.0)
    return module


@pytest.fixture
def raylet(machine, notice):
    """The folder of a process that stands for a node of Ray's; as is one that is none."""
    path = f"{machine.bin}:/usr/bin:/bin"
    env = {"PATH": path, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/somewhere"}
    for number, program in enumerate(("/ray/raylet", "python", "/ray/gcs_server")):
        folder = notice.PROCESSES / f"{number}"
        folder.mkdir(parents=True)
        words = [program, f"--node_id={NODE if number == 0 else 'other'}", f"--gcs-address={HEAD}"]
        (folder / "cmdline").write_text("\0".join([*words, ""]))
        (folder / "environ").write_text("".join(f"{k}={v}\0" for k, v in env.items()))
    return notice.PROCESSES / "0"


@pytest.fixture
def metadata(notice, monkeypatch):
    """Function by which a cloud gives answers, the second ones from the sixth question on."""
    asked = []
    answers = []

    class Here(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            said = answers[len(asked) > 5].get(path)
            name, value = WANTED[path]
            verb = "PUT" if path == "/latest/api/token" else "GET"
            known = self.headers[name] == value and self.command == verb and said is not None
            self.send_response(200 if known else 404)
            self.end_headers()
            if known:
                self.wfile.write(said.encode())

        do_PUT = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(notice, "HOST", f"127.0.0.1:{server.server_port}")
    monkeypatch.setenv("http_proxy", "http://192.0.2.9:1")  # which would not be asked
    yield asked, answers
    server.shutdown()
    thread.join()
    server.server_close()


def drained(machine, left):
    """Ray was told so, of this node, once."""
    ((args, env),) = machine.called("ray")
    assert args[:3] == ["drain-node", f"--address={HEAD}", f"--node-id={NODE}"]
    assert "--reason=DRAIN_NODE_REASON_PREEMPTION" in args
    assert args[-1] == f"--deadline-remaining-seconds={left}"
    assert env["RAY_AUTH_MODE"] == "token"  # else the head does not listen
    assert env["RAY_AUTH_TOKEN_PATH"] == "/somewhere"
    return True


@pytest.mark.parametrize(("cloud", "left"), [("aws", 120), ("gcp", 30), ("azure", 30)])
def test_a_spot_notice_drains_the_machine(machine, notice, raylet, metadata, cloud, left):
    asked, answers = metadata
    before, then = SAID[cloud]
    answers += [before, before | then]
    notice.watch(cloud)
    assert len(asked) > 5
    assert drained(machine, left)


def test_a_head_that_does_not_hear_is_told_again(machine, notice, raylet, monkeypatch):
    machine.stub("ray", f"sys.exit(open({machine.notes.as_posix()!r}).read().count('ray') < 20)\n")
    monkeypatch.setattr(notice, "gcp", lambda: 30)
    notice.watch("gcp")
    assert len(machine.called("ray")) > 1


def test_no_watch_is_kept_where_no_ray_runs(notice, metadata):
    notice.watch("gcp")
    assert metadata[0] == []


def test_a_pod_drains_and_waits_until_ray_has_ended(machine, notice, raylet, monkeypatch):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            (raylet / "cmdline").unlink()

    monkeypatch.setattr(notice.time, "sleep", sleep)
    notice.leave(85.0)
    assert len(slept) == 3
    assert drained(machine, 85)


def test_a_pod_waits_no_longer_than_told(machine, notice, raylet):
    notice.leave(0.1)
    assert drained(machine, 0)


def test_a_signal_gets_to_ray_itself(machine):
    """`ray start --block` drains its node then; the script must not stand between."""
    machine.token()
    machine.stub(
        "ray",
        "import time\nopen(NOTES, 'a').close()\ntime.sleep(30)\n".replace(
            "NOTES", repr(str(machine.home / "up"))
        ),
    )
    process = machine.popen("exec cluster/node/start worker 192.0.2.1:6379 --block")
    deadline = time.monotonic() + 30
    while not (machine.home / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
