"""The commands at work on a study, from `run` to `doctor`, without Ray."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from raysearch import Float, Space
from raysearch.cli import app
from raysearch.log import StudyLog
from raysearch.testing.told import made_up

EXPERIMENT = """
from raysearch import Choice, Float, Space

def objective(config):
    if config["opt"] == "=bad":
        raise ValueError("boom \\x1b[2J")
    first = "=+-@\\t\\r\\0"[int(7 * config["lr"])]
    return {"accuracy": 1 - abs(config["lr"] - 0.3), "note": first + "cmd"}

space = Space({"lr": Float(0, 1), "opt": Choice(["=bad", "sgd", "adam", "adagrad"])})
settings = {"metric": "accuracy", "mode": "max", "address": "inline", "trials": 12}
"""


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    Path("exp_studies.py").write_text(EXPERIMENT)
    yield
    sys.modules.pop("exp_studies", None)


def raysearch(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, args, env=env)


def run(*args: str) -> Result:
    result = raysearch("run", "exp_studies.py", "--no-progress", *args)
    assert result.exit_code == 0, result.stderr
    return result


def status(path: str) -> dict[str, object]:
    content = json.loads(raysearch("status", path, "--json").stdout)
    assert content["schema"] == 1
    assert content["kind"] == "status"
    return content  # type: ignore[no-any-return]


def test_run_prints_the_best_and_says_what_to_type_next() -> None:
    result = run("--strategy", "random", "--seed", "1")

    assert "accuracy 0." in result.stdout
    assert "'lr': 0." in result.stdout
    assert "study runs/exp_studies" in result.stderr.splitlines()[-1]
    assert status("runs/exp_studies")["trials"] == 12


def test_run_again_goes_on_and_fresh_starts_beside() -> None:
    run("--study", "runs/a", "--trials", "5")
    run("--study", "runs/a", "--trials", "5")
    assert status("runs/a")["trials"] == 5
    run("--study", "runs/a", "--trials", "8")
    assert status("runs/a")["trials"] == 8

    run("--study", "runs/a", "--trials", "3", "--fresh")
    run("--study", "runs/a", "--trials", "2", "--fresh")

    assert [status(f"runs/{name}")["trials"] for name in ("a", "a-2", "a-3")] == [8, 3, 2]


def test_flags_win_over_variables_and_these_over_the_file() -> None:
    env = {"RAYSEARCH_RUN_TRIALS": "4", "RAYSEARCH_RUN_NO_PROGRESS": "1"}

    raysearch("run", "exp_studies.py", "--study", "a", env=env)
    raysearch("run", "exp_studies.py", "--study", "b", "--trials", "3", env=env)

    assert status("a")["trials"] == 4
    assert status("b")["trials"] == 3


def test_strategy_options_come_from_set() -> None:
    run("--strategy", "grid", "--set", "levels=2", "--study", "a", "--trials", "100")

    assert status("a")["trials"] == 8  # 2 levels of lr, 4 optimizers


@pytest.mark.parametrize("given", ['"grid"', "GridSearch(order='shuffled')", "Mine(levels=9)"])
def test_set_changes_the_strategy_of_the_file(given: str) -> None:
    own = "from raysearch import GridSearch\nclass Mine(GridSearch): pass\n"
    Path("exp_studies.py").write_text(f"{EXPERIMENT}\n{own}strategy = {given}")

    run("--set", "levels=2", "--trials", "100")

    assert status("runs/exp_studies")["trials"] == 8


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--trials", "0"], 2, "trials"),
        (["--strategy", "rondom"], 2, "random"),
        (["--strategy", "grid", "--set", "level=2"], 2, "levels"),
        (["--set", "levels=2"], 2, "--strategy"),
        (["--metric", "loss", "--max-failures", "3"], 3, "first 3 trials all failed"),
        (["--strategy", "grid", "--set", "levels"], 2, "expected OPTION=VALUE"),
        (["--study", "exp_studies.py"], 2, "found the file 'exp_studies.py'"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(args: list[str], code: int, message: str) -> None:
    result = raysearch("run", "exp_studies.py", "--no-progress", *args)

    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert result.stdout == ""


def test_another_seed_is_refused_and_nothing_is_changed() -> None:
    run("--study", "a", "--seed", "1")

    refused = raysearch("run", "exp_studies.py", "--study", "a", "--seed", "2", "--trials", "20")

    assert refused.exit_code == 78
    assert "seed" in refused.stderr
    assert status("a")["trials"] == 12
    run("--study", "a", "--seed", "2", "--trials", "20", "--allow-change")
    assert status("a")["trials"] == 20


def test_a_search_without_a_valid_trial_is_exit_3() -> None:
    Path("exp_studies.py").write_text(EXPERIMENT.replace('== "=bad"', '!= ""'))

    result = raysearch(
        "run", "exp_studies.py", "--no-progress", "--max-failures", "20", "--study", "a"
    )

    assert result.exit_code == 3
    assert status("a")["counts"] == {"failed": 12}


def test_status_best_and_ls_agree() -> None:
    run("--study", "runs/a", "--seed", "1")

    seen = status("runs/a")
    best = json.loads(raysearch("best", "runs/a", "-k", "3", "--json").stdout)["trials"]
    listed = json.loads(raysearch("ls", "--json").stdout)["studies"]

    assert seen["objectives"] == {"accuracy": "max"}
    assert seen["best"]["number"] == best[0]["number"]  # type: ignore[index]
    values = [trial["metrics"]["accuracy"] for trial in best]
    assert values == sorted(values, reverse=True)
    assert len(listed) == 1
    assert listed[0]["trials"] == 12
    assert "runs/a" in raysearch("ls").stdout
    assert "12 trials" in raysearch("status", "runs/a").stdout


def test_ls_shows_what_cannot_be_read_and_goes_on() -> None:
    run("--study", "runs/a")
    broken = Path("runs/broken")
    broken.mkdir()
    (broken / "study.json").write_text("{}")

    result = raysearch("ls")

    assert result.exit_code == 0
    assert "unreadable" in result.stdout
    assert "accuracy" in result.stdout


def test_show_tells_all_of_a_trial_without_steering_the_terminal() -> None:
    run("--study", "a", "--seed", "1")
    trials = [json.loads(raysearch("show", "a", str(k), "--json").stdout) for k in range(12)]
    failed = next(trial for trial in trials if trial["state"] == "failed")

    text = raysearch("show", "a", str(failed["number"])).stdout

    assert "ValueError: boom" in text
    assert "\x1b" not in text
    assert "'opt': '=bad'" in text
    assert failed["told"] >= failed["asked"]


def test_a_trial_that_never_ran_took_an_unknown_time() -> None:
    space = Space({"lr": Float(0, 1)})
    told = made_up(space, 1)
    spec = {"space": space.to_json(), "metric": {"loss": "min"}, "seed": 0}
    with StudyLog.open("a", space, spec) as log:
        log.append([replace(told, seconds=np.array([np.nan]))])

    lines = raysearch("show", "a", "0").stdout.splitlines()

    assert [line.split() for line in lines if line.startswith("took")] == [["took", "unknown"]]


def test_the_next_step_can_be_copied_whatever_the_study_is_called() -> None:
    assert "study 'my runs/a'   next: " in run("--study", "my runs/a").stderr

    told = raysearch("status", "my runs/a").stderr

    assert "raysearch best 'my runs/a'" in told


def test_best_of_a_study_without_a_valid_trial_says_why() -> None:
    raysearch("run", "exp_studies.py", "--study", "a", "--metric", "loss", "--no-progress")

    for k in ("1", "3"):
        result = raysearch("best", "a", "-k", k)
        assert result.exit_code == 2
        assert "no trial is complete" in result.stderr


def test_show_overhead_adds_up() -> None:
    run("--study", "a")

    found = json.loads(raysearch("show", "a", "--overhead", "--json").stdout)
    text = raysearch("show", "a", "--overhead").stdout

    assert found["trials"] == 12
    assert sum(stage["share"] for stage in found["stages"]) == pytest.approx(1)
    assert "in the trial" in text
    assert "slots in use" in text


def test_exported_tables_are_the_studys_trials() -> None:
    run("--study", "a")
    for name in ("t.csv", "t.jsonl", "t.parquet", "t.arrow"):
        assert raysearch("export", "a", "-o", name).exit_code == 0

    rows = [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()]
    table = parquet.read_table("t.parquet")

    assert table.num_rows == len(rows) == 12
    with pa.OSFile("t.arrow") as file:
        assert pa.ipc.open_file(file).read_all().equals(table)
    assert [row["config.lr"] for row in rows] == table["config.lr"].to_pylist()
    assert sorted(path.name for path in Path().glob(".t*")) == []  # no half files


def test_no_exported_text_is_a_formula() -> None:
    run("--study", "a", "--trials", "64")

    result = raysearch("export", "a", "-f", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))

    assert {row["metrics.note"][:2] for row in rows} == {
        "",
        "'=",
        "'+",
        "'-",
        "'@",
        "'\t",
        "'\r",
        "'\0",
    }
    assert all(row["config.opt"] != "=bad" for row in rows)
    assert all(float(row["config.lr"]) >= 0 for row in rows)


def test_an_export_to_nowhere_is_exit_73() -> None:
    run("--study", "a", "--trials", "2")

    result = raysearch("export", "a", "-o", "no/such/folder/t.csv")

    assert result.exit_code == 73
    assert "no/such/folder/t.csv" in result.stderr


def test_doctor_finds_and_saves(tmp_path: Path) -> None:
    run("--study", "a")
    assert raysearch("doctor", "a").exit_code == 0

    segment = next(p for p in Path("a/log").iterdir() if p.suffix in (".arrow", ".parquet"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    found = raysearch("doctor", "a")
    assert found.exit_code == 65
    assert segment.name in found.stdout + found.stderr
    assert raysearch("status", "a").exit_code == 65
    assert raysearch("doctor", "a", "--salvage", "b").exit_code == 0
    assert raysearch("doctor", "b").exit_code == 0
    assert segment.read_bytes() == content  # the original is left as it was


def test_retry_runs_failed_trials_again() -> None:
    run("--study", "a", "--strategy", "grid", "--trials", "8")
    before = status("a")["counts"]
    Path("exp_studies.py").write_text(EXPERIMENT.replace('== "=bad"', '== "never"'))

    result = raysearch("retry", "exp_studies.py", "--study", "a", "--failed", "--no-progress")

    assert before["failed"] > 0  # type: ignore[index]
    assert result.exit_code == 0, result.stderr
    assert status("a")["counts"] == {"complete": 8}


def test_retry_takes_some_states_only() -> None:
    run("--study", "a", "--strategy", "grid", "--trials", "8")
    again = ("retry", "exp_studies.py", "--study", "a", "--no-progress")

    assert raysearch(*again, "--state", "timeout", "--state", "oom").exit_code == 0
    wrong = raysearch(*again, "--state", "fialed")

    assert wrong.exit_code == 2
    assert "states: expected some of ['failed'" in wrong.stderr


@pytest.mark.parametrize("command", ["status", "best", "export", "doctor"])
def test_what_is_no_study_is_said_to_be_none(command: str) -> None:
    Path("empty").mkdir()
    for place in ("empty", "absent"):
        result = raysearch(command, place, *(["-f", "csv"] if command == "export" else []))

        assert result.exit_code == 2, result.stderr
        assert place in result.stderr
        assert "Traceback" not in result.stderr


def test_watching_can_be_ended() -> None:
    run("--study", "a", "--trials", "2")
    source = (  # Ctrl-C may be ignored where the tests run in the background
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from raysearch.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, "status", "a", "--watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(2)
        _, said = process.communicate()

    assert json.loads(line)["trials"] == 2
    assert process.returncode == 130
    assert "Traceback" not in said
