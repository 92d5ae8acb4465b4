"""Addresses, tokens, places and versions: what is wrong is said at once, with what to change."""

from __future__ import annotations

import http.server
import json
import os
import platform
import re
import socket
import threading
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from raysearch.cluster.door import knock, proxy_of, travels_in_clear
from raysearch.cluster.given import check_versions, lacking, place_of, variables_of
from raysearch.engine.ray_access import find
from raysearch.errors import ClusterError, UsageError
from raysearch.log.place import open_storage, redact

ROOT = Path(__file__).parents[2]

RAY = json.dumps({"ray_version": "2.60.0"}).encode()


@contextmanager
def serving(reply):
    """A web server here; `reply` gives status, content and headers for a token shown."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            status, content, headers = reply(seen[-1])
            self.send_response(status)
            for item in headers.items():
                self.send_header(*item)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


def locked(token):
    def reply(shown):
        if shown is None:
            return 401, b"Unauthorized", {}
        return (200, RAY, {}) if shown == f"Bearer {token}" else (403, b"Forbidden", {})

    return reply


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """A user without a token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAYSEARCH_INSECURE"):
        monkeypatch.delenv(name, raising=False)


def test_the_right_token_opens_and_is_shown_only_once_asked_for(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    with serving(locked("right")) as (address, seen):
        knock(address)
    assert seen == [None, "Bearer right"]


def test_the_token_of_a_file_is_used(monkeypatch, tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("right\n")
    with serving(locked("right")) as (address, _):
        knock(address)
    (tmp_path / "another").write_text("wrong")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "another"))
    with (
        serving(locked("right")) as (address, _),
        pytest.raises(ClusterError, match="RAY_AUTH_TOKEN_PATH: it is not that of this cluster"),
    ):
        knock(address)


def test_a_missing_token_is_named():
    with (
        serving(locked("right")) as (address, _),
        pytest.raises(ClusterError, match=r"there is none here: .*~/.ray/auth_token"),
    ):
        knock(address)


def test_a_head_that_lets_anybody_in_is_refused_unless_told_otherwise(monkeypatch):
    with serving(lambda _: (200, RAY, {})) as (address, _):
        with pytest.raises(ClusterError, match=r"lets anybody in.*RAYSEARCH_INSECURE=1"):
            knock(address)
        monkeypatch.setenv("RAYSEARCH_INSECURE", "1")
        knock(address)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"version": 4}'])
def test_another_web_server_is_no_cluster(content):
    with (
        serving(lambda _: (200, content, {})) as (address, _),
        pytest.raises(ClusterError, match="no job server of Ray"),
    ):
        knock(address)


def test_a_redirection_is_not_followed_with_the_token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    with serving(lambda _: (200, RAY, {})) as (elsewhere, seen):
        to = {"Location": f"{elsewhere}/api/version"}
        with (
            serving(lambda token: (302, b"", to) if token else (401, b"", {})) as (address, _),
            pytest.raises(ClusterError, match="no job server of Ray"),
        ):
            knock(address)
    assert seen == []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_an_address_where_nothing_answers_is_named():
    port = free_port()
    with pytest.raises(ClusterError, match=f"no job server answers at http://127.0.0.1:{port}"):
        knock(f"http://127.0.0.1:{port}")


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("raysearch.cluster.door.PROBE_SECONDS", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(ClusterError, match=r"no job server answers.*timed out"),
    ):
        knock(f"http://127.0.0.1:{mute.getsockname()[1]}")


def test_what_says_nothing_is_no_head_for_ray_to_wait_for(monkeypatch):
    monkeypatch.setattr("raysearch.engine.ray_access.PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"nothing answers at {address}.*timed out"):
            find(address)


@pytest.mark.parametrize("said", [b"", b"\0\0\x18\x04\0\0\0\0\0", b"\x15\3\1\0\2\2\x28"])
def test_what_may_be_a_head_is_left_to_ray(said):
    with greeting(said) as address:
        assert find(address) == address


@pytest.mark.parametrize(
    ("said", "message"), [(b"SSH-2.0-", "no head of Ray.*SSH"), (b"HTTP/1.1 400", "a web server")]
)
def test_what_is_no_head_is_told_by_its_greeting(said, message):
    with greeting(said) as address, pytest.raises(ClusterError, match=message):
        find(address)


@contextmanager
def greeting(said):
    """A server that says so much, and hangs up."""

    def serve():
        with server.accept()[0] as connection:
            connection.sendall(said)
            connection.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "address",
    [
        "head:8265",
        "http://head",
        "ray://head:10001",
        "http://head:port",
        "http://a:b@head:8265",
        "http://.:8265",
        "http://head..org:8265",
        "",
    ],
)
def test_addresses_of_another_form_are_refused(address):
    with pytest.raises(ClusterError, match='as in "http://host:8265"'):
        knock(address)


def test_who_could_read_the_token():
    assert travels_in_clear("http://head:8265")
    assert not any(map(travels_in_clear, ["https://head:8265", "http://127.0.0.1:8265"]))


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("others", ["", "head.example"])
def test_no_proxy_is_told_what_is_for_this_machine(monkeypatch, variable, others):
    import requests  # with which Ray's client asks

    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    monkeypatch.setenv("no_proxy", others)
    with (
        serving(lambda _: (500, b"", {})) as (proxy, told),
        serving(locked("right")) as (address, seen),
    ):
        monkeypatch.setenv(variable, proxy)
        knock(address)
        requests.get(f"{address}/api/version", headers={"Authorization": "later"}, timeout=5)
    assert (told, seen) == ([], [None, "Bearer right", "later"])
    assert proxy_of("http://head:8265") == variable
    assert proxy_of(address) is None
    assert (proxy_of("http://head.example:8265") is None) == bool(others)


