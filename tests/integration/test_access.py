"""Who is let in by a head, and which heads are refused; the head is Ray's own process for it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

RIGHT, WRONG = "a" * 64, "b" * 64
VISIT = """
import os, sys
from raysearch.engine.ray_access import authenticate
from raysearch.errors import ClusterError

try:
    authenticate(sys.argv[1])
    print("in, in mode", os.environ.get("RAY_AUTH_MODE"))
except ClusterError as error:
    print(error)
"""


@contextmanager
def head(mode):
    """The head's process of a Ray, with the right token; gives its address."""
    from ray._private.services import GCS_SERVER_EXECUTABLE

    with tempfile.TemporaryDirectory(prefix="rs", dir="/tmp") as folder:
        node = "0" * 56
        port = Path(folder) / f"gcs_server_port_{node}"  # which it writes
        options = {
            "log_dir": folder,
            "session-dir": folder,
            "session-name": "test",
            "node-id": node,
            "node-ip-address": "127.0.0.1",
            "gcs_server_port": "0",
            "config_list": base64.b64encode(b"{}").decode(),
        }
        command = [GCS_SERVER_EXECUTABLE, *(f"--{k}={v}" for k, v in options.items())]
        server = subprocess.Popen(
            command,
            env={**os.environ, "RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": RIGHT},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + 60
            found = ""
            while not found:
                assert time.monotonic() < end, "the head has not started"
                time.sleep(0.05)
                with suppress(OSError):
                    found = port.read_text()
            yield f"127.0.0.1:{found}"
        finally:
            server.kill()
            server.wait()


def visit(address, home, **variables):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY")}
    return subprocess.run(
        [sys.executable, "-c", VISIT, address],
        env={**environment, "HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize(
    ("mode", "variables", "said"),
    [
        ("disabled", {}, "lets anybody in without a token"),
        ("disabled", {"RAY_AUTH_TOKEN": RIGHT}, "lets anybody in without a token"),
        ("disabled", {"RAYSEARCH_INSECURE": "1"}, "in, in mode None"),
        ("token", {}, "asks for a token, and there is none here"),
        ("token", {"RAY_AUTH_TOKEN": WRONG}, "refuses the token from RAY_AUTH_TOKEN"),
        ("token", {"RAY_AUTH_TOKEN": RIGHT}, "in, in mode token"),
        ("token", {"RAY_AUTH_TOKEN": RIGHT, "RAY_AUTH_MODE": "token"}, "in, in mode token"),
    ],
)
def test_a_head_without_a_token_is_refused_and_one_with_a_token_wants_it(
    tmp_path, mode, variables, said
):
    with head(mode) as address:
        done = visit(address, tmp_path, **variables)
    assert said in done.stdout
    assert done.stderr == ""
