"""Derivatives from function values: differences, the complex step, and checks by them.

Steps are relative to the size of each parameter. With eps the rounding unit, the error of a
forward difference is least for steps of about sqrt(eps) times the scale of x, that of a
central one for cbrt(eps); the complex step has no cancellation at all.

Nocedal & Wright (2006), Numerical Optimization, sec. 8.1. Squire & Trapp (1998), "Using
complex variables to estimate derivatives of real functions", SIAM Rev. 40.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .machine import as_point

Floats = NDArray[np.float64]
Scheme = Literal["forward", "central", "complex"]

EPS = float(np.finfo(np.float64).eps)
STEPS = {"forward": EPS ** (1 / 2), "central": EPS ** (1 / 3), "complex": 1e-100}


def step_sizes(x: Floats, scheme: Scheme, typical: Floats | None = None) -> Floats:
    """h (n,): the scheme's relative step times the size of each parameter.

    typical  (n,) sizes to fall back on near zero; None: 1. A parameter counts as 1e-6 of it at
             least, and as the whole of it where it is exactly 0
    """
    if scheme not in STEPS:
        raise UsageError(f"scheme: expected one of {list(STEPS)}, found {scheme!r}")
    typical = np.ones_like(x) if typical is None else np.where(typical == 0, 1.0, abs(typical))
    size: Floats = np.where(x == 0, typical, np.maximum(abs(x), 1e-6 * typical))
    return np.asarray(STEPS[scheme] * size)


def jacobian(
    f: Callable[[Any], ArrayLike],
    x: ArrayLike,
    scheme: Scheme = "central",
    *,
    f0: ArrayLike | None = None,
    typical: Floats | None = None,
    bounds: tuple[Floats, Floats] | None = None,
) -> Floats:
    """The Jacobian of f at x, by differences.

    J[i, j] = (f_i(x + h_j e_j) - f_i(x)) / h_j                   forward: n calls, error ~1e-8
    J[i, j] = (f_i(x + h_j e_j) - f_i(x - h_j e_j)) / (2 h_j)     central: 2n calls, ~1e-10
    J[i, j] = Im f_i(x + i h_j e_j) / h_j                         complex: n calls, exact

    f        from (n,) to (m,), or to a number. For "complex" it must be made of analytic
             functions and accept complex x
    x        (n,) where
    f0       f(x) if known; saves "forward" a call
    typical  sizes of the parameters, see `step_sizes`
    bounds   lower and upper (n,): steps that would leave them turn back ("forward") or become
             one-sided, of the same order ("central")

    Returns (m, n), or (n,) for a number.

    >>> jacobian(lambda x: x**2, [1.0, 3.0], "complex")
    array([[2., 0.],
           [0., 6.]])
    """
    x = as_point(x)
    h = step_sizes(x, scheme, typical)
    if scheme == "complex":
        columns = [np.imag(f(x + 1j * e)) / e[j] for j, e in enumerate(np.diag(h))]
        return np.stack(columns, axis=-1).astype(np.float64)
    lower, upper = bounds if bounds is not None else (-np.inf, np.inf)
    up, down = np.broadcast_to(upper - x, x.shape), np.broadcast_to(x - lower, x.shape)

    def value(j: int, step: float) -> Floats:
        moved = x.copy()
        moved[j] += step
        return np.asarray(f(moved), dtype=np.float64)

    def centre() -> Floats:
        nonlocal f0
        if f0 is None:
            f0 = f(x)
        return np.asarray(f0, dtype=np.float64)

    columns = []
    for j, size in enumerate(h):
        two_sided = scheme == "central" and size <= min(up[j], down[j])
        step = size if up[j] >= size or up[j] >= down[j] else -size
        room = max(up[j], down[j]) / (2 if scheme == "central" else 1)
        step = float(np.copysign(min(abs(step), room), step))
        step = (x[j] + step) - x[j]  # a step that is exact in floating point
        if step == 0:
            columns.append(np.zeros_like(centre()))  # lower == upper: fixed
        elif two_sided:
            columns.append((value(j, step) - value(j, -step)) / (2 * step))
        elif scheme == "central":  # second order on one side
            near, far = value(j, step), value(j, 2 * step)
            columns.append((4 * near - 3 * centre() - far) / (2 * step))
        else:
            columns.append((value(j, step) - centre()) / step)
    return np.stack(columns, axis=-1)


def gradient(
    f: Callable[[Any], Any], x: ArrayLike, scheme: Scheme = "central", **options: Any
) -> Floats:
    """The gradient (n,) of f at x, by differences; arguments as of `jacobian`.

    >>> gradient(lambda x: x @ x, [1.0, 3.0]).round(6)
    array([2., 6.])
    """
    g = jacobian(f, x, scheme, **options)
    if g.ndim != 1:
        raise UsageError(f"f: expected a number, found shape {g.shape[:-1]}; use jacobian")
    return g


def hessian(grad: Callable[[Any], ArrayLike], x: ArrayLike, scheme: Scheme = "central") -> Floats:
    """The Hessian (n, n) from a gradient, by differences, symmetrised.

    >>> hessian(lambda x: 3 * x**2, [1.0, 2.0], "complex")
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    h = jacobian(grad, x, scheme)
    return (h + h.T) / 2


