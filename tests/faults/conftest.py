"""What tests of real faults share: processes of their own, and an eye on what is left of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds after which a condition that should hold soon has failed


def _wait(condition: Callable[[], object], what: str) -> object:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"after {PATIENCE:g} s still not so: {what}"
        time.sleep(0.05)
    return found


def _within(folder: Path) -> dict[int, str]:
    """The processes that have to do with a folder, by what they were called with or have open."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            called = (
                (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            opened = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        except OSError:
            continue  # it has ended, or is another user's
        if int(process.name) != os.getpid() and any(str(folder) in t for t in [called, *opened]):
            found[int(process.name)] = called.strip()[:80]
    return found


@pytest.fixture
def wait() -> Callable[[Callable[[], object], str], object]:
    """Wait for a condition, not for a time; gives what it returned."""
    return _wait


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for a search and its Ray, with a path short enough for sockets.

    When the test is over, so are all processes that had to do with it.
    """
    folder = Path(tempfile.mkdtemp(prefix="rs", dir="/tmp"))
    try:
        yield folder
        _wait(lambda: not _within(folder), "no process is left")
    finally:
        for pid in _within(folder):
            os.kill(pid, 9)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def processes(home: Path) -> Callable[[], dict[int, str]]:
    """What has to do with that folder now: pid -> what it was called with."""
    return lambda: _within(home)


@pytest.fixture
def head(ray_local: Path) -> str:
    """The address of a Ray that runs; its token is in the environment."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python in that folder, with the arguments given."""
    started = []

    def begin(*arguments: str, **options: object) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        environment = {**os.environ, "RAY_TMPDIR": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
        streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe, **options}
        command = [sys.executable, *arguments]
        started.append(
            subprocess.Popen(command, cwd=home, env=environment, text=True, **streams)  # type: ignore[call-overload]
        )
        return started[-1]

    yield begin
    for process in started:
        with process:  # closes its streams, and waits
            process.kill()
