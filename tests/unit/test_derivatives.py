"""Differences, the complex step, and the checks built on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import raysearch.optim as optim
from raysearch.errors import UsageError
from raysearch.optim.derivatives import step_sizes

ACCURACY = {"forward": 1e-6, "central": 1e-8, "complex": 1e-14}


def curve(x: Any) -> Any:
    return np.stack([np.exp(x[0]) * x[1], np.sin(x[1]) + x[2] ** 3, x[0] * x[2]])


def curve_jacobian(x: Any) -> Any:
    e = np.exp(x[0])
    return np.array([[e * x[1], e, 0], [0, np.cos(x[1]), 3 * x[2] ** 2], [x[2], 0, x[0]]])


@pytest.mark.parametrize("scheme", sorted(ACCURACY))
@given(x=st.lists(st.floats(0.1, 3), min_size=3, max_size=3), exponent=st.integers(-12, 12))
@settings(max_examples=40, deadline=None)
def test_jacobians_are_as_accurate_in_any_units(scheme: Any, x: Any, exponent: int) -> None:
    """Steps are relative, so that the units of x do not matter."""
    unit = 10.0**exponent
    found = optim.jacobian(
        lambda z: curve(z / unit), np.array(x) * unit, scheme, typical=np.full(3, unit)
    )
    expected = curve_jacobian(np.array(x))
    assert_allclose(found * unit, expected, atol=ACCURACY[scheme] * np.max(abs(expected)))


@pytest.mark.parametrize("scheme", sorted(ACCURACY))
def test_numbers_of_calls(scheme: Any) -> None:
    calls: list[Any] = []

    def f(x: Any) -> Any:
        calls.append(x)
        return curve(x)

    optim.jacobian(f, [1.0, 2.0, 3.0], scheme, f0=curve(np.array([1.0, 2.0, 3.0])))
    assert len(calls) == {"forward": 3, "central": 6, "complex": 3}[scheme]


@pytest.mark.parametrize("scheme", ["forward", "central"])
@given(
    x=st.lists(st.sampled_from([0.0, 1e-9, 0.5, 1.0 - 1e-9, 1.0]), min_size=3, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_differences_do_not_leave_the_bounds(scheme: Any, x: list[float]) -> None:
    seen = []

    def f(z: Any) -> Any:
        seen.append(z.copy())
        return curve(z)

    lower, upper = np.zeros(3), np.ones(3)
    found = optim.jacobian(f, x, scheme, bounds=(lower, upper))
    assert all((z >= lower).all() and (z <= upper).all() for z in seen)
    assert_allclose(found, curve_jacobian(np.array(x)), atol=0.03)  # 1e-9: rounding


def test_a_fixed_parameter_has_a_zero_column() -> None:
    x = np.array([1.0, 2.0, 3.0])
    bounds = np.array([0.0, 2.0, 0.0]), np.array([4.0, 2.0, 4.0])
    assert_array_equal(optim.jacobian(curve, x, bounds=bounds)[:, 1], 0)


def test_steps_near_zero_fall_back_on_typical_sizes() -> None:
    h = step_sizes(np.array([0.0, 1e-9, 5.0]), "forward", np.array([2.0, 3.0, 1.0]))
    assert_allclose(h / np.sqrt(np.finfo(float).eps), [2.0, 3e-6, 5.0])


def test_hessians_and_their_products() -> None:
    x, v = np.array([0.3, -1.2, 2.0]), np.array([1.0, -2.0, 0.5])

    def grad(z: Any) -> Any:
        return np.stack([np.exp(z[0]) * z[1], np.exp(z[0]) + 2 * z[1], np.cos(z[2])])

    hess = np.array(
        [[np.exp(0.3) * -1.2, np.exp(0.3), 0], [np.exp(0.3), 2, 0], [0, 0, -np.sin(2.0)]]
    )
    for scheme, accuracy in ACCURACY.items():
        assert_allclose(optim.hessian(grad, x, scheme), hess, atol=10 * accuracy)
        assert_allclose(optim.hessian_product(grad, x, v, scheme), hess @ v, atol=10 * accuracy)
    assert_array_equal(optim.hessian_product(grad, x, np.zeros(3)), 0)


def test_a_right_jacobian_passes() -> None:
    x = [0.3, -1.2, 2.0]
    optim.check_jacobian(curve, curve_jacobian, x)
    optim.check_gradient(lambda z: curve(z)[1], lambda z: curve_jacobian(z)[1], x)


@given(row=st.integers(0, 2), column=st.integers(0, 2))
@settings(max_examples=9, deadline=None)
def test_a_wrong_entry_is_named(row: int, column: int) -> None:
    x = np.array([0.3, -1.2, 2.0])
    wrong = curve_jacobian(x)
    wrong[row, column] += 0.01
    with pytest.raises(UsageError) as error:
        optim.check_jacobian(curve, wrong, x)
    assert "1 of 9 entries" in str(error.value)
    assert f"[{row}, {column}]: expected" in str(error.value)
    assert f"found {wrong[row, column]:.8g}" in str(error.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: optim.gradient(curve, [1.0, 2.0, 3.0]),
            r"f: expected a number, found shape \(3,\)",
        ),
        (lambda: optim.jacobian(curve, [1.0, 2.0, 3.0], "both"), "scheme: expected one of"),
        (
            lambda: optim.check_gradient(lambda x: x @ x, lambda x: x[:1], [1.0, 2.0]),
            r"gradient: expected shape \(2,\), found \(1,\)",
        ),
        (
            lambda: optim.check_gradient(lambda x: x @ x, lambda x: x * np.nan, [1.0, 2.0]),
            "2 of 2 entries",
        ),
    ],
)
def test_bad_input_is_named(call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()
