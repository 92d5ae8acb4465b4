"""Trajectories equal those of torch.optim and optax, recorded by scripts/golden_optim.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch import optim
from raysearch.optim import compiled, fused

with np.load(Path(__file__).with_name("optim.npz")) as _file:
    GOLDEN = {name: _file[name] for name in _file.files}
TABLE = json.loads(str(GOLDEN["table"]))
STEPS = int(GOLDEN["at"][-1])
KINDS: dict[str, Any] = {**optim.RULES, **optim.SCHEDULES}


def built(spec: Any) -> Any:
    """The object that {"Name": {option: value}} describes; lists become tuples."""
    if isinstance(spec, dict):
        ((name, options),) = spec.items()
        return KINDS[name](**{key: built(value) for key, value in options.items()})
    return tuple(built(x) for x in spec) if isinstance(spec, list) else spec


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest parameter of the snapshot."""
    return float((abs(found - expected).max(axis=1) / abs(expected).max(axis=1)).max())


def trajectory(rule: optim.Rule) -> np.ndarray:
    arrays = [GOLDEN[f"params{j}"].copy() for j in range(1 if isinstance(rule, optim.Muon) else 2)]
    state = rule.init(arrays)
    kept = []
    for k in range(STEPS):
        grads = [GOLDEN[f"grads{i}"][k].astype(np.float64) for i in range(len(arrays))]
        rule.step(arrays, grads, state)
        if k + 1 in GOLDEN["at"]:
            kept.append(np.concatenate([np.asarray(x).ravel() for x in arrays]))
    return np.array(kept)


def cases() -> list[Any]:
    return [
        pytest.param(i, built({name: options}), id=f"{source}-{i}-{name}")
        for i, (name, options, source) in enumerate(TABLE["rules"])
    ]


@pytest.mark.parametrize(("i", "rule"), cases())
def test_the_trajectory_is_that_of_the_reference(i: int, rule: optim.Rule) -> None:
    assert distance(trajectory(rule), GOLDEN[f"rule{i}"]) <= 1e-12


@pytest.mark.skipif(not compiled.AVAILABLE, reason="llvmlite (extra fast) is not installed")
@pytest.mark.parametrize(("i", "rule"), cases())
def test_so_it_is_compiled(i: int, rule: optim.Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "COMPILE_FROM", 0)
    assert distance(trajectory(rule), GOLDEN[f"rule{i}"]) <= 1e-12


@pytest.mark.parametrize(
    ("i", "schedule"),
    [
        pytest.param(i, built(spec), id=f"{i}-{next(iter(spec))}")
        for i, spec in enumerate(TABLE["schedules"])
    ],
)
def test_the_schedule_is_that_of_the_reference(i: int, schedule: optim.Schedule) -> None:
    expected = GOLDEN[f"schedule{i}"]
    np.testing.assert_allclose(schedule.values(len(expected)), expected, rtol=1e-12, atol=1e-15)


def test_reduce_on_plateau_is_that_of_torch() -> None:
    plateau = optim.ReduceOnPlateau(**TABLE["plateau"])
    memory = plateau.init()
    found = [plateau.step(loss, memory) for loss in GOLDEN["losses"].tolist()]
    np.testing.assert_allclose(found, GOLDEN["rates"], rtol=1e-12)
