"""`raysearch simulate`, on studies and on experiment files, in numbers and as a picture."""

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

TRAINING = EXPERIMENT.replace(
    """    return {"score": -config["x"] ** 2}
""",
    """    for step in range(1, 10):
        yield {"score": -config["x"] ** 2 - 1 / step}
""",
)


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    Path("exp_simulated.py").write_text(EXPERIMENT)
    Path("exp_training.py").write_text(TRAINING)
    yield
    for name in ("exp_simulated", "exp_training"):
        sys.modules.pop(name, None)


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


def test_a_study_answers_for_another_strategy():
    assert raysearch("run", "exp_training.py", "--no-progress").exit_code == 0
    past = simulated("runs/exp_training", "--workers", "2")
    asha = ("runs/exp_training", "--strategy", "asha", "--set", "max_budget=9")
    rows = simulated(*asha, "--workers", "1,2")
    assert [row["trials"] for row in rows] == [30, 30]
    assert rows[1]["worker_seconds"] < past[0]["worker_seconds"]
    assert simulated(*asha, "--workers", "3", "--trials", "7")[0]["trials"] == 7
    # with other options of its own strategy; random search has none
    result = raysearch("simulate", "runs/exp_training", "--set", "levels=3")
    assert result.exit_code != 0
    assert "levels" in result.stderr


def test_a_file_is_searched_with_another_strategy():
    (row,) = simulated(
        "exp_training.py", "--workers", "1", "--duration", "1m", "--strategy", "asha",
        *("--set", "max_budget=9", "--trials", "9"),
    )  # fmt: skip
    assert row["makespan"] < 9 * 9 * 60  # what nine trainings in full would take


def test_the_target_is_the_best_that_all_of_them_reach():
    rows = simulated("exp_simulated.py", "--workers", "1,60", "--duration", "1m", "--trials", "30")
    assert rows[0]["target"] == rows[1]["target"]
    assert all(row["time_to_target"] is not None for row in rows)


def test_a_picture_is_drawn():
    pytest.importorskip("matplotlib", reason="matplotlib (extra plot) is not installed")
    arguments = ("simulate", "exp_simulated.py", "--duration", "10m", "--plot")
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        assert raysearch(*arguments, name).exit_code == 0
        assert Path(name).read_bytes().startswith(start)
    for name in ("none/a.png", "a.strange"):
        result = raysearch(*arguments, name)
        assert result.exit_code != 0
        assert "cannot be written" in result.stderr


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = raysearch("simulate", "exp_simulated.py", "--duration", "10m", "--plot", "a.png")
    assert result.exit_code == 2
    assert 'pip install "raysearch[plot]"' in result.stderr
    assert not result.stdout


def test_the_table_says_the_same():
    result = raysearch("simulate", "exp_simulated.py", "--workers", "3", "--duration", "10m")
    head, row = result.stdout.splitlines()
    assert head.split()[:2] == ["WORKERS", "MAKESPAN"]
    assert row.split()[:4] == ["3", "1h40m", "100.0", "%"]
    assert row.split()[-1] == "5.00"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exp_simulated.py"], "how long a trial takes"),
        (["exp_simulated.py", "--duration", "1m", "--workers", "1,0"], "numbers of workers"),
        (["exp_simulated.py", "--duration", "1m", "--workers", "many"], "numbers of workers"),
        (["runs", "--duration", "1m"], "are for an experiment FILE"),
        (["runs", "--trials", "7"], "goes with --strategy"),
        (["runs/none", "--strategy", "random"], "there is no study here"),
        (["runs/none"], "there is no study here"),
    ],
)
def test_what_cannot_be_simulated_is_refused(arguments, message):
    result = raysearch("simulate", *arguments)
    assert result.exit_code != 0
    assert message in result.stderr
