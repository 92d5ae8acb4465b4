"""The tunnel to a head is there for as long as it is needed; what is on a leash ends with it."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from raysearch.cluster import tunnel as tunnels
from raysearch.errors import ClusterError, UsageError

STUB = """
import socket, sys, time
command, file, _, port, _, remote = sys.argv[1:]
assert (command, remote) == ("dashboard", "8265")
if "down" in open(file).read():
    sys.exit("ssh: connect to host head port 22: Connection refused")
with socket.create_server(("127.0.0.1", int(port))) as server:
    while True:
        server.accept()[0].close()
"""


@pytest.fixture
def ray_stub(monkeypatch, tmp_path):
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(tunnels, "RAY", (sys.executable, str(tmp_path / "stub.py")))
    return tmp_path / "cluster.yaml"


def test_a_tunnel_is_there_for_as_long_as_it_is_needed(ray_stub):
    ray_stub.write_text("up")
    with tunnels.tunnel(ray_stub) as address:
        port = int(address.removeprefix("http://127.0.0.1:"))
        socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_what_ssh_said_is_told(ray_stub):
    ray_stub.write_text("down")
    with (
        pytest.raises(ClusterError, match=r"ray up .*cluster.yaml(?s:.)*Connection refused"),
        tunnels.tunnel(ray_stub),
    ):
        pass
    with (
        pytest.raises(UsageError, match="no file"),
        tunnels.tunnel(ray_stub.with_name("other.yaml")),
    ):
        pass


def test_a_program_ends_in_order_with_the_one_that_holds_its_leash(tmp_path):
    (tmp_path / "dog.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print(sys.argv[1:], flush=True)\n"
        "time.sleep(60)\n"
    )
    leash = [sys.executable, "-m", "raysearch.cluster.leash", "dog", "a", "b"]
    with subprocess.Popen(
        leash, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as dog:
        assert dog.stdout.readline() == "['a', 'b']\n"
        dog.stdin.close()
        assert dog.wait(30) == 7