def test_without_a_proxy_nothing_is_set(monkeypatch):
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("RAYSEARCH_INSECURE", "1")
    with serving(lambda _: (200, RAY, {})) as (address, _):
        knock(address)
    assert "no_proxy" not in os.environ


# --- what a job is given ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "/shared/runs/a",
        "s3://bucket/a",
        "file:///shared/a",
        "abfs://container@account.dfs.core.windows.net/a",
        "abfss://account.blob.core.windows.net/container/a",
    ],
)
def test_places_that_all_nodes_reach(place):
    assert place_of(place) == place


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (None, "all nodes reach"),
        ("runs/a", "lost with the job"),
        ("~/runs", "lost with the job"),
        ("ftp://host/a", "one of .*'ftp'"),
        ("s3://key:hunter2@bucket/a", "without user and password.*s3://bucket/a"),
        ("s3://bucket/a?secret_key=hunter2", "without user and password.*s3://bucket/a"),
        ("abfs://c:hunter2@account.dfs.core.windows.net/a", "without user and password"),
        ("abfs://:hunter2@account.blob.core.windows.net/c/a", "without user and password"),
        ("abfs://container/a", "container@account"),
        ("s3://", "such as s3://bucket/name"),
        ("s3:///a", "such as s3://bucket/name"),
        ("gs://?scheme=http", "such as gs://bucket/name"),
        ("file://runs/a", "such as file:///folder/name"),
    ],
)
def test_places_that_are_not_reached_or_hold_a_password_are_refused(place, message):
    with pytest.raises(UsageError, match=message) as error:
        place_of(place)
    assert "hunter2" not in str(error.value)


URIS = {
    uri.lower()
    for page in [*ROOT.glob("cluster/**/*.md"), *ROOT.glob("docs/*.md")]
    for uri in re.findall(r"\b(?:s3|gs|abfs)://[A-Za-z][^\s`'\"),]*", page.read_text())
}


@pytest.mark.parametrize("uri", sorted(URIS))
def test_the_places_of_studies_that_the_pages_name_can_be_opened(uri):
    assert place_of(uri) == redact(uri)
    if not uri.startswith("s3:"):  # which would ask Amazon where the bucket is
        open_storage(uri)


def test_variables(monkeypatch):
    monkeypatch.setenv("REGION", "here")
    assert variables_of(["REGION", "A=b=c"]) == {"REGION": "here", "A": "b=c"}
    for wrong in ("UNSET_ONE", "HF_TOKEN=hunter2", "AWS_SECRET_ACCESS_KEY"):
        with pytest.raises(UsageError, match="--env: ") as error:
            variables_of([wrong])
        assert "hunter2" not in str(error.value)
    monkeypatch.setenv("RAYSEARCH_INSECURE", "1")
    assert variables_of([]) == {"RAYSEARCH_INSECURE": "1"}


HERE = {name: version(name) for name in ("ray", "raysearch")}


def test_versions_of_one_series_go_together():
    check_versions(platform.python_version(), {**HERE, "ray": HERE["ray"] + ".post1"})


@pytest.mark.parametrize(
    ("python", "packages", "named"),
    [
        ("3.9.1", HERE, rf"Python +here {platform.python_version()}, on the cluster 3.9.1"),
        (platform.python_version(), {**HERE, "ray": "2.1.0"}, "ray +here.*on the cluster 2.1.0"),
        (platform.python_version(), {"ray": HERE["ray"]}, "raysearch +here.*cluster missing"),
    ],
)
def test_versions_that_differ_are_named_side_by_side(python, packages, named):
    with pytest.raises(ClusterError, match=f"versions differ(?s:.)*{named}"):
        check_versions(python, packages)


LOCKED = """\
# made by pip-compile
aaa==1.0 \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via bbb
b_b.b[extra]==2.0 --hash=sha256:02  # via -r x
"""


def test_only_what_the_cluster_lacks_is_installed(tmp_path):
    file = tmp_path / "locked.txt"
    file.write_text(LOCKED)
    assert lacking({"AAA": "1.0", "b-b-b": "2.0"}, file) == []
    assert lacking({"aaa": "1.1", "b-b-b": "2.0"}, file) == [
        "aaa==1.0 --hash=sha256:00 --hash=sha256:01"
    ]
    assert lacking({"aaa": "1.0"}, file) == ["b_b.b[extra]==2.0 --hash=sha256:02"]


@pytest.mark.parametrize("line", ["aaa", "aaa==1.0", "aaa>=1 --hash=sha256:00", "-r other.txt"])
def test_requirements_that_are_not_locked_are_refused(tmp_path, line):
    (tmp_path / "r.txt").write_text(line)
    with pytest.raises(UsageError, match="pinned with hashes"):
        lacking({}, tmp_path / "r.txt")


def test_requirements_txt_is_taken_if_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lacking({}, None) == []
    (tmp_path / "requirements.txt").write_text(LOCKED)
    assert len(lacking({}, None)) == 2
    with pytest.raises(UsageError, match="no file"):
        lacking({}, tmp_path / "other.txt")
