"""`raysearch simulate`, on studies and on experiment files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from raysearch.cli import app

EXPERIMENT = """
from raysearch import Float, RandomSearch, Space

def objective(config):
    return {"score": -config["x"] ** 2}

space = Space({"x": Float(-1, 1)})
strategy = RandomSearch()
settings = {"metric": "score", "mode": "max", "trials": 30, "address": "inline"}
"""


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    Path("exp_simulated.py").write_text(EXPERIMENT)
    yield
    sys.modules.pop("exp_simulated", None)


def raysearch(*args: str) -> Result:
    return CliRunner().invoke(app, args)


def simulated(*args: str) -> list[dict[str, object]]:
    result = raysearch("simulate", *args, "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert content["kind"] == "simulation"
    return content["simulations"]


def test_a_file_is_searched_with_each_number_of_workers():
    rows = simulated("exp_simulated.py", "--workers", "1,3,60", "--duration", "10m")
    assert [row["workers"] for row in rows] == [1, 3, 60]
    assert [row["makespan"] for row in rows] == [30 * 600, 10 * 600, 600]
    assert [row["utilisation"] for row in rows] == [1, 1, 0.5]
    assert [row["worker_seconds"] for row in rows] == [30 * 600, 30 * 600, 60 * 600]
    assert all(0 < row["time_to_target"] <= row["makespan"] for row in rows)
    assert len({row["target"] for row in rows}) == 1


def test_a_study_is_replayed():
    assert raysearch("run", "exp_simulated.py", "--no-progress").exit_code == 0
    rows = simulated("runs/exp_simulated", "--workers", "1,2", "--target", "5")
    assert [row["trials"] for row in rows] == [30, 30]
    assert 0 < rows[1]["makespan"] <= rows[0]["makespan"]
    assert [row["time_to_target"] for row in rows] == [None, None]


def test_the_table_says_the_same():
    result = raysearch("simulate", "exp_simulated.py", "--workers", "3", "--duration", "10m")
    head, row = result.stdout.splitlines()
    assert head.split()[:2] == ["WORKERS", "MAKESPAN"]
    assert row.split()[:4] == ["3", "1h40m", "100.0", "%"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exp_simulated.py"], "how long a trial takes"),
        (["exp_simulated.py", "--duration", "1m", "--workers", "1,0"], "numbers of workers"),
        (["exp_simulated.py", "--duration", "1m", "--workers", "many"], "numbers of workers"),
        (["runs", "--duration", "1m"], "are for an experiment FILE"),
        (["runs/none"], "there is no study here"),
    ],
)
def test_what_cannot_be_simulated_is_refused(arguments, message):
    result = raysearch("simulate", *arguments)
    assert result.exit_code != 0
    assert message in result.stderr
