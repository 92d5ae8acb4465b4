"""Hypergradients: memory, truncation, what is diagnosed, tuning, online rates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raysearch import optim
from raysearch.errors import HypergradientError, UsageError
from raysearch.hypergrad import (
    Online,
    Problem,
    check,
    differentiated,
    forward,
    implicit,
    reverse,
    tune,
)

A = np.diag([1.0, 2.0, 5.0])


def quadratic(a: Any = A, **options: Any) -> Problem:
    """L = w^T A w / 2 - h^T w, V = ||w - 1||^2 / 2, so that w = A^-1 h."""
    return Problem(
        lambda w, h: (w @ a @ w / 2 - h @ w, a @ w - h, -w),
        lambda w, h: ((w - 1) @ (w - 1) / 2, w - 1, None),
        **options,
    )


def unrolled(problem: Problem, steps: int, lr: float = 0.1, **options: Any) -> Any:
    return reverse(
        problem, np.zeros(3), np.ones(3), rule=optim.SGD(momentum=0.1), steps=steps,
        options={"lr": lr}, **options,
    )  # fmt: skip


@pytest.mark.parametrize("steps", [1, 2, 16, 100, 400, 1000])
def test_states_held_grow_with_the_square_root_of_the_steps(steps: int) -> None:
    assert unrolled(quadratic(), steps).stored <= 2 * np.sqrt(steps) + 2


def test_holding_all_states_costs_less_and_gives_the_same() -> None:
    few, all_of_them = (unrolled(quadratic(), 100, segment=s) for s in (None, 100))
    assert np.array_equal(few.gradient, all_of_them.gradient)
    assert all_of_them.stored == 101
    assert all_of_them.cost.gradients < few.cost.gradients


@pytest.mark.parametrize("rule", [optim.SGD(momentum=0.5), optim.SGD(), optim.Adam()])
@pytest.mark.parametrize("way", [forward, reverse])
def test_training_that_goes_on_from_a_state(rule: Any, way: Any) -> None:
    """The last steps of a schedule have the derivatives that they have in the whole."""
    problems = [quadratic(A + 0.1 * t * np.eye(3)) for t in range(12)]
    rates = np.linspace(0.02, 0.1, 12)
    common: Any = {"rule": rule, "batches": problems.__getitem__}
    whole = way(problems[0], np.zeros(3), np.ones(3), steps=12, options={"lr": rates}, **common)
    w, state = np.zeros(3), rule.init(np.zeros(3))
    for t in range(7):
        rule.step(w, problems[t].train(w, np.ones(3))[1], state, lr=rates[t])
    rest = way(
        problems[0], w, np.ones(3), steps=5, options={"lr": rates[7:]}, after=state, **common
    )
    np.testing.assert_allclose(rest.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(rest.options["lr"], whole.options["lr"][7:], rtol=1e-9)
    assert rest.error < 1e-6
    assert state.steps == 7


def test_a_state_of_other_parameters_is_refused() -> None:
    rule = optim.SGD(momentum=0.1)
    with pytest.raises(UsageError, match="after: expected a state"):
        unrolled(quadratic(), 5, after=rule.init(np.zeros(4)))


def test_truncation_is_exact_once_training_has_forgotten() -> None:
    """Its error is estimated, and falls with the steps that are kept."""
    whole = unrolled(quadratic(), 100)
    parts = [unrolled(quadratic(), 100, truncate=k) for k in (2, 20, 100)]
    errors = [np.linalg.norm(p.gradient - whole.gradient) for p in parts]
    assert errors[0] > 10 * errors[1] > 0
    assert errors[2] == 0
    assert parts[0].error > 0.01 > parts[1].error * 0.1
    assert parts[0].stored < whole.stored


def test_batches_are_what_each_step_sees() -> None:
    odd, even = quadratic(scheme="complex"), quadratic(2 * A, scheme="complex")
    options = {"rule": optim.Adam(), "steps": 9, "options": {"lr": 0.05, "beta1": 0.8}}
    found = [
        way(odd, np.zeros(3), np.ones(3), batches=lambda t: odd if t % 2 else even, **options)
        for way in (forward, reverse)
    ]
    assert np.abs(found[0].gradient - found[1].gradient).max() < 1e-12
    plain = reverse(odd, np.zeros(3), np.ones(3), **options)
    assert np.abs(plain.gradient - found[0].gradient).max() > 1e-3


def test_parameters_may_be_nested() -> None:
    def train(w: Any, h: Any) -> Any:
        a, b = w["a"], w["b"][0]
        loss = h["l2"] * (np.sum(a**2) + b**2) / 2 - np.sum(a) - b
        dh = {"l2": (np.sum(a**2) + b**2) / 2}
        return loss, {"a": h["l2"] * a - 1, "b": [h["l2"] * b - 1]}, dh

    def valid(w: Any, h: Any) -> Any:
        return np.sum(w["a"]), {"a": np.ones((2, 2)), "b": [0.0]}, None

    found = implicit(Problem(train, valid), {"a": np.zeros((2, 2)), "b": [0.0]}, {"l2": 2.0})
    assert found.w["a"] == pytest.approx(np.full((2, 2), 0.5))
    assert float(found.gradient["l2"]) == pytest.approx(-4 / 2**2)


def test_a_warm_start_spares_training() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 30))
    problem = quadratic(x.T @ x + np.eye(30))
    cold = implicit(problem, np.zeros(30), np.ones(30))
    warm = implicit(problem, np.zeros(30), 1.001 * np.ones(30), warm=cold)
    assert warm.cost.gradients < 0.8 * cold.cost.gradients


# --- diagnoses ------------------------------------------------------------------------------


def test_training_that_does_not_converge() -> None:
    with pytest.raises(HypergradientError, match=r"training: .* found .* after 2 gradients"):
        implicit(quadratic(), np.zeros(3), np.ones(3), inner=1e-12, limit=2)


@pytest.mark.parametrize("solver", ["cg", "neumann"])
def test_an_indefinite_hessian(solver: str) -> None:
    saddle = quadratic(np.diag([1.0, 2.0, -5.0]))
    with pytest.raises(HypergradientError, match="curvature"):
        implicit(saddle, np.zeros(3), np.ones(3), inner=None, solver=solver)


def test_minres_bears_an_indefinite_hessian() -> None:
    a = np.diag([1.0, 2.0, -5.0])
    h = np.ones(3)
    found = implicit(quadratic(a), h / np.diag(a), h, inner=None, solver="minres", adjoint=1e-8)
    assert found.gradient == pytest.approx((h / np.diag(a) - 1) / np.diag(a), rel=1e-6)


def test_the_error_of_training_cut_short_is_seen() -> None:
    cubic = Problem(
        lambda w, h: (np.sum(np.exp(w)) - h @ w, np.exp(w) - h, -w),
        lambda w, h: (w @ w / 2, w, None),
    )
    h = np.array([2.0, 3.0])  # w = log h, dV/dh = log h / h
    for off in (1e-2, 1e-4, 1e-6):
        found = implicit(cubic, np.log(h) + off, h, inner=None, adjoint=1e-12)
        true = np.linalg.norm(found.gradient - np.log(h) / h) / np.linalg.norm(np.log(h) / h)
        assert true / 3 < found.error < 3 * true


def test_parameters_that_are_said_to_be_trained_and_are_not() -> None:
    double_well = Problem(  # w = 1 where h = 0
        lambda w, h: (w**4 / 4 - w**2 / 2 - h * w, w**3 - w - h, -w),
        lambda w, h: ((w - 2) ** 2, 2 * (w - 2), None),
    )
    with pytest.raises(HypergradientError, match=r"w: .*inner=None.*off by about \d+%"):
        implicit(double_well, 0.7, 0.0, inner=None)
    assert implicit(double_well, 1.0, 0.0, inner=None).gradient == pytest.approx(-1)
    assert implicit(double_well, 0.7, 0.0).gradient == pytest.approx(-1, rel=1e-4)


def test_near_the_best_hyperparameters_a_relative_error_says_nothing() -> None:
    problem, h = quadratic(np.diag([1.0, 2.0])), np.array([1.0, 2.0])  # V is least where w = 1
    found = implicit(problem, np.ones(2) + 1e-6, h, inner=None)
    assert np.abs(found.gradient).max() < 1e-5


def test_a_truncated_neumann_series_knows_its_residual() -> None:
    stiff = quadratic(np.diag([1.0, 10.0, 1e4]))
    with pytest.raises(HypergradientError, match=r"adjoint system: .* after 50 products"):
        implicit(stiff, np.zeros(3), np.ones(3), solver="neumann", limit=50)


def test_an_exploding_adjoint() -> None:
    with pytest.raises(HypergradientError, match=r"adjoint of the parameters: .*explodes"):
        unrolled(quadratic(), 60, lr=0.8)
    with pytest.raises(HypergradientError, match=r"tangent of the parameters: .*explodes"):
        forward(
            Problem(lambda w, h: (h * w @ w, 2 * h * w, w @ w), lambda w, h: (w @ w, 2 * w, None)),
            np.full(3, 1e-12), 30.0, rule=optim.SGD(lr=1.0), steps=20,
        )  # fmt: skip


def test_training_that_diverges() -> None:
    with np.errstate(all="ignore"), pytest.raises(HypergradientError, match="diverged"):
        unrolled(quadratic(), 3000, lr=1.5)


def test_a_missing_derivative() -> None:
    without = replace(quadratic(), train=lambda w, h: (w @ w / 2 - h @ w, w - h, None))
    for way in (implicit, lambda *a: reverse(*a, rule=optim.SGD(), steps=2)):
        with pytest.raises(HypergradientError, match="gradient in h, found None"):
            way(without, np.zeros(3), 2 * np.ones(3))
    with pytest.raises(HypergradientError, match="gauss_newton"):
        implicit(quadratic(), np.zeros(3), np.ones(3), curvature="gauss-newton")


def test_a_wrong_derivative_is_named() -> None:
    right = quadratic()

    def wrong(w: Any, h: Any) -> Any:
        value, dw, dh = right.train(w, h)
        return value, dw, dh * np.array([1, 1.01, 1])

    with pytest.raises(HypergradientError, match=r"h\[1\]: expected"):
        check(
            lambda h: implicit(replace(right, train=wrong), np.zeros(3), h), np.array([1.0, 3, 4])
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rule": optim.NAdam()}, "cannot be unrolled"),
        ({"rule": optim.Muon()}, "cannot be unrolled"),
        ({"options": {"speed": 1.0}}, "no option 'speed'"),
        ({"options": {"lr": [1.0, 2.0]}}, "one for each of 5 steps"),
    ],
)
def test_what_cannot_be_unrolled(options: Any, text: str) -> None:
    given = {"rule": optim.SGD(), "steps": 5, "options": {"lr": 0.1}} | options
    with pytest.raises(UsageError, match=text):
        reverse(quadratic(), np.zeros(3), np.ones(3), **given)


# --- tuning, online, automatic ----------------------------------------------------------------


def test_tuning_finds_the_minimum_within_bounds() -> None:
    found = tune(quadratic(), np.zeros(3), np.zeros(3), bounds=(-10, 4))
    assert found.h == pytest.approx([1, 2, 4], abs=1e-3)  # w = h / diag(A) = 1, but for a bound
    assert found.gradients == sorted(found.gradients)
    assert len(found.gradients) == len(found.values)


def test_tuning_keeps_to_its_budget() -> None:
    found = tune(quadratic(), np.zeros(3), np.zeros(3), gradients=5)
    assert found.gradients[-2:][0] < 5 <= found.gradients[-1] or len(found.gradients) == 1


@pytest.mark.parametrize("rule", [optim.SGD(), optim.SGD(momentum=0.9), optim.Adam(), optim.Lion()])
def test_a_rate_that_is_too_small_grows(rule: Any) -> None:
    ends = []
    for beta in (1e-9, 0.1):
        x, online = np.array([1.0, 2.0]), Online(rule, lr=1e-4, beta=beta)
        for _ in range(100):
            online.step(x, 2 * x)
        ends.append(float(x @ x))
    assert ends[1] < 0.8 * ends[0]
    assert online.lr > 1e-4


@pytest.mark.parametrize("backend", ["torch", "jax", "autograd"])
def test_automatic_derivatives(backend: str) -> None:
    pytest.importorskip(backend)
    found = differentiated(
        lambda w, h: (h * w**2).sum() / 2 - w.sum(), lambda w, h: ((w - 1) ** 2).sum(), backend
    )
    h = np.array([2.0, 4.0])  # w = 1 / h, dV/dh = -2 (1 / h - 1) / h^2
    result = implicit(found, np.zeros(2), h, inner=1e-12, adjoint=1e-12)
    assert result.gradient == pytest.approx(-2 * (1 / h - 1) / h**2, rel=1e-10)


def test_a_backend_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="expected one of"):
        differentiated(lambda w, h: w, lambda w, h: w, "fortran")