def hessian_product(
    grad: Callable[[Any], ArrayLike], x: ArrayLike, v: ArrayLike, scheme: Scheme = "central"
) -> Floats:
    """H v (n,) from a gradient, at two gradients whatever n: its derivative along v.

    H v = (g(x + h v) - g(x - h v)) / (2 h), with h norm(v) relative to the size of x.

    >>> hessian_product(lambda x: 3 * x**2, [1.0, 2.0], [1.0, 1.0], "complex")
    array([ 6., 12.])
    """
    x, v = as_point(x), as_point(v)
    length = float(np.linalg.norm(v))
    if length == 0:
        return np.zeros_like(x)
    size = float(np.linalg.norm(x)) if x.any() else 1.0
    along = jacobian(
        lambda t: grad(x + t[0] * v), [0.0], scheme, typical=np.array([max(size, 1.0) / length])
    )
    return along[:, 0]


def check_gradient(
    f: Callable[[Any], Any],
    jac: Callable[[Any], ArrayLike] | ArrayLike,
    x: ArrayLike,
    *,
    rtol: float = 1e-5,
) -> None:
    """Raise UsageError naming the wrong entries if jac is not the gradient of f at x.

    f     from (n,) to a number
    jac   its gradient, as a function or as its value at x
    x     (n,) where to check: a point without zeros and symmetries
    rtol  tolerance, relative to the largest entry of the gradient

    >>> check_gradient(lambda x: x @ x, lambda x: 2 * x, [1.0, 2.0])
    """
    _check("gradient", gradient(f, x), jac, x, rtol)


def check_jacobian(
    f: Callable[[Any], ArrayLike],
    jac: Callable[[Any], ArrayLike] | ArrayLike,
    x: ArrayLike,
    *,
    rtol: float = 1e-5,
) -> None:
    """Raise UsageError naming the wrong entries if jac is not the Jacobian of f at x.

    f     from (n,) to (m,)
    jac   its Jacobian (m, n), as a function or as its value at x
    x     (n,) where to check
    rtol  tolerance, relative to the largest entry of the same column

    >>> check_jacobian(lambda x: x**2, lambda x: np.diag(2 * x), [1.0, 2.0])
    """
    _check("jacobian", jacobian(f, x), jac, x, rtol)


def _check(name: str, expected: Floats, jac: Any, x: ArrayLike, rtol: float) -> None:
    found = np.asarray(jac(as_point(x)) if callable(jac) else jac, dtype=np.float64)
    if found.shape != expected.shape:
        raise UsageError(f"{name}: expected shape {expected.shape}, found {found.shape}")
    scale = np.max(abs(expected), axis=None if expected.ndim == 1 else 0)
    wrong = ~(abs(found - expected) <= rtol * np.maximum(scale, rtol))
    if wrong.any():
        entries = np.argwhere(wrong)
        lines = [
            f"  {[int(i) for i in e]}: expected {expected[tuple(e)]:.8g}, "
            f"found {found[tuple(e)]:.8g}"
            for e in entries[:5]
        ]
        more = [f"  and {len(entries) - 5} more"] if len(entries) > 5 else []
        raise UsageError(
            f"{name}: {len(entries)} of {found.size} entries differ from central differences\n"
            + "\n".join(lines + more)
        )
