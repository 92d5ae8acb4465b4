"""The parts of the solvers: each does what its paper says."""

from __future__ import annotations

from math import cos, pi, sin, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import optimize

from raysearch import optim
from raysearch.optim.bounded import cauchy_point, compact, subspace_minimiser
from raysearch.optim.descent import Descent
from raysearch.optim.fitting import Fit
from raysearch.optim.newton import modified_cholesky_solve, truncated_cg
from raysearch.optim.quasi_newton import two_loops

seeds = st.integers(0, 10**6)


def drive(steps: Any, evaluate: Any) -> tuple[Any, int]:
    """What a generator returns, and how often it asked."""
    count, answer = 0, None
    while True:
        try:
            request = steps.send(answer)
        except StopIteration as end:
            return end.value, count
        count, answer = count + 1, evaluate(request)


# --- line search: the tables of Moré & Thuente (1994), sec. 5 ---


def phi1(a: float) -> tuple[float, float]:
    return -a / (a**2 + 2), (a**2 - 2) / (a**2 + 2) ** 2


def phi2(a: float) -> tuple[float, float]:
    b = a + 0.004
    return b**5 - 2 * b**4, 5 * b**4 - 8 * b**3


def phi3(a: float) -> tuple[float, float]:
    b, k = 0.01, 39
    if a <= 1 - b:
        f, d = 1 - a, -1.0
    elif a >= 1 + b:
        f, d = a - 1, 1.0
    else:
        f, d = (a - 1) ** 2 / (2 * b) + b / 2, (a - 1) / b
    wave = k * pi / 2
    return f + 2 * (1 - b) / (k * pi) * sin(wave * a), d + (1 - b) * cos(wave * a)


def phi4(a: float, b1: float = 0.001, b2: float = 0.001) -> tuple[float, float]:
    def gamma(b: float) -> float:
        return sqrt(1 + b**2) - b

    one, two = sqrt((1 - a) ** 2 + b2**2), sqrt(a**2 + b1**2)
    d = -gamma(b1) * (1 - a) / one + gamma(b2) * a / two
    return gamma(b1) * one + gamma(b2) * two, d


@pytest.mark.parametrize(
    ("phi", "c1", "c2", "table"),
    [
        (phi1, 1e-3, 0.1, [(6, 1.4), (3, 1.4), (1, 10), (4, 37)]),
        (phi2, 0.1, 0.1, [(12, 1.6), (8, 1.6), (8, 1.6), (11, 1.6)]),
        (phi3, 0.1, 0.1, [(12, 1.0), (12, 1.0), (10, 1.0), (13, 1.0)]),
        (phi4, 1e-3, 1e-3, [(4, 0.085), (1, 0.1), (3, 0.35), (4, 0.83)]),
    ],
)
def test_strong_wolfe_repeats_the_published_tables(
    phi: Any, c1: float, c2: float, table: list[tuple[int, float]]
) -> None:
    """Trials and accepted lengths from the starts 1e-3, 1e-1, 10 and 1e3."""
    search = optim.StrongWolfe(c1=c1, c2=c2)
    for first, (trials, length) in zip((1e-3, 1e-1, 1e1, 1e3), table, strict=True):
        found, count = drive(search.search(*phi(0.0), first), phi)
        assert count == trials
        assert_allclose(found, length, rtol=0.05)


# --- directions ---


