"""One Ray for all tests of a worker that need one."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

LOG = "run.log"

# Tests press Ctrl-C, which whatever a script starts in the background ignores.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ray_local() -> Iterator[Path]:
    """A Ray of its own with 2 CPUs and 2 pretended GPUs; gives the file its messages go to."""
    import ray

    from raysearch.engine.ray_session import connect

    folder = Path(tempfile.mkdtemp(prefix="rs", dir="/tmp"))  # sockets need a short path
    try:
        start = {"num_cpus": 2, "num_gpus": 2, "_temp_dir": str(folder)}
        with connect("local", folder / LOG, start):
            assert ray.is_initialized()
            yield folder / LOG
    finally:
        shutil.rmtree(folder, ignore_errors=True)
