"""CMA-ES is that of cmaes and cma, as recorded by scripts/golden_evolution.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raysearch.space import Float, Int, Space
from raysearch.strategies.cma_es import CMAES
from raysearch.strategies.distribution import after, fresh
from raysearch.trial import Outcome

with np.load(Path(__file__).with_name("evolution.npz")) as _file:
    GOLDEN = {name: _file[name] for name in _file.files}
EVALUATIONS = json.loads(str(GOLDEN["evaluations"]))

CUBE = Space({f"x{i}": Float(0, 1) for i in range(5)})
STEPS = Space({**{f"x{i}": Float(0, 1) for i in range(3)}, "n": Int(0, 9), "b": Int(0, 1)})


@pytest.mark.parametrize("case", ["plain", "large", "adaptive", "margin"])
def test_the_trajectory_is_that_of_the_reference(case: str) -> None:
    space = STEPS if case == "margin" else CUBE
    m = np.array([0.5, 0.5, 0.5, 0.49, 0.45]) if case == "margin" else np.full(5, 0.5)
    now = fresh(space, m, 0.02 if case == "margin" else 0.002, diagonal=False)
    kept = {name: GOLDEN[f"{case}.{name}"] for name in ("x", "m", "sigma", "c", "a")}
    for t, x in enumerate(kept["x"]):
        drawn = np.ones(len(x), dtype=bool)
        now, _ = after(space, now, x, drawn, adaptive=case == "adaptive")
        sigma = kept["sigma"][t]
        assert now.g.sigma == pytest.approx(sigma, rel=1e-8)
        assert np.abs(now.g.m - kept["m"][t]).max() <= 1e-8 * sigma
        assert np.abs(now.g.c - kept["c"][t]).max() <= 1e-8 * np.abs(kept["c"][t]).max()
        assert now.a == pytest.approx(kept["a"][t], rel=1e-8)


def loss_of(name: str, x: np.ndarray) -> np.ndarray:
    if name == "rosenbrock":
        return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1)
    exponent = 6 * np.arange(x.shape[1]) / (x.shape[1] - 1) if name == "ellipsoid" else 0.0
    return (10**exponent * x**2).sum(axis=1)


def evaluations(name: str, d: int, seed: int) -> float:
    """Until a loss of 1e-8, in [-5, 5]^d."""
    space, search = Space({f"x{i}": Float(0, 1) for i in range(d)}), CMAES()
    rng = np.random.default_rng(seed)
    shift = np.zeros(d) if name == "rosenbrock" else rng.uniform(-2, 2, d)
    state, n = search.init(space, seed), 0
    while n < 100_000:
        state, batch = search.ask(state, search.max_pending(state, 1))
        loss = loss_of(name, 10 * batch.x - 5 - shift)
        if loss.min() < 1e-8:
            return n + int(np.argmax(loss < 1e-8)) + 1
        n += len(batch)
        state = search.tell(state, batch, Outcome(loss[:, None]))
    return n


def test_as_few_evaluations_as_the_references_need() -> None:
    """Medians, by their geometric mean over all functions; single ones vary by a tenth."""
    ratios = []
    for case, theirs in EVALUATIONS.items():
        name, d = case.split()
        ours = np.median([evaluations(name, int(d), seed) for seed in range(50 // int(d))])
        ratios.append(ours / np.mean(list(theirs.values())))
    assert np.exp(np.mean(np.log(ratios))) <= 1.05
    assert max(ratios) <= 1.25


def test_a_generation_told_to_the_strategy_is_one_of_its_distribution() -> None:
    search = CMAES(population=8)
    state, batch = search.ask(search.init(CUBE, 0), 8)
    loss = ((batch.x - 0.3) ** 2).sum(axis=1)
    told = search.tell(state, batch, Outcome(loss[:, None]))
    rows = state.pending.row[np.argsort(loss), :-1]
    expected, _ = after(CUBE, state.now, rows, np.ones(8, dtype=bool), adaptive=False)
    assert np.array_equal(told.now.g.c, expected.g.c)
    assert replace(told.run, recent=0).told == 8
