"""`raysearch submit`, `jobs`, `status JOB` and `stop JOB`, with a cluster that is made up."""

from __future__ import annotations

import json
import platform
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from raysearch.cli import app
from raysearch.cluster import jobs as module
from raysearch.cluster.jobs import Job, _Lines
from raysearch.errors import UsageError

URL = "http://127.0.0.1:8265"
TO = ["--study", "/shared/s", "--address", URL]


HERE = {name: version(name) for name in ("ray", "raysearch")}


class Made:
    """Takes jobs, and lets them end as `end` says."""

    end = Job("name-1", "SUCCEEDED", "/shared/s", "a.py", 1.7e9, 1.7e9 + 75, 0, None)
    packages = HERE
    sent: dict[str, object]
    interrupted = False

    def __init__(self, address):
        self.address = address

    def inventory(self):
        return platform.python_version(), self.packages

    def submit(self, arguments, **options):
        with zipfile.ZipFile(options.pop("archive")) as archive:
            Made.sent = {"arguments": arguments, "files": archive.namelist(), **options}
        return "name-1"

    def follow(self, name, show):
        show("1/2 done")
        if self.interrupted:
            raise KeyboardInterrupt
        return self.end

    def get(self, name):
        if name != "name-1":
            raise UsageError(f"JOB: there is no job {name!r}")
        return self.end

    def stop(self, name):
        return self.get(name)

    def list(self):
        return [self.end]


@pytest.fixture(autouse=True)
def cluster(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "Jobs", Made)
    (tmp_path / "a.py").write_text("")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c.toml").write_text("")
    return monkeypatch


def raysearch(*args, code=0):
    result = CliRunner().invoke(app, args)
    assert result.exit_code == code, result.output
    return result


def test_options_of_run_are_said_again_on_the_cluster():
    options = "--trials 5 --time 1h30m --strategy local --set chains=2 --set x=y --allow-change"
    raysearch("submit", "b/c.toml", *options.split(), *TO, "--driver-cpus", "2", "--env", "A=b")
    assert Made.sent == {
        "arguments": [
            *("run", "b/c.toml", "--study", "/shared/s", "--trials", "5", "--time", "5400.0"),
            *("--strategy", "local", "--set", "chains=2", "--set", "x=y", "--allow-change"),
            *("--address", "auto"),
        ],
        "files": ["a.py", "b/c.toml"],
        "file": "b/c.toml",
        "study": "/shared/s",
        "environment": {"A": "b"},
        "pip": [],
        "driver_cpus": 2.0,
    }


def test_what_it_says_is_data_and_the_rest_is_talk():
    result = raysearch("submit", "a.py", *TO)
    assert result.stdout == "1/2 done\n"
    assert result.stderr == "sending 2 files, 0.0 kB\njob name-1\n"


def test_detached_from_the_start_or_by_ctrl_c(cluster):
    attach = f"raysearch status name-1 --address {URL} --watch"
    result = raysearch("submit", "a.py", *TO, "--detach")
    assert (result.stdout, attach in result.stderr) == ("", True)
    cluster.setattr(Made, "interrupted", True)
    for args in (["submit", "a.py", *TO], attach.split()[1:]):
        said = raysearch(*args, code=130).stderr
        assert "the job goes on" in said
        assert attach in said
        assert f"raysearch stop name-1 --address {URL}" in said


@pytest.mark.parametrize(
    ("status", "exit_code", "code"),
    [("FAILED", 3, 3), ("FAILED", 75, 75), ("STOPPED", None, 143), ("FAILED", None, 69)],
)
def test_the_exit_code_is_that_of_the_search(cluster, status, exit_code, code):
    end = Job("name-1", status, "/shared/s", "a.py", 0.0, 1.0, exit_code, "the node burst")
    cluster.setattr(Made, "end", end)
    said = raysearch("submit", "a.py", *TO, code=code).stderr
    assert ("the node burst" in said) == (code == 69)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a.py", "--study", "/s"], "say which cluster"),
        (["a.py", *TO, "--cluster", "x.yaml"], "say which cluster"),
        (["a.py", "--address", URL], "all nodes reach"),
        (["missing.py", *TO], "no file missing.py"),
        (["/etc/hostname", *TO], "working directory"),
        (["a.py", *TO, "--max-size", "0"], "at most 0 MB"),
        (["a.py", *TO, "--env", "A_TOKEN=x"], "looks like a secret"),
        (["a.py", *TO, "--fresh"], "--fresh"),
        (["a.py", "--study", "s3:///x", "--address", URL], "s3://bucket/name"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(args, message):
    Made.sent = {}
    Path("data.bin").write_bytes(b"x" * 10)
    assert message in raysearch("submit", *args, code=2).stderr
    assert not Made.sent


def test_a_file_that_would_not_be_sent_is_named(tmp_path):
    (tmp_path / ".gitignore").write_text("a.py")
    assert "is not sent" in raysearch("submit", "a.py", *TO, code=2).stderr


def test_another_version_there_is_refused(cluster):
    cluster.setattr(Made, "packages", {"ray": "1.0.0"})
    Made.sent = {}
    said = raysearch("submit", "a.py", *TO, code=69).stderr
    assert "on the cluster 1.0.0" in said
    assert "on the cluster missing" in said
    assert not Made.sent


@pytest.mark.parametrize("proxy", ["", "http://u:hunter2@proxy:3128"])
def test_who_may_read_a_token_that_travels_in_clear_is_said(cluster, proxy):
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        cluster.delenv(name.upper(), raising=False)
        cluster.setenv(name, proxy if name == "http_proxy" else "")
    said = raysearch("jobs", "--address", "http://head:8265").stderr
    assert "travels to http://head:8265 unencrypted" in said
    assert ("through the proxy that http_proxy names" in said) == bool(proxy)
    assert "hunter2" not in said
    assert "unencrypted" not in raysearch("jobs", "--address", URL).stderr


def test_jobs_and_status_and_stop():
    to = ["--address", URL]
    row = "name-1  SUCCEEDED     0  1m15s  a.py  /shared/s"
    assert raysearch("jobs", *to).stdout.splitlines()[1] == row
    assert raysearch("status", "name-1", *to).stdout.splitlines()[1] == row
    assert json.loads(raysearch("jobs", *to, "--json").stdout)["jobs"][0]["exit_code"] == 0
    assert json.loads(raysearch("status", "name-1", *to, "--json").stdout)["kind"] == "job"
    assert "name-1: SUCCEEDED" in raysearch("stop", "name-1", *to).stderr
    raysearch("stop", "name-2", *to, code=2)


def test_lines_are_shown_once_though_the_connection_breaks():
    shown: list[str] = []
    lines = _Lines(shown.append)
    lines.add("Running entrypoint for job x: y\none\ntw")
    lines.again()
    lines.add("Running entrypoint for job x: y\none\ntwo\nthr")
    lines.add("ee\nfour")
    lines.end()
    assert shown == ["one", "two", "three", "four"]
