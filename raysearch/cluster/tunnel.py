"""A way to the job server of a cluster that `ray up` has made: ssh, by `ray dashboard`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import ClusterError, UsageError

#: the program `ray`, of this Python
RAY = (sys.executable, "-m", "ray.scripts.scripts")
_SECONDS = 15.0


@contextmanager
def tunnel(file: Path) -> Iterator[str]:
    """The address, on this machine, of the dashboard of the cluster that a file describes.

    Raises ClusterError, within 15 seconds, with what ssh said if there is no way.
    """
    if not file.is_file():
        raise UsageError(
            f"--cluster: there is no file {file}; expected the one that `ray up` was given"
        )
    port = _free_port()
    command = [*RAY, "dashboard", str(file), "--port", str(port), "--remote-port", "8265"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            _wait(process, port, file, said)
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # ssh, too
            process.wait()


def _wait(
    process: subprocess.Popen[bytes],
    port: int,
    file: Path,
    said: IO[str],
) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    said.seek(0)
    last = said.read().strip()[-600:]
    raise ClusterError(
        f"--cluster: no way to the head that {file} describes; is it up (`ray up {file}`), and "
        f"does ssh reach it?\n{last}"
    )


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
