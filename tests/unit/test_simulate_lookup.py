"""What if: the past answers as it was, for the nearest configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

import raysearch as rs
from raysearch import simulate
from raysearch.errors import SpaceError, UsageError
from raysearch.simulate import Lookup

SPACE = rs.Space({"x": rs.Float(0, 1)})
TABLE = {
    "x": [0.0, 0.0, 0.0, 0.5, 0.5, 1.0],
    "step": [1, 3, 2, 1, 2, 1],
    "seconds": [10.0, 30.0, 20.0, 5.0, 5.0, 7.0],
    "loss": [9.0, 7.0, 8.0, 6.0, 5.0, 4.0],
    "note": ["a", None, "b", "c", "d", "e"],
}


def train(config, trial):
    begin = trial.checkpoint["step"] if trial.checkpoint else 0
    for step in range(begin + 1, 10):
        yield {"loss": config["x"] + 1 / step, "step": step}, {"step": step}


def reports(study):
    table = study.reports.sort_by([("number", "ascending"), ("step", "ascending")])
    return table.select(["number", "step", "metrics.loss"]).to_pylist()


def searched(strategy, **options):
    return simulate.run(
        train, SPACE, strategy, **{"workers": 3, "trials": 40, "duration": 60, **options}
    )


# --- of a study ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [rs.RandomSearch(), rs.ASHA(max_budget=9)])
def test_the_same_search_again_is_the_same(strategy):
    """Every configuration is its own nearest; promoted trials go on where they were."""
    before = searched(strategy, duration=lambda config: 60 + config["x"], workers=1)
    again = Lookup.of_study(before.study).run(strategy, workers=1, trials=40)
    assert again.study.trials["number"].equals(before.study.trials["number"])
    assert reports(again.study) == reports(before.study)
    assert again.makespan == pytest.approx(before.makespan)


def test_another_strategy_finds_full_curves_where_trials_were_promoted():
    """The curve of a trial that went on from another begins with the other's."""
    past = Lookup.of_study(searched(rs.ASHA(max_budget=9), trials=60).study)
    found = past.run(rs.RandomSearch(), workers=2, trials=50).study
    rows = reports(found)
    lengths = {n: [r["step"] for r in rows if r["number"] == n] for n in range(50)}
    assert {tuple(steps) for steps in lengths.values()} == {
        tuple(map(float, range(1, n + 1))) for n in (1, 3, 9)
    }


def test_asha_on_a_study_of_full_trainings_takes_less():
    study = searched(rs.RandomSearch(), trials=81).study
    past = Lookup.of_study(study)
    found = past.run(rs.ASHA(max_budget=9), workers=3, trials=81)
    assert found.study.best.metrics["loss"] <= study.best.metrics["loss"] + 0.05
    assert found.makespan < simulate.replay(study, workers=3).makespan / 2
    assert past.duration({"x": 0.3}) == pytest.approx(60)


def test_beyond_the_end_of_a_curve_nothing_is_known():
    study = searched(rs.ASHA(max_budget=3), trials=30).study
    found = Lookup.of_study(study).run(rs.ASHA(max_budget=27), workers=2, trials=60).study
    assert found.counts["failed"] > 0
    errors = "".join(filter(None, found.trials["error"].to_pylist()))
    assert "nothing is known after step 3" in errors


def test_failed_trials_answer_for_nothing():
    def objective(config):
        if config["x"] < 0.5:
            raise ValueError("too small")
        return {"loss": config["x"], "name": "good", "flag": None}

    study = simulate.run(
        objective, SPACE, rs.RandomSearch(), workers=2, trials=40, duration=5, max_failures=None
    ).study
    found = Lookup.of_study(study).run(rs.RandomSearch(), workers=4, trials=30, seed=7)
    assert found.study.counts == {"complete": 30}
    assert found.makespan == pytest.approx(8 * 5)
    assert set(found.study.trials["metrics.name"].to_pylist()) == {"good"}
    known = study.trials["metrics.loss"].drop_null().to_pylist()
    assert set(found.study.trials["metrics.loss"].to_pylist()) <= set(known)


