"""The benchmark of quality: its tasks are what they say, and a small part of it is run."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def module(name: str) -> Any:
    return importlib.import_module(name)


def synthetic(kind: str) -> list[Any]:
    return [t for t in module("quality_tasks").TASKS[kind] if t.family != "training"]


@pytest.mark.parametrize("kind", ["tuning", "report"])
def test_the_optimum_has_no_regret(kind: str) -> None:
    for task in synthetic(kind):
        problem = task.build(0)
        [best] = problem.truth.decode(problem.optimum[None]).configs()
        loss, broken = problem(best)
        assert loss == pytest.approx(0, abs=1e-12), task.name
        assert broken == pytest.approx(0, abs=1e-12)
        others = problem.space.decode(np.random.default_rng(2).random((50, task.space.dim)))
        assert all(problem(config)[0] > 0 for config in others.configs()), task.name


def test_what_is_tuned_on_is_not_reported() -> None:
    tuning, report = synthetic("tuning"), synthetic("report")
    assert not {t.function for t in tuning} & {t.function for t in report}
    data = {
        kind: {
            module("quality_tables").TRAINING[t.name][0]
            for t in module("quality_tasks").TASKS[kind]
            if t.family == "training"
        }
        for kind in ("tuning", "report")
    }
    assert data["tuning"]
    assert not data["tuning"] & data["report"]


def test_tables_hold_every_configuration_in_its_place() -> None:
    tables = module("quality_tables")
    with np.load(tables.LOSSES) as losses:
        assert set(losses) == set(tables.TRAINING)
        for name, (_, space) in tables.TRAINING.items():
            configs = tables.configurations(space)
            assert losses[name].shape == (len(configs),)
            problem = tables.Table(name).build(0)
            values = [problem(config)[0] for config in configs]
            assert min(values) == 0
            assert np.allclose(values, losses[name].astype(float) - losses[name].min())
    best = {"kernel": "sigmoid", "c": 1024.0, "gamma": 2.0**-9, "shift": 0.0}
    assert tables.Table("svm cancer").build(0)(best)[0] == 0
    assert tables.LOSSES.stat().st_size < 500_000


def test_a_run_is_repeatable_and_knows_good_from_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--only random tpe --families mixed training --seeds 1 --trials 50 --pending 8"
    kept = []
    for place in ("once", "again"):
        folder = tmp_path / place
        for command in ("run", "report"):
            arguments = ["quality.py", command, *words.split(), "--results", str(folder)]
            monkeypatch.setattr("sys.argv", arguments)
            module("quality").main()
        searches = {
            file.relative_to(folder): json.loads(file.read_text())
            for file in sorted(folder.rglob("*.json"))
        }
        for search in searches.values():
            del search["seconds"]
        kept.append(searches)
    assert kept[0] == kept[1]
    assert sum(search["duplicates"] for search in kept[0].values()) == 0
    regret = {
        name: np.mean([s["regret"][-1] for f, s in kept[0].items() if f.parts[0] == name])
        for name in ("random", "tpe")
    }
    assert regret["tpe"] < regret["random"]
    assert "| tpe |" in capsys.readouterr().out
