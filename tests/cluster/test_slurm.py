"""A batch job among commands of SLURM that run, here, what they are given."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: A search that is told to end, and looks at the token first.
WAITS = """
import signal, time
token = os.environ["RAY_AUTH_TOKEN_PATH"]
def leave(*_):
    found = os.stat(token)
    open(token + ".seen", "w").write(f"{{found.st_mode & 0o777:o}} {{found.st_size}}")
    os._exit({})
signal.signal(signal.SIGTERM, leave)
open(token + ".up", "w").close()
time.sleep(30)
"""


def test_a_job_searches_on_all_its_machines_and_leaves_nothing(machine):
    assert machine.sbatch().wait(60) == 0
    ((args, env),) = machine.called("raysearch")
    starts = sorted(machine.starts(), key=lambda start: "--head" not in start[0])
    (head, env_head), (worker, env_worker) = starts
    ports = [option.removeprefix("--port=") for option in head if option.startswith("--port=")]
    address = f"node1:{ports[-1]}"  # the last one counts
    assert ports[-1] != "6379"  # others may be on the same machine
    assert args == ["run", "FILE.py", "--trials", "200", "--study", "runs/x", "--address", address]
    assert f"--address={address}" in worker
    for options in (head, worker):
        assert "--num-cpus=16" in options
        assert "--block" in options
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR"):
        assert env[name] == env_head[name] == env_worker[name]
        assert not Path(env[name]).exists()
    steps = [step for step, _ in machine.called("srun")]
    (workers,) = [step for step in steps if "worker" in step]
    assert {"--nodes=2", "--ntasks=2", "--exclude=node1"} <= set(workers)
    assert ["--nodes=3", "--ntasks=3", "mkdir", "-p", "-m", "700", env["RAY_TMPDIR"]] in steps
    assert (machine.home / ".ray").stat().st_mode & 0o777 == 0o700
    assert not [args for args, _ in machine.called("scontrol") if args[0] == "requeue"]


@pytest.mark.parametrize(
    ("sent", "ends", "again"),
    [
        (signal.SIGUSR1, 143, True),  # the time was nearly up
        (signal.SIGUSR1, 0, False),  # it had just finished
        (signal.SIGTERM, 143, False),  # pre-empted, which SLURM sees to; or cancelled
        (signal.SIGTERM, 75, False),  # the same; that a machine went, too, changes nothing
        (signal.SIGUSR1, 75, True),  # a machine was lost
    ],
)
def test_a_job_drains_and_comes_back(machine, sent, ends, again):
    job = machine.sbatch(WAITS.format(ends))
    deadline = time.monotonic() + 60
    while not (up := list(machine.home.glob(".ray/*.up"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(sent)
    assert job.wait(60) == ends
    assert up[0].with_suffix(".seen").read_text() == "600 65"
    assert not up[0].with_suffix("").exists()
    calls = [args for args, _ in machine.called("scontrol") if args[0] == "requeue"]
    assert calls == ([["requeue", str(os.getpid())]] if again else [])


def test_a_job_without_an_experiment_says_what_it_wants(machine):
    code, errors = machine.run("bash cluster/slurm/search.sbatch")
    assert code == 2
    assert "FILE.py" in errors


def test_a_job_is_queued_again_and_appends_to_its_log():
    text = (ROOT / "cluster/slurm/search.sbatch").read_text()
    for option in ("--requeue", "--open-mode=append", "--signal=B:USR1@180"):
        assert re.search(rf"^#SBATCH {option}$", text, re.M)