@given(seed=seeds, n=st.integers(1, 6), k=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_the_forms_of_bfgs_agree(seed: int, n: int, k: int) -> None:
    """Dense inverse, two loops, and compact Hessian, from the same pairs."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    a = a @ a.T + np.eye(n)
    s, g = rng.normal(size=(k, n)), rng.normal(size=n)
    y = s @ a

    h = np.eye(n) * (s[-1] @ y[-1]) / (y[-1] @ y[-1])
    for s_i, y_i in zip(s, y, strict=True):
        v = np.eye(n) - np.outer(y_i, s_i) / (y_i @ s_i)
        h = v.T @ h @ v + np.outer(s_i, s_i) / (y_i @ s_i)

    expected = h @ g
    assert_allclose(two_loops(s, y, g), expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
    if k <= n:  # else the compact form's middle matrix is near singular
        theta, w, m = compact(Descent(g, 0, 0, 0.0, g, memory=(s, y)))
        b = theta * np.eye(n) - w @ m @ w.T
        assert_allclose(b @ expected, g, rtol=1e-4, atol=1e-4 * abs(g).max())


@given(seed=seeds, n=st.integers(1, 6), k=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_cauchy_point_and_subspace_minimiser(seed: int, n: int, k: int) -> None:
    """Against the dense model: the first minimiser of a path of segments, and optimality."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    a = a @ a.T + np.eye(n)
    s = rng.normal(size=(min(k, n), n))
    x, g = np.zeros(n), rng.normal(size=n)
    lower, upper = -rng.uniform(0.01, 0.5, n), rng.uniform(0.01, 0.5, n)
    model = compact(Descent(x, 0, 0, 0.0, g, memory=(s, s @ a) if len(s) else ()))
    b = model.theta * np.eye(n) - model.w @ model.m @ model.w.T

    corner, c = cauchy_point(x, g, lower, upper, model)

    def on_path(t: float) -> Any:
        return np.clip(-t * g, lower, upper)

    def value(p: Any) -> float:
        return float(g @ p + p @ b @ p / 2)

    ends = np.sort(np.where(g < 0, upper, lower) / -g)
    begin = 0.0
    for end in ends:  # the model along each segment is a parabola
        p, d = on_path(begin), np.where(np.where(g < 0, upper, lower) / -g > begin, -g, 0.0)
        slope, curvature = d @ (g + b @ p), d @ b @ d
        if slope >= 0 or -slope / curvature < end - begin:
            begin += max(0.0, -slope / curvature)
            break
        begin = end
    assert_allclose(corner, on_path(begin), atol=1e-8)
    assert_allclose(c, model.w.T @ corner, atol=1e-7 * (1 + np.linalg.norm(model.w)))

    target = subspace_minimiser(x, g, lower, upper, corner, c, model)
    free = (corner > lower) & (corner < upper)
    assert_allclose(target[~free], corner[~free])
    inside = free & (target > lower) & (target < upper)
    if (inside == free).all():  # the minimiser over the free variables itself
        assert_allclose((g + b @ target)[free], 0, atol=1e-6 * (1 + abs(b).max()))
    assert value(corner) <= 1e-12


@given(seed=seeds, n=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_modified_cholesky_always_descends(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, g = rng.normal(size=(n, n)), rng.normal(size=n)
    assert g @ modified_cholesky_solve(a + a.T, g, 0.0) > 0
    definite = a @ a.T + np.eye(n)
    assert_allclose(modified_cholesky_solve(definite, g, 0.0), np.linalg.solve(definite, g))
    turned = modified_cholesky_solve(np.diag([-2.0, 4.0]), np.array([2.0, 4.0]), 0.0)
    assert_allclose(turned, [1, 1])  # abs(-2) in place of -2


@given(seed=seeds, n=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_truncated_cg_solves_in_n_products(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    h, g = a @ a.T + np.eye(n), 1e-6 * rng.normal(size=n)
    steps = truncated_cg(np.zeros(n), g, np.inf)
    (p, hp), count = drive(steps, lambda request: optim.machine.Answer(hessp=h @ request.v))
    assert count <= n
    assert_allclose(hp, h @ p, atol=1e-12)
    norm = np.linalg.norm(g)
    assert np.linalg.norm(hp + g) <= sqrt(norm) * norm * (1 + 1e-6)


@given(seed=seeds, n=st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_conjugate_gradients_descend_whatever_the_line_search(seed: int, n: int) -> None:
    """Hager & Zhang (2005), theorem 1.1: g^T p <= -7/8 g^T g."""
    rng = np.random.default_rng(seed)
    p, g, new_g = -rng.normal(size=n), rng.normal(size=n), rng.normal(size=n)
    a = float(np.exp(rng.normal()))
    at = Descent(np.zeros(n), 1, 0, 0.0, g, memory=(p,))
    new = Descent(a * p, 2, 0, 0.0, new_g)
    for direction in optim.ConjugateGradient().learn(at, new):
        assert new_g @ direction <= -0.875 * new_g @ new_g * (1 - 1e-9)


def test_a_gradient_of_another_function_ends_without_descent() -> None:
    result = optim.minimize(lambda x: 1.0, [-1.2, 1.0], optimize.rosen_der)
    assert result.status == optim.Status.NO_DESCENT


# --- least squares ---


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
def test_weighted_problems_equal_the_loss_to_second_order(loss: str) -> None:
    rng = np.random.default_rng(3)
    j, r0 = rng.normal(size=(20, 3)), 0.5 * rng.normal(size=20)
    solver = optim.LevenbergMarquardt(loss=loss, loss_scale=2.0)

    def cost(x: Any) -> float:
        return solver.cost(r0 + j @ x)

    at = Fit(np.zeros(3), 0, 0, r0, j, cost(np.zeros(3)), np.ones(3), 1.0)
    weighted_j, weighted_r = solver.weighted(at)

    grad = optim.gradient(cost, np.zeros(3), typical=np.ones(3))
    assert_allclose(weighted_j.T @ weighted_r, grad, rtol=1e-6)
    h = 1e-3
    for e in np.eye(3):
        second = (cost(h * e) - 2 * cost(0 * e) + cost(-h * e)) / h**2
        assert_allclose(e @ weighted_j.T @ weighted_j @ e, second, rtol=1e-3)


def test_geodesic_acceleration_is_exact_on_a_parabola() -> None:
    """Rosenbrock's valley is a parabola: one accelerated step reaches its end."""
    solver = optim.LevenbergMarquardt(geodesic=True, factor=1e6, alpha=1e6)
    costs: list[float] = []
    optim.least_squares(
        lambda x: np.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]]),
        [-1.2, 1.0],
        "complex",
        solver,
        callback=lambda result: costs.append(result.cost),
    )
    assert costs[0] > 10
    assert costs[1] < 1e-20
