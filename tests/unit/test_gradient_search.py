"""GradientSearch follows gradients, estimates them where there are none, and keeps to bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import raysearch as rs
from raysearch.slopes import unit_gradient
from raysearch.strategies import from_json, to_json

RATES = {f"x{i}": rs.Float(1e-4, 1.0, log=True) for i in range(20)}
BEST = 10.0 ** -np.linspace(0.5, 3.5, 20)


def bowl(config: Any) -> tuple[float, dict[str, float]]:
    """sum i (log x_i - log best_i)^2, and its derivatives with respect to x_i."""
    x = np.array([config[name] for name in RATES])
    off, weight = np.log(x / BEST), np.arange(1, 21)
    return float(weight @ off**2), dict(zip(RATES, 2 * weight * off / x, strict=True))


def searched(strategy: Any, trials: int, *, with_gradient: bool = True, sign: float = 1.0) -> Any:
    loop = rs.AskTell(rs.Space(RATES), strategy, mode="min" if sign > 0 else "max")
    for _ in range(trials):
        for trial in loop.ask(1):
            loss, slopes = bowl(trial.config)
            given = {name: sign * slope for name, slope in slopes.items()}
            loop.tell(trial, sign * loss, gradient=given if with_gradient else None)
    return loop


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["min", "max"])
def test_a_smooth_bowl_of_20_parameters_in_60_trials(sign: float) -> None:
    assert abs(searched(rs.GradientSearch(starts=1), 60, sign=sign).best.value) < 1e-6


@pytest.mark.parametrize("rule", ["Adam", "SGD", "RMSProp"])
def test_rules_of_the_optimizer_core_move_it(rule: str) -> None:
    rate = 1e-4 if rule == "SGD" else 0.03
    strategy = rs.GradientSearch(starts=1, rule=rule, rate=rate, patience=100)
    random = searched(rs.RandomSearch(), 60).best.value
    assert searched(strategy, 60).best.value < random / 3


@pytest.mark.parametrize("estimate", ["spsa", "differences"])
def test_without_gradients_it_probes(estimate: str) -> None:
    rule = {"rule": "Adam", "rate": 0.03} if estimate == "spsa" else {}
    strategy = rs.GradientSearch(starts=1, estimate=estimate, patience=200, **rule)
    found = searched(strategy, 600, with_gradient=False).best.value
    assert found < searched(rs.RandomSearch(), 600).best.value / 2
    if estimate == "differences":
        assert found < 1


def test_differences_are_the_gradient_of_a_quadratic() -> None:
    """Three candidates with 4 probes each find the minimum of a bowl in two parameters."""
    loop = rs.AskTell(
        {"a": rs.Float(0, 1), "b": rs.Float(0, 1)},
        rs.GradientSearch(starts=1, estimate="differences"),
    )
    for _ in range(45):
        (trial,) = loop.ask(1)
        loop.tell(trial, (trial.config["a"] - 0.3) ** 2 + 3 * (trial.config["b"] - 0.6) ** 2)
    assert loop.best.value < 1e-8


def test_a_minimum_outside_ends_at_the_bound() -> None:
    loop = rs.AskTell({"a": rs.Float(0, 1), "b": rs.Float(0, 1)}, rs.GradientSearch(starts=1))
    for _ in range(20):
        (trial,) = loop.ask(1)
        a, b = trial.config["a"], trial.config["b"]
        loop.tell(trial, (a + 1) ** 2 + (b - 0.5) ** 2, gradient={"a": 2 * (a + 1), "b": 2 * b - 1})
    assert loop.best.config["a"] == 0
    assert loop.best.config["b"] == pytest.approx(0.5, abs=1e-4)


def test_the_outer_strategy_has_the_discrete_part_and_learns_what_came_of_it() -> None:
    space = {
        "kind": rs.Choice(["good", "bad"]),
        "x": rs.Float(-1, 1),
        "y": rs.Float(0, 1).when(kind="good"),
    }
    loop = rs.AskTell(space, rs.GradientSearch(outer=rs.LocalSearch(), starts=2))
    kinds = []
    for _ in range(80):
        for trial in loop.ask(2):
            x, bad = trial.config["x"], trial.config["kind"] == "bad"
            y = trial.config.get("y", 0.5)
            slopes = {"x": 2 * x} | ({} if bad else {"y": 2 * (y - 0.5)})
            loop.tell(trial, x**2 + (y - 0.5) ** 2 + bad, gradient=slopes)
            kinds.append(bad)
    assert loop.best.value < 1e-10
    assert any(kinds)
    assert not all(kinds)


def test_starts_that_trail_are_dropped() -> None:
    """One descent is at its goal, the other would take for ever: it makes place for a new one."""
    strategy = rs.GradientSearch(starts=2, rule="SGD", rate=1e-6, patience=3)
    space = rs.Space({"x": rs.Float(0, 1)})
    state = strategy.init(space, 0)
    from raysearch.trial import Outcome

    for _ in range(12):
        state, batch = strategy.ask(state, 2)
        state = strategy.tell(state, batch, Outcome(batch.x**1, gradient=np.ones((len(batch), 1))))
    assert max(state.lives) > 1
    assert min(state.lives) == 1  # the leader stays


def test_nested_strategies_go_to_json_and_back() -> None:
    strategy = rs.GradientSearch(outer=rs.QuasiRandom(method="halton"), starts=3)
    assert from_json(to_json(strategy)) == strategy


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"outer": 1}, "outer: expected a strategy"),
        ({"rule": "Adamm"}, "Adam"),
        ({"rule": "Muon"}, "option rule: .*found 'Muon'"),
        ({"estimate": "x"}, "spsa"),
        ({"rate": 0.9}, "rate"),
        ({"spread": 0}, "spread"),
    ],
)
def test_wrong_options_are_refused(wrong: Any, text: str) -> None:
    with pytest.raises(rs.UsageError, match=text):
        rs.GradientSearch(**wrong)


def test_derivatives_become_those_in_the_unit_cube() -> None:
    space = rs.Space({"a": rs.Float(2, 5), "b": rs.Float(1, 100, log=True), "c": rs.Int(1, 9)})
    columns = space.columns([{"a": 3.0, "b": 10.0, "c": 2}])
    x, e = space.encode(columns), 1e-6

    def loss(x: Any) -> float:
        values = space.decode(x[None])
        return float(values["a"][0] ** 2 * values["b"][0])

    found = unit_gradient(space, columns, [{"a": 60.0, "b": 9.0}])[0]
    for j in range(2):
        step = e * np.eye(3)[j]
        assert found[j] == pytest.approx((loss(x[0] + step) - loss(x[0] - step)) / 2 / e, rel=1e-6)
    assert math.isnan(found[2])


@pytest.mark.parametrize(
    ("gradient", "text"),
    [
        ({"z": 1.0}, "unknown parameter 'z'"),
        ({"n": 1.0}, r"gradient\['n'\]: expected a continuous parameter"),
        ({"y": 1.0}, "not active"),
        ({"x": "steep"}, "expected a number"),
    ],
)
def test_wrong_gradients_are_refused(gradient: Any, text: str) -> None:
    space = {
        "x": rs.Float(0, 1), "n": rs.Int(1, 3), "k": rs.Choice(["a"]), "y": rs.Float(0, 1).when(n=3)
    }  # fmt: skip
    loop = rs.AskTell(space, rs.RandomSearch())
    with pytest.raises(rs.UsageError, match=text):
        loop.tell({"x": 0.5, "n": 1, "k": "a"}, 1.0, gradient=gradient)


# --- through the engine ---------------------------------------------------------------------


def with_gradient(config: Any) -> Any:
    loss, slopes = bowl(config)
    return {"loss": loss, "gradient": slopes}


def run(objective: Any, trials: int, folder: Any = None, **options: Any) -> Any:
    return rs.search(
        objective, rs.Space(RATES), rs.GradientSearch(starts=1), trials=trials, study=folder,
        address="inline", progress=False, **options,
    )  # fmt: skip


def test_a_search_is_told_gradients() -> None:
    assert run(with_gradient, 60).best.metrics["loss"] < 1e-6


def test_a_search_for_the_most_is_told_gradients() -> None:
    def objective(config: Any) -> Any:
        loss, slopes = bowl(config)
        return {"score": -loss, "gradient": {name: -slope for name, slope in slopes.items()}}

    assert run(objective, 60, metric="score", mode="max").best.metrics["score"] > -1e-6


def test_gradients_survive_a_resume(tmp_path: Any) -> None:
    whole = run(with_gradient, 25)
    run(with_gradient, 11, tmp_path / "study")
    parts = run(with_gradient, 25, tmp_path / "study")
    losses = [study.trials["metrics.loss"].to_pylist() for study in (whole, parts)]
    assert losses[0] == losses[1]


def test_vectorized_objectives_give_arrays_of_derivatives() -> None:
    @rs.vectorized
    def objective(columns: Any) -> Any:
        x = np.stack([columns[name] for name in RATES])
        off, weight = np.log(x / BEST[:, None]), np.arange(1, 21)
        slopes = 2 * weight[:, None] * off / x
        return {"loss": weight @ off**2, "gradient": dict(zip(RATES, slopes, strict=True))}

    assert run(objective, 60).best.metrics["loss"] < 1e-6


def test_a_gradient_of_what_is_no_parameter_fails_its_trial() -> None:
    study = run(lambda config: {"loss": 1.0, "gradient": {"x99": 1.0}}, 2)
    assert set(study.trials["state"].to_pylist()) == {"invalid"}
    assert "unknown parameter 'x99'" in study.trials["error"][0].as_py()


def test_a_point_from_elsewhere_with_its_gradient_is_where_a_lane_begins() -> None:
    """The next trial is a step from there; the best of several is taken first."""
    space = rs.Space({"x": rs.Float(0, 1), "y": rs.Float(0, 1)})

    def told(loop: Any, config: dict[str, float]) -> float:
        x, y = config["x"], config["y"]
        loss = (x - 0.3) ** 2 + (y - 0.6) ** 2
        loop.tell(config, loss, gradient={"x": 2 * (x - 0.3), "y": 2 * (y - 0.6)})
        return loss

    loop = rs.AskTell(space, rs.GradientSearch(starts=1, rate=0.1))
    told(loop, {"x": 0.9, "y": 0.9})
    best = told(loop, {"x": 0.5, "y": 0.6})
    (trial,) = loop.ask(1)
    assert trial.config["x"] == pytest.approx(0.4)
    assert trial.config["y"] == pytest.approx(0.6)
    assert (trial.config["x"] - 0.3) ** 2 < best


def test_a_point_from_elsewhere_without_a_gradient_is_the_outer_strategys() -> None:
    space = rs.Space({"x": rs.Float(0, 1), "y": rs.Float(0, 1)})
    loops = [rs.AskTell(space, rs.GradientSearch(starts=1)) for _ in range(2)]
    loops[0].tell({"x": 0.5, "y": 0.5}, 1.0)
    assert loops[0].ask(1)[0].config == loops[1].ask(1)[0].config
