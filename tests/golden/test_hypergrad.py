"""Hypergradients agree with formulas, with differences of fourth order, and with each other."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch import optim
from raysearch.hypergrad import Problem, check, forward, implicit, reverse

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "bench"))
from hyper_problems import corrupted, regularised

rng = np.random.default_rng(0)
X, Y, X_VALID, Y_VALID = (rng.standard_normal(n) for n in ((40, 30), 40, (25, 30), 25))


def ridge(**options: Any) -> Problem:
    """L = ||X w - y||^2 / 2 + sum exp(h) w^2 / 2, with one h or one for each entry of w."""

    def train(w: Any, h: Any) -> Any:
        decay, r = np.exp(h), X @ w - Y
        dh = decay * w**2 / 2
        return r @ r / 2 + np.sum(dh), X.T @ r + decay * w, dh if np.size(h) > 1 else np.sum(dh)

    def valid(w: Any, h: Any) -> Any:
        r = X_VALID @ w - Y_VALID
        return r @ r / 2, X_VALID.T @ r, None

    return Problem(train, valid, **options)


def ridge_gradient(h: Any) -> Any:
    """By the formula: with A = X^T X + diag(exp(h)), -exp(h) w (A^-1 V_w)."""
    a = X.T @ X + np.diag(np.broadcast_to(np.exp(h), 30))
    w = np.linalg.solve(a, X.T @ Y)
    each = -np.exp(h) * w * np.linalg.solve(a, X_VALID.T @ (X_VALID @ w - Y_VALID))
    return each if np.size(h) > 1 else each.sum()


def relative(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("scheme", ["central", "complex"])
@pytest.mark.parametrize("solver", ["cg", "minres"])
@pytest.mark.parametrize("h", [0.7, np.linspace(-1, 2, 30)], ids=["1", "30"])
def test_ridge_by_the_formula(h: Any, solver: str, scheme: Any) -> None:
    found = implicit(
        ridge(scheme=scheme), np.zeros(30), h, inner=1e-10, adjoint=1e-9, solver=solver
    )
    assert relative(found.gradient, ridge_gradient(h)) <= 1e-7
    assert found.error < 1e-6


def test_the_neumann_series_converges_to_the_same() -> None:
    h = np.full(30, 2.0)
    found = implicit(
        ridge(scheme="complex"), np.zeros(30), h, inner=1e-10, adjoint=1e-9, solver="neumann"
    )
    assert relative(found.gradient, ridge_gradient(h)) <= 1e-7


def test_gauss_newton_is_exact_where_residuals_are_linear() -> None:
    h = np.full(30, 0.5)
    problem = ridge(gauss_newton=lambda w, h, v: X.T @ (X @ v) + np.exp(h) * v, scheme="complex")
    found = implicit(problem, np.zeros(30), h, inner=1e-10, adjoint=1e-9, curvature="gauss-newton")
    assert relative(found.gradient, ridge_gradient(h)) <= 1e-7


def test_elastic_net_by_its_support() -> None:
    """With |w| smooth as sqrt(w^2 + s), s = 1e-4; at its minimum by differences."""

    def train(w: Any, h: Any) -> Any:
        l1, l2 = np.exp(h["l1"]), np.exp(h["l2"])
        r, size = X @ w - Y, np.sqrt(w**2 + 1e-4)
        dh = {"l1": l1 * np.sum(size), "l2": l2 * np.sum(w**2) / 2}
        return r @ r / 2 + sum(dh.values()), X.T @ r + l1 * w / size + l2 * w, dh

    problem = replace(ridge(scheme="complex"), train=train)
    h = {"l1": 0.3, "l2": -0.5}
    w = implicit(problem, np.zeros(30), h, inner=1e-10).w

    def run(h: Any) -> Any:
        return implicit(problem, w, h, inner=1e-10, adjoint=1e-10)

    assert check(run, h, step=1e-3, rtol=1e-7).entries == 2


@pytest.mark.parametrize("number", [1, 10, 100, 640, 500])
def test_digits_by_differences(number: int) -> None:
    """Regularisation of softmax regression; 500: weights of images with wrong labels."""
    problem = corrupted()[0] if number == 500 else regularised(number, n=200, valid=100)
    middle = 0.0 if number == 500 else np.log(3e-2)
    h = middle + 0.5 * np.sin(np.arange(number))
    w = implicit(problem.problem(), problem.w, h, inner=1e-11).w

    def run(h: Any) -> Any:
        return implicit(problem.problem(), w, h, inner=1e-12, adjoint=1e-10)

    largest = np.argsort(-np.abs(run(h).gradient))[: min(2, number)]
    step = 4e-2 if number == 500 else 1e-2  # of small slopes, rounding is the larger error
    assert check(run, h, step=step, entries=largest.tolist(), rtol=1e-7)


RULES = {
    "sgd": (optim.SGD(), {"lr": 0.01, "weight_decay": 0.1}),
    "momentum": (optim.SGD(momentum=0.5), {"lr": 0.01, "momentum": 0.8, "weight_decay": 0.1}),
    "dampening": (optim.SGD(momentum=0.5), {"lr": 0.01, "momentum": 0.8, "dampening": 0.3}),
    "nesterov": (optim.SGD(momentum=0.5, nesterov=True), {"lr": 0.01, "momentum": 0.8}),
    "rmsprop": (optim.RMSProp(momentum=0.1), {"lr": 0.01, "alpha": 0.9, "momentum": 0.5}),
    "adam": (optim.Adam(), {"lr": 0.03, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1}),
    "adamw": (optim.AdamW(), {"lr": 0.03, "beta1": 0.8, "weight_decay": 0.1}),
    "amsgrad": (optim.Adam(amsgrad=True), {"lr": 0.03, "beta2": 0.8}),
}
STEPS = 20


@pytest.mark.parametrize("name", RULES)
def test_unrolled_both_ways_and_by_differences(name: str) -> None:
    """A schedule of the rate, the other options, and one regularisation weight."""
    rule, options = RULES[name]
    options = options | {"lr": options["lr"] * np.linspace(1, 0.5, STEPS)}
    problem, w = ridge(scheme="complex"), np.full(30, 0.1)

    def run(way: Any, h: Any) -> Any:
        given = {k: v for k, v in h.items() if k != "decay"}
        return way(problem, w, h["decay"], rule=rule, steps=STEPS, options=given)

    point = {"decay": 0.5, **options}
    ahead, back = run(forward, point), run(reverse, point)
    for one in options:
        assert relative(back.options[one], ahead.options[one]) <= 1e-10
    assert relative(back.gradient, ahead.gradient) <= 1e-10
    assert back.error < 1e-10
    if name == "amsgrad":
        return  # its maximum has kinks, over which differences look
    assert ahead.error < 1e-8

    def both(h: Any) -> Any:
        found = run(forward, h)
        return replace(found, gradient={"decay": found.gradient})

    assert check(
        both, point, rtol=1e-8, entries=[0, 1, 7, STEPS, *range(STEPS + 1, len(options) + STEPS)]
    )


@pytest.mark.parametrize("name", RULES)
def test_what_is_unrolled_is_what_the_rule_does(name: str) -> None:
    rule, options = RULES[name]
    own = {}
    for option, x in options.items():
        if option.startswith("beta"):
            betas = list(own.get("betas", rule.betas))
            betas[int(option[-1]) - 1] = x
            own["betas"] = tuple(betas)
        else:
            own[option] = x
    problem, w = ridge(), np.full(30, 0.1)
    p, trained = w.copy(), replace(rule, **own)
    state = trained.init(p)
    for _ in range(STEPS):
        trained.step(p, problem.train(p, 0.5)[1], state)
    found = reverse(problem, w, 0.5, rule=rule, steps=STEPS, options=options)
    assert np.abs(found.w - p).max() < 1e-13
