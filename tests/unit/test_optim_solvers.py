"""minimize and its solvers: solutions, invariances, statuses, bad input, checkpoints."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize

import raysearch.optim as optim
from raysearch.errors import UsageError
from raysearch.optim.machine import SolverState
from raysearch.optim.trust_region import minimise_parabolas

METHODS = sorted(optim.MINIMIZERS)


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


ROSENBROCK = (rosenbrock, optimize.rosen_der, optimize.rosen_hess)


def quadratic(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A positive definite matrix and a vector."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    return a @ a.T + np.eye(n), rng.normal(size=n)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("x0", [[-1.2, 1.0], [-1.2, 1.0, 0.5, 2.0, -1.0]])
def test_rosenbrock_is_solved(method: str, x0: list[float]) -> None:
    f, jac, hess = ROSENBROCK
    result = optim.minimize(f, x0, jac, hess, method=method)
    known = optimize.minimize(f, x0, jac=jac, method="BFGS", options={"gtol": 1e-9})
    assert result.success, result.message
    assert_allclose(result.x, known.x, atol=1e-6)  # n = 5 has a second minimum: the same one


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_may_be_left_out(method: str) -> None:
    result = optim.minimize(rosenbrock, [-1.2, 1.0], method=method)
    assert result.success
    assert_allclose(result.x, [1, 1], atol=1e-5)
    assert result.nfev > result.njev


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 8))
@settings(max_examples=15, deadline=None)
def test_convex_quadratics_are_solved(method: str, seed: int, n: int) -> None:
    a, b = quadratic(seed, n)
    result = optim.minimize(
        lambda x: x @ a @ x / 2 - b @ x,
        np.zeros(n),
        lambda x: a @ x - b,
        lambda x: a,
        method=method,
    )
    assert result.success
    assert_allclose(result.x, np.linalg.solve(a, b), atol=1e-6)


@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "CG", "Newton", "Newton-trust"])
@given(shift=st.floats(-3, 3), turn=st.floats(0, 6))
@settings(max_examples=10, deadline=None)
def test_rotating_the_problem_rotates_the_iterates(method: str, shift: float, turn: float) -> None:
    q = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    f, jac, hess = ROSENBROCK
    x0 = np.array([-1.2, 1.0])

    plain = optim.minimize(f, x0, jac, hess, method=method, max_evaluations=12)
    turned = optim.minimize(
        lambda z: f(q @ (z - shift)),
        q.T @ x0 + shift,
        lambda z: q.T @ jac(q @ (z - shift)),
        lambda z: q.T @ hess(q @ (z - shift)) @ q,
        method=method,
        max_evaluations=12,
    )

    assert_allclose(q @ (turned.x - shift), plain.x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_between_any_two_evaluations_changes_nothing(method: str) -> None:
    """A copy of the state, made of arrays and numbers only, goes on exactly the same."""
    f, jac, hess = ROSENBROCK
    solver = optim.MINIMIZERS[method]()

    def answer(request: optim.Request) -> dict[str, Any]:
        values = {
            "fun": lambda: f(request.x),
            "jac": lambda: jac(request.x),
            "hess": lambda: hess(request.x),
            "hessp": lambda: hess(request.x) @ request.v,
        }
        return {want: values[want]() for want in request.wants}

    straight = solver.init([-1.2, 1.0])
    broken = solver.init([-1.2, 1.0])
    for _ in range(40):
        request, resumed = solver.ask(straight), solver.ask(broken)
        if request is None or resumed is None:
            assert request is resumed
            break
        assert_array_equal(request.x, resumed.x)
        assert request.wants == resumed.wants
        straight = solver.tell(straight, **answer(request))
        broken = copied(solver.tell(broken, **answer(resumed)))


def copied(value: Any) -> Any:
    """A deep copy that knows arrays, numbers, tuples and dataclasses of these only."""
    if is_dataclass(value):
        return type(value)(**{f.name: copied(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, tuple):
        return tuple(copied(v) for v in value)
    if isinstance(value, np.ndarray):
        return value.copy()
    assert value is None or isinstance(value, (int, float)), value
    return value


def test_a_state_may_be_told_twice() -> None:
    """States are values: telling one does not use it up."""
    solver = optim.BFGS()
    state: SolverState[Any] = solver.init([-1.2, 1.0])
    for _ in range(5):
        request = solver.ask(state)
        state = solver.tell(state, fun=rosenbrock(request.x), jac=optimize.rosen_der(request.x))
    x = solver.ask(state).x
    values = {"fun": rosenbrock(x), "jac": optimize.rosen_der(x)}
    one, other = solver.tell(state, **values), solver.tell(state, **values)
    assert_array_equal(solver.ask(one).x, solver.ask(other).x)


def test_arguments_are_neither_changed_nor_kept() -> None:
    x0 = np.array([-1.2, 1.0])
    solver = optim.LBFGS()
    state = solver.init(x0)
    x0[:] = 7
    assert_array_equal(solver.ask(state).x, [-1.2, 1.0])


# --- bounds ---


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_bounded_quadratics_fulfil_the_kkt_conditions(seed: int, n: int) -> None:
    a, b = quadratic(seed, n)
    lower, upper = np.full(n, -0.1), np.full(n, 0.2)
    seen = []

    def f(x: Any) -> Any:
        seen.append(x.copy())
        return x @ a @ x / 2 - b @ x

    result = optim.minimize(f, np.zeros(n), lambda x: a @ x - b, bounds=(lower, upper))

    assert result.success
    assert all((x >= lower).all() and (x <= upper).all() for x in seen)
    step = np.clip(result.x - (a @ result.x - b), lower, upper) - result.x
    assert_allclose(step, 0, atol=1e-7)


def test_bounded_rosenbrock_agrees_with_scipy() -> None:
    x0, n = np.full(8, 0.2), 8
    bounds = (np.full(n, -0.5), np.r_[0.5, np.full(n - 1, 0.8)])
    ours = optim.minimize(rosenbrock, x0, optimize.rosen_der, bounds=bounds)
    theirs = optimize.minimize(
        rosenbrock, x0, jac=optimize.rosen_der, method="L-BFGS-B",
        bounds=optimize.Bounds(*bounds), options={"gtol": 1e-9, "ftol": 1e-15},
    )  # fmt: skip
    assert ours.success
    assert_allclose(ours.x, theirs.x, atol=1e-6)
    same = optim.minimize(rosenbrock, x0, optimize.rosen_der, bounds=optimize.Bounds(*bounds))
    assert_array_equal(same.x, ours.x)


def test_differences_stay_within_bounds() -> None:
    result = optim.minimize(
        lambda x: x[0] ** 1.5 + (x[1] - 2) ** 2, [1.0, 0.5], bounds=([0, 0], [4, 1])
    )
    assert result.success
    assert_allclose(result.x, [0, 1], atol=1e-4)


# --- how it ends ---


@pytest.mark.parametrize("method", METHODS)
def test_an_unbounded_function_is_called_unbounded_or_runs_out(method: str) -> None:
    result = optim.minimize(
        lambda x: -x[0] - x[1], [0.0, 0.0], lambda x: -np.ones(2), lambda x: np.zeros((2, 2)),
        method=method,
    )  # fmt: skip
    assert not result.success
    assert result.status in (optim.Status.UNBOUNDED, optim.Status.EVALUATIONS)


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_gradient_never_succeeds(method: str) -> None:
    f, jac, hess = ROSENBROCK
    result = optim.minimize(f, [-1.2, 1.0], lambda x: -jac(x), hess, method=method)
    assert result.status in (optim.Status.NO_DESCENT, optim.Status.EVALUATIONS)
    assert "not converged" in result.message


@pytest.mark.parametrize("method", METHODS)
def test_a_start_that_is_not_finite_is_named(method: str) -> None:
    result = optim.minimize(
        lambda x: np.nan, [1.0], lambda x: np.array([np.nan]), lambda x: np.eye(1), method=method
    )
    assert result.status == optim.Status.NOT_FINITE
    assert result.nfev <= 2


@pytest.mark.parametrize("method", METHODS)
def test_walls_of_nan_are_backed_away_from(method: str) -> None:
    """x - log(x) is not defined for x <= 0."""

    def f(x: Any) -> Any:
        return x[0] - np.log(x[0]) if x[0] > 0 else np.nan

    def jac(x: Any) -> Any:
        return 1 - 1 / x if x[0] > 0 else np.array([np.nan])

    def hess(x: Any) -> Any:
        return np.array([1 / x**2])

    result = optim.minimize(f, [25.0], jac, hess, method=method)
    assert result.success, result.message
    assert_allclose(result.x, 1, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_evaluations_are_limited(method: str) -> None:
    f, jac, hess = ROSENBROCK
    result = optim.minimize(f, [-1.2, 1.0], jac, hess, method=method, max_evaluations=7)
    assert (result.status, result.nfev) == (optim.Status.EVALUATIONS, 7)
    assert result.fun <= f(np.array([-1.2, 1.0]))


@pytest.mark.parametrize("method", METHODS)
def test_badly_scaled_variables(method: str) -> None:
    scale = np.array([1e4, 1.0, 1e-4])
    result = optim.minimize(
        lambda x: np.sum((scale * x - 1) ** 2), np.zeros(3), lambda x: 2 * scale * (scale * x - 1),
        lambda x: 2 * np.diag(scale**2), method=method, max_evaluations=3000,
    )  # fmt: skip
    if result.success:
        assert result.fun < 1.01  # the third variable hardly shows
    else:
        assert result.message


def test_a_start_at_the_minimum_ends_at_once() -> None:
    result = optim.minimize(lambda x: x @ x, [0.0, 0.0], lambda x: 2 * x)
    assert (result.success, result.nit, result.nfev) == (True, 0, 1)


def test_a_callback_stops() -> None:
    seen = []

    def callback(result: optim.Result) -> bool:
        seen.append(result.nit)
        return result.nit == 3

    result = optim.minimize(rosenbrock, [-1.2, 1.0], optimize.rosen_der, callback=callback)
    assert (result.status, result.nit, seen) == (optim.Status.STOPPED, 3, [0, 1, 2, 3])


def test_value_and_gradient_together_and_args() -> None:
    calls = []

    def both(x: Any, target: float) -> Any:
        calls.append(x)
        return np.sum((x - target) ** 2), 2 * (x - target)

    result = optim.minimize(both, [0.0, 0.0], jac=True, args=(3.0,), method="Newton-trust")
    assert_allclose(result.x, 3, atol=1e-8)
    assert result.nfev == len(calls)


def test_a_solver_may_be_passed() -> None:
    solver = optim.LBFGS(pairs=3, search=optim.HagerZhang())
    result = optim.minimize(rosenbrock, [-1.2, 1.0], optimize.rosen_der, method=solver)
    assert result.success


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x0": [[1.0, 2.0]]}, r"x0: expected a vector.*found shape \(1, 2\)"),
        ({"x0": []}, "x0: expected a vector"),
        ({"x0": [1.0, np.nan]}, "x0: expected finite numbers, found nan"),
        ({"x0": ["a"]}, "x0: expected real numbers"),
        ({"jac": lambda x: np.ones(3)}, r"jac: expected shape \(2,\), found \(3,\)"),
        ({"f": lambda x: x}, "f: expected a real number"),
        ({"method": "Adam"}, "method: expected one of.*found 'Adam'"),
        ({"tol": 1e-3}, "tol: not an option of LBFGS"),
        ({"bounds": (0, 1), "method": "BFGS"}, 'bounds: expected method "L-BFGS"'),
        ({"bounds": (0, 1)}, "x0: expected lower <= x0 <= upper, found lower 0, upper 1, x0 2"),
        ({"bounds": (3, 1)}, "bounds: expected lower <= upper"),
        ({"bounds": ([0, 0, 0], 9)}, r"lower of shape \(2,\), like x0, found shape \(3,\)"),
        ({"bounds": 3}, r"bounds: expected \(lower, upper\)"),
        ({"method": optim.BFGS(), "gtol": 1}, "a solver has its options already"),
        ({"jac": "2-point"}, "jac: expected a function, True or None, found '2-point'"),
        ({"hess": 3, "method": "Newton"}, "hess: expected a function"),
        ({"gtol": np.nan}, r"LBFGS\(gtol=...\): expected a finite number"),
        ({"pairs": 0}, r"LBFGS\(pairs=...\): expected > 0, found 0"),
        ({"jac": True}, r"f: expected \(value, gradient\)"),
        (
            {"method": "Newton-trust", "hess": lambda x: np.eye(3)},
            r"hess: expected shape \(2, 2\), found \(3, 3\)",
        ),
    ],
)
def test_bad_input_is_named(arguments: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"f": lambda x: x @ x, "x0": [2.0, 0.5], "jac": lambda x: 2 * x}
    with pytest.raises(UsageError, match=words):
        optim.minimize(**(good | arguments))


def test_line_searches_name_bad_options() -> None:
    with pytest.raises(UsageError, match=r"StrongWolfe\(c2=...\): expected in \[c1, 1\)"):
        optim.StrongWolfe(c1=0.5, c2=0.1)
    with pytest.raises(UsageError, match=r"Armijo\(max_trials=...\): expected >= 1, found 0"):
        optim.Armijo(max_trials=0)


@pytest.mark.parametrize("method", ["Newton-trust", "Newton-Steihaug"])
def test_a_hessian_that_is_not_finite_is_no_convergence(method: str) -> None:
    result = optim.minimize(
        lambda x: x @ x, [1.0, 2.0], lambda x: 2 * x, lambda x: np.full((2, 2), np.nan),
        method=method,
    )  # fmt: skip
    assert result.status == optim.Status.NOT_FINITE


def test_telling_too_little_or_the_wrong_shape_is_named() -> None:
    solver = optim.LBFGS()
    with pytest.raises(UsageError, match=r"jac: expected shape \(1,\), found \(3,\)"):
        solver.tell(solver.init([1.0]), fun=3.0, jac=np.ones(3))
    with pytest.raises(UsageError, match="expected one made by a solver's init"):
        solver.ask(optim.SGD().init(np.zeros(1)))
    with pytest.raises(UsageError, match=r"missing \['jac'\]"):
        solver.tell(solver.init([1.0]), fun=3.0)


# --- parts ---


@given(
    seed=st.integers(0, 10**6), n=st.integers(1, 6), radius=st.floats(1e-3, 1e3), hard=st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_trust_region_steps_fulfil_the_optimality_conditions(
    seed: int, n: int, radius: float, hard: bool
) -> None:
    """Moré & Sorensen: (H + lambda) p = -g, lambda >= 0, lambda (radius - norm(p)) = 0."""
    rng = np.random.default_rng(seed)
    w, c = np.sort(rng.normal(size=n)), rng.normal(size=n)
    if hard:
        c[0] = 0.0
    z = minimise_parabolas(w, c, radius)
    assert np.linalg.norm(z) <= radius * (1 + 1e-5)
    model = c @ z + w @ z**2 / 2
    for _ in range(50):
        other = rng.normal(size=n)
        other *= radius * rng.random() ** (1 / n) / np.linalg.norm(other)
        assert model <= c @ other + w @ other**2 / 2 + 1e-5 * abs(model)


@pytest.mark.parametrize("search", [optim.StrongWolfe(), optim.HagerZhang(), optim.Armijo()])
@given(
    first=st.floats(1e-3, 1e3),
    phi=st.sampled_from(
        [
            (lambda a: -a / (a**2 + 2), lambda a: (a**2 - 2) / (a**2 + 2) ** 2),  # Moré-Thuente 1
            (lambda a: (a - 1) ** 2, lambda a: 2 * (a - 1)),
            (lambda a: np.exp(a) - 3 * a, lambda a: np.exp(a) - 3),
            (lambda a: a - np.log(a + 0.1) * 2, lambda a: 1 - 2 / (a + 0.1)),
        ]
    ),
)
@settings(max_examples=60, deadline=None)
def test_line_searches_fulfil_their_conditions(search: Any, first: float, phi: Any) -> None:
    f, d = phi
    f0, d0 = float(f(0.0)), float(d(0.0))
    lengths = search.search(f0, d0, first)
    with np.errstate(over="ignore"):
        a = next(lengths)
        for _ in range(search.max_trials):
            try:
                a = lengths.send((float(f(a)), float(d(a))))
            except StopIteration as end:
                found = end.value
                break
    assert found is not None
    assert found > 0
    if isinstance(search, optim.HagerZhang):
        assert f(found) <= f0 + search.eps * abs(f0)
        assert d(found) >= search.sigma * d0
    else:
        assert f(found) <= f0 + search.c1 * found * d0
    if isinstance(search, optim.StrongWolfe):
        assert abs(d(found)) <= -search.c2 * d0


@pytest.mark.parametrize("search", [optim.StrongWolfe(), optim.HagerZhang(), optim.Armijo()])
def test_line_searches_cope_with_values_that_are_not_finite(search: Any) -> None:
    lengths = search.search(0.0, -1.0, 64.0)
    a, found = next(lengths), None
    while found is None:
        try:
            a = lengths.send(((a - 1) ** 2 / 2 - 0.5, a - 1) if a < 2 else (np.inf, np.nan))
        except StopIteration as end:
            found = end.value
            break
    assert found is not None
    assert 0 < found < 2
