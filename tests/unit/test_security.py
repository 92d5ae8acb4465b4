"""Promises of docs/security.md that no other test shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import raysearch as rs
from raysearch.cli import app
from raysearch.engine import ray_access, ray_session
from raysearch.secret import is_secret, mask

ROOT = Path(__file__).parents[2]
CANARY = "canary-in-the-mine"


@pytest.fixture
def canary(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", CANARY)
    return CANARY


def test_ray_and_arrow_are_new_enough():
    """ray 2.56 and pyarrow 14.0.1 are the first without known ways to run foreign code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = dict(d.split(">=") for d in project["dependencies"])
    assert tuple(map(int, floors["ray"].split("."))) >= (2, 56)
    assert int(floors["pyarrow"]) >= 15
    for text in project["optional-dependencies"]["cluster"]:
        if text.startswith("ray"):
            assert text.endswith(">=" + floors["ray"])


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DB_PASSWORD", "OPENAI_API_KEY", "RAY_AUTH_TOKEN"],
)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "HOME", "RAY_AUTH_TOKEN_PATH", "KEYBOARD", "LANG"])
def test_names_of_what_is_no_secret(name):
    assert not is_secret(name)


def test_short_values_are_left_alone(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "a")
    assert mask("a banana") == "a banana"


def test_no_secret_gets_into_a_study(canary, tmp_path):
    def objective(config):
        raise RuntimeError(f"401 for {os.environ['SOME_API_KEY']}")

    study = rs.search(
        objective,
        {"x": rs.Float(0, 1)},
        trials=3,
        study=tmp_path / "study",
        address="inline",
        progress=False,
    )
    errors = study.trials["error"].to_pylist()
    assert all("RuntimeError: 401 for <SOME_API_KEY>" in error for error in errors)
    for path in (tmp_path / "study").rglob("*"):
        assert not path.is_file() or canary.encode() not in path.read_bytes()


def test_no_secret_gets_into_the_log_of_what_trials_print(canary, tmp_path):
    sink = ray_session._Sink(tmp_path / "run.log")
    sink.lines({"pid": 1, "lines": [f"the key is {canary}"]})
    sink.close()
    assert (tmp_path / "run.log").read_text() == "(1) the key is <SOME_API_KEY>\n"


def test_no_secret_is_shown_in_an_error(canary, tmp_path):
    (tmp_path / "bad.py").write_text("import os\nraise ValueError(os.environ['SOME_API_KEY'])\n")
    for flags in ([], ["--debug"]):
        result = CliRunner().invoke(app, ["run", str(tmp_path / "bad.py"), *flags])
        assert result.exit_code == 78
        assert "ValueError: <SOME_API_KEY>" in result.stderr
        assert canary not in result.output


def test_the_token_file_is_made_private(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", os.environ.get("RAY_AUTH_MODE", "disabled"))
    file = tmp_path / ".ray/auth_token"
    file.parent.mkdir()
    file.write_text("a" * 64)
    file.chmod(0o644)
    ray_access.use_token()
    assert file.stat().st_mode & 0o777 == 0o600


SEARCH = """
import time
import raysearch as rs
rs.search(
    lambda config: time.sleep(0.01) or config["x"], {"x": rs.Float(0, 1)},
    study="study", address="inline", progress=False,
)
"""


def found(study):
    """How many trials a study has: none before there is one."""
    try:
        return len(rs.Study.load(study))
    except rs.errors.StudyNotFound:
        return 0


def test_stop_ends_the_search_that_holds_a_study_and_nothing_else(tmp_path):
    command = [sys.executable, "-c", SEARCH]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as search:
        stop = ["stop", str(tmp_path / "study")]
        end = time.monotonic() + 60
        while not found(tmp_path / "study"):
            assert time.monotonic() < end
            time.sleep(0.05)
        said = CliRunner().invoke(app, stop)
        assert "asked process" in said.stderr
        assert search.wait(30) not in (0, -15)
    assert "no search is writing" in CliRunner().invoke(app, stop).stderr


def test_a_study_cannot_have_a_reader_end_other_processes(tmp_path):
    rs.search(
        lambda config: config["x"],
        {"x": rs.Float(0, 1)},
        trials=1,
        study=tmp_path / "study",
        address="inline",
        progress=False,
    )
    from raysearch.log import lease

    (tmp_path / "study/lock").write_text(json.dumps(lease.mine()))  # that is this process
    result = CliRunner().invoke(app, ["stop", str(tmp_path / "study")])
    assert result.exit_code == 2
    assert "cannot be ended from here" in result.stderr


def test_the_command_line_of_a_job_is_quoted(monkeypatch):
    from raysearch.cluster.jobs import Jobs

    sent = {}

    class Client:
        def submit_job(self, **options):
            sent.update(options)
            return "name"

    jobs = Jobs.__new__(Jobs)
    jobs._client, jobs.address = Client(), ""
    nasty = "a'; rm -rf $HOME; echo `id`.py"
    arguments = ["run", nasty, "--study", "/s p"]
    jobs.submit(arguments, file=nasty, study="/s p", archive="x.zip", environment={})
    said = subprocess.run(
        ["sh", "-c", sent["entrypoint"].replace("exec python -m", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines() == ["raysearch.cluster.keeper", "0", *arguments]
    assert re.fullmatch(r"[\w-]+", sent["submission_id"])
