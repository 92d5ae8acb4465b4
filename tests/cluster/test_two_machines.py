"""The one screen of cluster/README.md, followed on this machine as if it were two."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def two_machines(tmp_path):
    """Environment and address; both machines are started by the lines of the document."""
    folder = Path(tempfile.mkdtemp(prefix="rs", dir="/tmp"))  # sockets need a short path
    token = folder / ".ray/auth_token"
    token.parent.mkdir()
    token.write_text("for this test alone")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY")}
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    env = {**clean, "HOME": str(folder), "RAY_TMPDIR": str(folder), "PATH": path}
    port = free_port()
    text = (ROOT / "cluster/README.md").read_text()
    lines = re.findall(r"^\$ (cluster/node/start .*)$", text, re.M)
    machines = []
    for line in lines:
        line = line.replace("HEAD:6379", f"127.0.0.1:{port}")
        options = ["--block", "--num-cpus=1", "--min-worker-port=0", "--max-worker-port=0"]
        options.append(f"--dashboard-agent-listen-port={free_port()}")
        if "start head" in line:
            options += [f"--port={port}", "--include-dashboard=false"]
        command = f"exec {line} {' '.join(options)}"
        with (tmp_path / "ray.log").open("a") as log:
            machines.append(
                subprocess.Popen(["bash", "-c", command], cwd=ROOT, env=env, stdout=log, stderr=log)
            )
        if "start head" in line:
            answers(port)
    try:
        yield env, f"127.0.0.1:{port}"
    finally:
        for machine in reversed(machines):
            machine.terminate()  # `ray start --block` then ends what it has started
        for machine in machines:
            machine.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"no head at port {port}")


#: The demo; each trial waits until both machines have one.
EXPERIMENT = """
import time
from pathlib import Path
import digits
import ray

space, settings = digits.space, {"metric": "accuracy", "mode": "max"}
here = Path(__file__).parent

def objective(config):
    (here / ("on-" + ray.get_runtime_context().get_node_id())).touch()
    while len(list(here.glob("on-*"))) < 2:
        time.sleep(0.1)
    return digits.objective(config)
"""


@pytest.mark.timeout(300)  # many processes start; where others work, too, that takes a while
def test_the_search_of_the_demo_runs_on_two_machines(two_machines, tmp_path):
    env, address = two_machines
    assert (Path(env["HOME"]) / ".ray/auth_token").stat().st_mode & 0o777 == 0o600
    shutil.copy(ROOT / "examples/digits.py", tmp_path)
    network = (ROOT / "examples/mlp.py").read_text()
    (tmp_path / "mlp.py").write_text(network.replace("EPOCHS = 100", "EPOCHS = 2"))
    (tmp_path / "demo.py").write_text(EXPERIMENT)
    command = f"""
        set -ea; . cluster/node/ray.env; cd {tmp_path}
        raysearch run demo.py --trials 8 --study study --address {address}
        raysearch best study
    """
    run = {"cwd": ROOT, "env": env, "capture_output": True, "text": True, "timeout": 200}
    done = subprocess.run(["bash", "-c", command], **run)
    assert done.returncode == 0, done.stderr
    assert "8/8 done" in done.stderr
    assert "accuracy" in done.stdout
    assert len(list(tmp_path.glob("on-*"))) == 2