def test_conditions_maximize_and_several_objectives_come_along():
    space = rs.Space(
        {"kind": rs.Choice(["a", "b"]), "n": rs.Int(1, 9).when(kind="b"), "x": rs.Float(0, 1)}
    )
    metric = {"score": "max", "cost": "min"}
    before = simulate.run(
        lambda c: {"score": c["x"], "cost": c.get("n", 0)},
        space,
        rs.RandomSearch(),
        workers=1,
        trials=30,
        metric=metric,
    ).study
    past = Lookup.of_study(before)
    again = past.run(rs.RandomSearch(), workers=1, trials=30).study
    assert past.metric == metric
    assert again.objectives == before.objectives
    names = ["number", "config.n", "metrics.score", "metrics.cost"]
    assert again.trials.select(names).equals(before.trials.select(names))


# --- of a table ----------------------------------------------------------------------------


@pytest.mark.parametrize("table", [TABLE, pa.table(TABLE)], ids=["mapping", "arrow"])
def test_a_table_answers_with_the_nearest_curve(table):
    past = Lookup.of_table(table, SPACE)
    curves = {}
    for x in (0.2, 0.25, 0.7, 0.8):
        trial = rs.Trial(0, {"x": x}, 0)
        curves[x] = [(row["step"], row["loss"]) for row, _ in past.objective({"x": x}, trial)]
    assert curves == {
        0.2: [(1, 9.0), (2, 8.0), (3, 7.0)],
        0.25: [(1, 9.0), (2, 8.0), (3, 7.0)],  # as near to 0.5, whose curve is shorter
        0.7: [(1, 6.0), (2, 5.0)],
        0.8: [(1, 4.0)],
    }
    assert [past.duration({"x": x}) for x in curves] == [20, 20, 5, 7]
    (row, state), *_ = past.objective({"x": 0}, rs.Trial(0, {}, 0, checkpoint={"step": 2}))
    assert (row, state) == ({"step": 3, "loss": 7.0}, {"step": 3})


def test_a_table_without_steps_is_one_of_finished_trials():
    past = Lookup.of_table({"x": [0, 1], "score": [1.0, 2.0]}, SPACE, metric="score", mode="max")
    found = past.run(rs.RandomSearch(), workers=2, trials=20)
    assert found.makespan == 10
    rows = found.study.trials.to_pylist()
    assert all(row["metrics.score"] == (2.0 if row["config.x"] > 0.5 else 1.0) for row in rows)
    with pytest.raises(UsageError, match="ASHA compares trials on their way"):
        past.run(rs.ASHA(max_budget=9), workers=2, trials=9)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"y": [1], "loss": [1]}, UsageError, "expected a column 'x'"),
        ({"x": [1], "lose": [1]}, UsageError, "expected a column 'loss'.*did you mean 'lose'"),
        ({"x": [], "loss": []}, UsageError, "table: expected rows, found none"),
        ({"x": [2.0], "loss": [1]}, SpaceError, "configuration 0: x: expected"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, error, message):
    with pytest.raises(error, match=message):
        Lookup.of_table(table, SPACE)


def test_studies_of_which_nothing_is_known_are_refused():
    def fails(config):
        raise ValueError

    for objective, strategy, message in (
        (fails, rs.RandomSearch(), "expected one with results"),
        (lambda config: config["x"], rs.ASHA(max_budget=9), "have not reported"),
    ):
        study = simulate.run(objective, SPACE, strategy, workers=1, trials=5).study
        with pytest.raises(UsageError, match=message):
            Lookup.of_study(study)
    with pytest.raises(UsageError, match="expected one with results"):
        Lookup.of_study(simulate.run(fails, SPACE, workers=1, time_limit=0.5).study)


# --- the document --------------------------------------------------------------------------

DOCUMENT = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text("utf-8")
((PROGRAM, OUTPUT),) = re.findall(r"^```python\n([^`]*)^```\n+```text\n([^`]*)^```", DOCUMENT, re.M)


def test_the_program_in_the_document_prints_what_it_shows(capsys):
    exec(compile(PROGRAM, "docs/simulation.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == OUTPUT
