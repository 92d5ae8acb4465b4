"""least_squares and its solvers: solutions, bounds, losses, covariance, statuses, bad input."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize

from raysearch import optim
from raysearch.errors import UsageError
from raysearch.optim.losses import LOSSES

T = np.linspace(0, 4, 30)
TRUE = np.array([2.5, 1.3, 0.5])
NOISE = 0.05 * np.random.default_rng(1).normal(size=T.size)
METHODS = sorted(optim.LEAST_SQUARES)


def decay(x: Any, y: Any = None) -> Any:
    data = TRUE[0] * np.exp(-TRUE[1] * T) + TRUE[2] + NOISE if y is None else y
    return x[0] * np.exp(-x[1] * T) + x[2] - data


def decay_jacobian(x: Any) -> Any:
    e = np.exp(-x[1] * T)
    return np.stack([e, -x[0] * T * e, np.ones_like(T)], axis=1)


@pytest.mark.parametrize("jac", [decay_jacobian, "complex", None])
@pytest.mark.parametrize("method", METHODS)
def test_a_decay_is_fitted_as_by_scipy(method: str, jac: Any) -> None:
    result = optim.least_squares(decay, [1.0, 1.0, 0.0], jac, method)
    known, covariance = optimize.curve_fit(
        lambda t, a, b, c: a * np.exp(-b * t) + c, T, -decay(np.zeros(3)), [1, 1, 0], ftol=1e-13,
        xtol=1e-13,
    )  # fmt: skip
    assert result.success, result.message
    assert_allclose(result.x, known, rtol=1e-7)
    assert_allclose(result.covariance, covariance, rtol=1e-4)
    assert_allclose(result.cost, 0.5 * np.sum(decay(result.x) ** 2))
    assert_allclose(result.grad, 0, atol=1e-7)
    assert result.rank == 3


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_robust_losses_agree_with_scipy(loss: str) -> None:
    y = -decay(np.zeros(3))
    y[::7] += 3  # outliers
    common: dict[str, Any] = {"jac": lambda x, y: decay_jacobian(x), "args": (y,), "loss": loss}
    tight = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14}
    ours = optim.least_squares(decay, [2.0, 1.0, 0.4], loss_scale=0.1, **common)
    theirs = optimize.least_squares(decay, [2.0, 1.0, 0.4], f_scale=0.1, **common, **tight)
    assert ours.success, ours.message
    assert ours.cost <= theirs.cost * (1 + 1e-8)
    if loss in ("cauchy", "soft_l1", "huber"):
        assert_allclose(ours.x, theirs.x, rtol=1e-4)


@given(z=st.floats(1e-2, 1e3))
def test_losses_have_the_derivatives_they_say(z: float) -> None:
    for name, rho in LOSSES.items():
        if name == "huber" and abs(z - 1) < 1e-3:
            continue
        at = np.array([z])
        value, first, second = rho(at)
        assert_allclose(first, optim.jacobian(lambda s, rho=rho: rho(s)[0], at)[0], rtol=1e-5)
        slope = optim.jacobian(lambda s, rho=rho: rho(s)[1], at)[0]
        assert_allclose(second, slope, rtol=1e-3, atol=1e-9)
        assert 0 <= value[0] <= z * (1 + 1e-12)


@given(exponents=st.tuples(*[st.integers(-8, 8)] * 3), exponent=st.integers(-8, 8))
@settings(max_examples=25, deadline=None)
def test_units_of_parameters_and_residuals_do_not_matter(exponents: Any, exponent: int) -> None:
    """Powers of two are exact in floating point: the iterates are the same bit for bit."""
    units, unit = 2.0 ** np.array(exponents), 2.0**exponent
    plain = optim.least_squares(decay, [1.0, 1.0, 0.25], decay_jacobian)
    scaled = optim.least_squares(
        lambda z: unit * decay(z / units),
        units * np.array([1.0, 1.0, 0.25]),
        lambda z: unit * decay_jacobian(z / units) / units,
    )
    assert scaled.nfev == plain.nfev
    assert_array_equal(scaled.x / units, plain.x)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_linear_problems_within_bounds_agree_with_lsq_linear(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n + 3, n)), rng.normal(size=n + 3)
    lower, upper = np.full(n, -0.1), np.full(n, 0.2)
    seen = []

    def residuals(x: Any) -> Any:
        seen.append(x.copy())
        return a @ x - b

    result = optim.least_squares(residuals, np.zeros(n), lambda x: a, bounds=(lower, upper))
    known = optimize.lsq_linear(a, b, (lower, upper), method="bvls", tol=1e-14)
    assert result.success, result.message
    assert_allclose(result.cost, known.cost, rtol=1e-9)
    assert all((x >= lower).all() and (x <= upper).all() for x in seen)


def test_a_bounded_fit_agrees_with_scipy() -> None:
    bounds = ([0, 0, 0.55], [2.4, 5, 3])
    for jac in (decay_jacobian, None):
        ours = optim.least_squares(decay, [1.0, 1.0, 1.0], jac, bounds=bounds)
        theirs = optimize.least_squares(
            decay, [1.0, 1.0, 1.0], bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-14
        )
        assert ours.success
        assert_allclose(ours.x, theirs.x, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"geodesic": True}, {"factor": 100.0}])
def test_options_lead_to_the_same_fit(options: dict[str, Any]) -> None:
    result = optim.least_squares(decay, [1.0, 1.0, 0.0], decay_jacobian, **options)
    assert_allclose(result.x, optim.least_squares(decay, [1.0, 1.0, 0.0]).x, rtol=1e-6)


@pytest.mark.parametrize("solver", [optim.LevenbergMarquardt(geodesic=True), optim.GaussNewton()])
def test_a_checkpoint_between_any_two_evaluations_changes_nothing(solver: Any) -> None:
    straight, broken = solver.init([1.0, 1.0, 0.0]), solver.init([1.0, 1.0, 0.0])
    while (request := solver.ask(straight)) is not None:
        resumed = solver.ask(broken)
        assert_array_equal(request.x, resumed.x)
        values = {
            want: decay(request.x) if want == "fun" else decay_jacobian(request.x)
            for want in request.wants
        }
        straight, broken = solver.tell(straight, **values), solver.tell(broken, **values)
        broken = type(broken)(**{f.name: getattr(broken, f.name) for f in fields(broken)})
        if broken.at is not None:
            broken = replace(broken, at=replace(broken.at, x=broken.at.x.copy()))
    assert solver.ask(broken) is None


# --- how it ends ---


def test_rank_deficiency_is_told() -> None:
    result = optim.least_squares(
        lambda x: (x[0] + x[1]) * T - 2 * T, [0.0, 0.5], lambda x: np.stack([T, T], axis=1)
    )
    assert result.success
    assert result.rank == 1
    assert "rank 1 < 2" in result.message
    assert np.isinf(np.diag(result.covariance)).all()
    assert_allclose(result.x, [0.75, 1.25])  # the nearest solution


def test_a_parameter_without_influence_stays_and_has_no_error_bound() -> None:
    result = optim.least_squares(lambda x: x[0] * T - 2 * T + NOISE, [1.0, 7.0])
    assert result.success
    assert result.x[1] == 7
    assert np.isinf(result.covariance[1, 1])
    assert np.isfinite(result.covariance[0, 0])


def test_as_many_residuals_as_parameters_have_no_covariance() -> None:
    result = optim.least_squares(lambda x: x - [1.0, 2.0], [0.0, 0.0])
    assert_allclose(result.x, [1, 2])
    assert np.isinf(result.covariance).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_jacobian_never_succeeds(method: str) -> None:
    result = optim.least_squares(decay, [1.0, 1.0, 0.0], lambda x: -decay_jacobian(x), method)
    assert result.status in (optim.Status.NO_DESCENT, optim.Status.EVALUATIONS)


@pytest.mark.parametrize("method", METHODS)
def test_a_start_that_is_not_finite_is_told(method: str) -> None:
    result = optim.least_squares(
        lambda x: np.log(x) if x > 0 else x * np.nan, [-1.0], method=method
    )
    assert result.status == optim.Status.NOT_FINITE


@pytest.mark.parametrize("method", METHODS)
def test_walls_of_nan_are_backed_away_from(method: str) -> None:
    result = optim.least_squares(
        lambda x: np.log(x) if x > 0 else x * np.nan, [25.0], lambda x: 1 / x[:, None], method
    )
    assert result.success
    assert_allclose(result.x, 1)


@pytest.mark.parametrize("method", METHODS)
def test_evaluations_are_limited(method: str) -> None:
    result = optim.least_squares(decay, [9.0, 9.0, 9.0], decay_jacobian, method, max_evaluations=3)
    assert (result.status, result.nfev) == (optim.Status.EVALUATIONS, 3)


def test_a_solution_at_infinity_never_loops() -> None:
    result = optim.least_squares(lambda x: np.exp(-x), [0.0], lambda x: -np.exp(-x)[:, None])
    assert result.nfev <= 1200
    assert result.message


@pytest.mark.parametrize(
    "residuals", [lambda x: 1 / x, lambda x: x / (1 + x) - 2, lambda x: np.arctan(x) - 2]
)
@pytest.mark.parametrize("jac", ["complex", None])
def test_a_minimum_at_infinity_is_not_called_found(residuals: Any, jac: Any) -> None:
    result = optim.least_squares(residuals, [1.0], jac)
    assert result.status == optim.Status.AT_INFINITY, result
    assert "runs to infinity" in result.message


def test_variances_too_large_for_a_number_are_infinite() -> None:
    result = optim.least_squares(
        lambda x: 1e-158 * x[0] * T + NOISE, [1e150], lambda x: 1e-158 * T[:, None]
    )
    assert result.standard_errors.tolist() == [np.inf]


def test_far_away_is_not_infinity_where_the_residuals_depend_on_it() -> None:
    t = np.linspace(0.0, 1.0, 30)
    result = optim.least_squares(lambda x: x[0] * t - 1e9 * t, [1.0])
    assert result.success
    assert_allclose(result.x, 1e9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [-10.0, -1.0, 0.5, 2.0])
def test_a_jacobian_that_is_wrong_throughout_never_leads_to_a_wrong_answer(
    method: str, factor: float
) -> None:
    x0 = np.array([2.0, 3.0, 0.1])
    y = decay([1.0, 1.0, 0.5])
    result = optim.least_squares(
        decay, x0, lambda x, y: factor * decay_jacobian(x), method, args=(y,)
    )
    j = decay_jacobian(result.x)
    cosine = abs(j.T @ result.fun) / np.linalg.norm(j, axis=0) / np.linalg.norm(result.fun)
    stationary = result.cost < 1e-12 or cosine.max() < 1e-4
    assert stationary or not result.success


def test_a_step_that_only_the_region_makes_short_is_no_convergence() -> None:
    t = np.linspace(0.0, 1.0, 20)

    def jacobian(x: Any) -> Any:  # ten times too large
        e = np.exp(-x[1] * t)
        return 10 * np.stack([e, -x[0] * t * e], axis=1)

    result = optim.least_squares(
        lambda x: x[0] * np.exp(-x[1] * t) - np.exp(-t), [2.0, 3.0], jacobian
    )
    assert np.allclose(result.x, 1.0) or result.status == optim.Status.NO_DESCENT


def test_random_jacobians_do_not_converge() -> None:
    rng = np.random.default_rng(0)
    result = optim.least_squares(decay, [2.0, 3.0, 0.1], lambda x: rng.normal(size=(30, 3)))
    assert not result.success


def test_functions_may_change_their_argument() -> None:
    def residuals(x: Any) -> Any:
        x -= [1.0, 2.0]
        return x

    assert_allclose(optim.least_squares(residuals, [5.0, 5.0]).x, [1.0, 2.0])


def test_residuals_that_lose_the_imaginary_part_are_named() -> None:
    with pytest.raises(UsageError, match="expected complex numbers for complex x"):
        optim.least_squares(lambda x: x.real - 1.0, [2.0], "complex")


def test_a_callback_stops() -> None:
    result = optim.least_squares(decay, [9.0, 1.0, 0.0], callback=lambda r: r.nit == 2)
    assert (result.status, result.nit) == (optim.Status.STOPPED, 2)


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"jac": lambda x: np.ones((30, 2))}, r"jac: expected shape \(30, 3\), found \(30, 2\)"),
        ({"jac": "3-point"}, "jac: expected a function"),
        ({"residuals": lambda x: np.ones((2, 2))}, r"residuals: expected shape \(m,\)"),
        ({"residuals": lambda x: "a"}, "residuals: expected real numbers"),
        ({"method": "trf"}, "method: expected one of .*'LM'"),
        ({"loss": "l2"}, "loss: expected one of"),
        ({"loss": "huber", "loss_scale": 0.0}, "loss_scale=...\\): expected > 0"),
        ({"bounds": (0, 9), "method": "GN"}, 'bounds: expected method "LM"'),
        ({"bounds": (2, 9)}, "x0: expected lower <= x0 <= upper, found lower 2, upper 9, x0 1"),
        ({"callback": 3}, "callback: expected a function"),
        ({"factor": 0.0}, r"factor=...\): expected > 0, found 0.0"),
        ({"xtol": -1.0}, r"xtol=...\): expected >= 0, found -1.0"),
        ({"gtol": np.nan}, r"gtol=...\): expected a finite number, found nan"),
        ({"max_evaluations": 0}, r"max_evaluations=...\): expected > 0"),
        ({"damping": 3}, "damping: not an option of LevenbergMarquardt"),
        ({"method": optim.GaussNewton(), "loss": "huber"}, "has its options already"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"residuals": decay, "x0": [1.0, 1.0, 1.0], "jac": decay_jacobian}
    with pytest.raises(UsageError, match=words):
        optim.least_squares(**(good | arguments))


def test_residuals_that_change_their_number_are_named() -> None:
    with pytest.raises(UsageError, match=r"residuals: expected shape \(2,\), as at x0, found"):
        optim.least_squares(lambda x: np.ones(2 if x[0] == 1 else 3), [1.0])
