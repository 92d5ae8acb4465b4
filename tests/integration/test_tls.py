"""Ray with encrypted connections, as docs/security.md describes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the certificate"
)

PROGRAM = """
import os, socket, ssl, sys
import raysearch as rs
from raysearch.engine.ray_session import connect

with connect("local", None, {"num_cpus": 1, "_temp_dir": sys.argv[1]}):
    import ray
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    known = ssl.create_default_context(cafile=os.environ["RAY_TLS_CA_CERT"])
    known.load_cert_chain(os.environ["RAY_TLS_SERVER_CERT"], os.environ["RAY_TLS_SERVER_KEY"])
    with known.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host) as s:
        print(s.version())
    study = rs.search(lambda c: c["x"], {"x": rs.Float(0, 1)}, trials=3, progress=False)
    print(dict(study.counts))
"""


def test_a_search_over_encrypted_connections():
    from ray.util import get_node_ip_address

    folder = Path(tempfile.mkdtemp(prefix="rs", dir="/tmp"))
    try:
        key, certificate = folder / "key.pem", folder / "cert.pem"
        names = f"subjectAltName=IP:127.0.0.1,IP:{get_node_ip_address()},DNS:localhost"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ray"]
        make += ["-addext", names, "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(make, check=True, capture_output=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(certificate),
            "RAY_TLS_SERVER_KEY": str(key),
            "RAY_TLS_CA_CERT": str(certificate),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "TLSv1.3\n{'complete': 3}\n"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
