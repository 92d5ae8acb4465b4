"""Smooth test problems from the literature, written from their published formulas.

MGH: Moré, Garbow & Hillstrom (1981), "Testing unconstrained optimization software", ACM TOMS 7
(all 35). Moré & Wild (2009), "Benchmarking derivative-free optimization algorithms", SIAM J.
Optim. 20 (53 least-squares problems: 22 functions, several sizes and starts). Others: Conn,
Gould & Toint's CUTE collection, as in Andrei (2008), "An unconstrained optimization test
functions collection", Adv. Model. Optim. 10.

A function takes x of shape (n, ...) and broadcasts over what follows n; it accepts complex x.
So one call on n columns gives an exact gradient or Jacobian, by the complex step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import arctan, cos, exp, log, ones, pi, sin, sqrt, zeros
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Problem:
    """A function and a start. `residuals` if it is a sum of squares."""

    name: str
    f: Function
    x0: Array
    residuals: Function | None = None

    def value(self, x: Array) -> float:
        """f(x)."""
        with np.errstate(all="ignore"):
            return float(self.f(np.asarray(x, dtype=float)))

    def gradient(self, x: Array) -> Array:
        """Its gradient, by the complex step."""
        return self.gradients(np.asarray(x, dtype=float)[:, None])[:, 0]

    def gradients(self, points: Array) -> Array:
        """Gradients at k points (n, k): (n, k)."""
        n, k = points.shape
        moved = points[:, :, None] + 1e-100j * np.eye(n)[:, None, :]
        with np.errstate(all="ignore"):
            return self.f(moved.reshape(n, k * n)).imag.reshape(k, n).T / 1e-100

    def hessian(self, x: Array) -> Array:
        """Its Hessian, by central differences of gradients."""
        h = 6e-6 * np.maximum(abs(x), 1e-2)
        steps = np.diag(h)
        g = self.gradients(np.concatenate([x[:, None] + steps, x[:, None] - steps], axis=1))
        matrix = (g[:, : len(x)] - g[:, len(x) :]) / (2 * h)
        return (matrix + matrix.T) / 2

    def jacobian(self, x: Array) -> Array:
        """Of the residuals, by the complex step."""
        assert self.residuals is not None
        with np.errstate(all="ignore"):
            return self.residuals(x[:, None] + 1e-100j * np.eye(len(x))).imag / 1e-100


def column(t: Any, x: Array) -> Array:
    """Constants t (m,) beside x (n, ...)."""
    return np.asarray(t, dtype=float).reshape(-1, *[1] * (x.ndim - 1))


def counting(m: int, x: Array, first: int = 1) -> Array:
    """first, first + 1, ...: m of them, beside x."""
    return column(np.arange(first, first + m), x)


def stack(*parts: Any) -> Array:
    """Residuals one below the other; each a row (...) or rows (m, ...)."""
    most = max(np.ndim(p) for p in parts)
    rows = [p if np.ndim(p) == most else p[None] for p in map(np.asarray, parts)]
    return np.concatenate(rows)


def rows(*parts: Any) -> Array:
    """Residuals that are one row each."""
    return np.stack(np.broadcast_arrays(*parts))


# --- least squares: Moré, Garbow & Hillstrom, by their numbers -------------------------------

Y_BARD = (0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.1, 4.39)
Y_GAUSS = (
    0.0009, 0.0044, 0.0175, 0.054, 0.1295, 0.242, 0.3521, 0.3989,
    0.3521, 0.242, 0.1295, 0.054, 0.0175, 0.0044, 0.0009,
)  # fmt: skip
Y_MEYER = (
    34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820,
    3307, 2872,
)  # fmt: skip
Y_KOWALIK = (0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246)
U_KOWALIK = (4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)
Y_OSBORNE1 = (
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.85, 0.818, 0.784, 0.751, 0.718, 0.685,
    0.658, 0.628, 0.603, 0.58, 0.558, 0.538, 0.522, 0.506, 0.49, 0.478, 0.467, 0.457, 0.448,
    0.438, 0.431, 0.424, 0.42, 0.414, 0.411, 0.406,
)  # fmt: skip
Y_OSBORNE2 = (
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608,
    0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661,
    0.612, 0.558, 0.533, 0.495, 0.5, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428,
    0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559,
    0.597, 0.625, 0.739, 0.71, 0.729, 0.72, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054,
)  # fmt: skip


def rosenbrock(x: Array) -> Array:
    """1 and 21, extended."""
    return stack(10 * (x[1::2] - x[::2] ** 2), 1 - x[::2])


def freudenstein_roth(x: Array) -> Array:
    """2: a second minimum, not zero."""
    return rows(
        x[0] - 13 + ((5 - x[1]) * x[1] - 2) * x[1], x[0] - 29 + ((x[1] + 1) * x[1] - 14) * x[1]
    )


def powell_badly_scaled(x: Array) -> Array:
    """3."""
    return rows(1e4 * x[0] * x[1] - 1, exp(-x[0]) + exp(-x[1]) - 1.0001)


def brown_badly_scaled(x: Array) -> Array:
    """4."""
    return rows(x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2)


def beale(x: Array) -> Array:
    """5."""
    return rows(*[y - x[0] * (1 - x[1] ** i) for i, y in ((1, 1.5), (2, 2.25), (3, 2.625))])


def jennrich_sampson(x: Array) -> Array:
    """6."""
    i = counting(10, x)
    return 2 + 2 * i - (exp(i * x[0]) + exp(i * x[1]))


def helical_valley(x: Array) -> Array:
    """7."""
    turn = arctan(x[1] / x[0]) / (2 * pi) + np.where(x[0].real < 0, 0.5, 0.0)
    return rows(10 * (x[2] - 10 * turn), 10 * (sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2])


def bard(x: Array) -> Array:
    """8."""
    u = counting(15, x)
    v = 16 - u
    return column(Y_BARD, x) - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


def gaussian(x: Array) -> Array:
    """9."""
    t = (8 - counting(15, x)) / 2
    return x[0] * exp(-x[1] * (t - x[2]) ** 2 / 2) - column(Y_GAUSS, x)


def meyer(x: Array) -> Array:
    """10."""
    return x[0] * exp(x[1] / (45 + 5 * counting(16, x) + x[2])) - column(Y_MEYER, x)


def gulf(x: Array) -> Array:
    """11."""
    t = counting(99, x) / 100
    u = 25 + (-50 * log(t)) ** (2 / 3) - x[1]
    size = np.where(u.real < 0, -u, u)
    return exp(-(size ** x[2]) / x[0]) - t


def box3(x: Array) -> Array:
    """12."""
    t = counting(10, x) / 10
    return exp(-t * x[0]) - exp(-t * x[1]) - x[2] * (exp(-t) - exp(-10 * t))


def powell_singular(x: Array) -> Array:
    """13 and 22, extended: the Hessian is singular at the solution."""
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    return stack(a + 10 * b, sqrt(5) * (c - d), (b - 2 * c) ** 2, sqrt(10) * (a - d) ** 2)


def wood(x: Array) -> Array:
    """14, extended."""
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    return stack(
        10 * (b - a**2), 1 - a, sqrt(90) * (d - c**2), 1 - c, sqrt(10) * (b + d - 2),
        (b - d) / sqrt(10),
    )  # fmt: skip


def kowalik_osborne(x: Array) -> Array:
    """15."""
    u = column(U_KOWALIK, x)
    return column(Y_KOWALIK, x) - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x: Array) -> Array:
    """16."""
    t = counting(20, x) / 5
    return (x[0] + t * x[1] - exp(t)) ** 2 + (x[2] + x[3] * sin(t) - cos(t)) ** 2


def osborne1(x: Array) -> Array:
    """17."""
    t = 10 * counting(33, x, 0)
    return column(Y_OSBORNE1, x) - (x[0] + x[1] * exp(-t * x[3]) + x[2] * exp(-t * x[4]))


def biggs_exp6(x: Array) -> Array:
    """18."""
    t = counting(13, x) / 10
    y = exp(-t) - 5 * exp(-10 * t) + 3 * exp(-4 * t)
    return x[2] * exp(-t * x[0]) - x[3] * exp(-t * x[1]) + x[5] * exp(-t * x[4]) - y


def osborne2(x: Array) -> Array:
    """19."""
    t = counting(65, x, 0) / 10
    y = x[0] * exp(-t * x[4]) + x[1] * exp(-((t - x[8]) ** 2) * x[5])
    y = y + x[2] * exp(-((t - x[9]) ** 2) * x[6]) + x[3] * exp(-((t - x[10]) ** 2) * x[7])
    return column(Y_OSBORNE2, x) - y


def watson(x: Array) -> Array:
    """20."""
    n = len(x)
    powers = (np.arange(1, 30) / 29)[:, None] ** np.arange(n)
    slopes = np.arange(1, n) * powers[:, :-1]
    total = np.tensordot(powers, x, 1)
    return stack(np.tensordot(slopes, x[1:], 1) - total**2 - 1, x[0], x[1] - x[0] ** 2 - 1)


def penalty1(x: Array) -> Array:
    """23."""
    return stack(sqrt(1e-5) * (x - 1), (x**2).sum(0) - 0.25)


def penalty2(x: Array) -> Array:
    """24."""
    n = len(x)
    i = counting(n, x)
    y = exp(i[1:] / 10) + exp(i[:-1] / 10)
    root = sqrt(1e-5)
    first = root * (exp(x[1:] / 10) + exp(x[:-1] / 10) - y)
    second = root * (exp(x[1:] / 10) - exp(-0.1))
    return stack(x[0] - 0.2, first, second, ((n - i + 1) * x**2).sum(0) - 1)


def variably_dimensioned(x: Array) -> Array:
    """25."""
    total = (counting(len(x), x) * (x - 1)).sum(0)
    return stack(x - 1, total, total**2)


def trigonometric(x: Array) -> Array:
    """26."""
    return len(x) - cos(x).sum(0) + counting(len(x), x) * (1 - cos(x)) - sin(x)


def brown_almost_linear(x: Array) -> Array:
    """27."""
    return stack(x[:-1] + x.sum(0) - (len(x) + 1), x.prod(0) - 1)


def boundary_value(x: Array) -> Array:
    """28, discrete."""
    h = 1 / (len(x) + 1)
    t = counting(len(x), x) * h
    edge = zeros((1, *x.shape[1:]))
    padded = np.concatenate([edge, x, edge])
    return 2 * x - padded[:-2] - padded[2:] + h**2 * (x + t + 1) ** 3 / 2


def integral_equation(x: Array) -> Array:
    """29, discrete."""
    n = len(x)
    t = np.arange(1, n + 1) / (n + 1)
    kernel = np.where(t[:, None] >= t, (1 - t[:, None]) * t, t[:, None] * (1 - t))
    return x + np.tensordot(kernel, (x + column(t, x) + 1) ** 3, 1) / (2 * (n + 1))


def broyden_tridiagonal(x: Array) -> Array:
    """30."""
    edge = zeros((1, *x.shape[1:]))
    padded = np.concatenate([edge, x, edge])
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def broyden_banded(x: Array) -> Array:
    """31."""
    n = len(x)
    band = np.tri(n, k=1) - np.tri(n, k=-6) - np.eye(n)
    return x * (2 + 5 * x**2) + 1 - np.tensordot(band, x * (1 + x), 1)


def linear_full(m: int) -> Function:
    """32."""

    def residuals(x: Array) -> Array:
        extra = zeros((m - len(x), *x.shape[1:]))
        return np.concatenate([x, extra]) - 2 * x.sum(0) / m - 1

    return residuals


def linear_rank1(m: int) -> Function:
    """33."""
    return lambda x: counting(m, x) * (counting(len(x), x) * x).sum(0) - 1


def linear_rank1_zero(m: int) -> Function:
    """34: zero columns and rows."""

    def residuals(x: Array) -> Array:
        total = (counting(len(x), x) * x)[1:-1].sum(0)
        inner = counting(m, x, 0)
        inner[-1] = 0
        return inner * total - 1

    return residuals


def chebyquad(m: int) -> Function:
    """35."""

    def residuals(x: Array) -> Array:
        before, now = ones(1), 2 * x - 1
        means = []
        for i in range(1, m + 1):
            means.append(now.mean(0) + (1 / (i * i - 1) if i % 2 == 0 else 0))
            before, now = now, 2 * (2 * x - 1) * now - before
        return rows(*means)

    return residuals


# --- least squares: Moré & Wild's others -----------------------------------------------------


def bdqrtic(x: Array) -> Array:
    """BDQRTIC."""
    quartic = x[:-4] ** 2 + 2 * x[1:-3] ** 2 + 3 * x[2:-2] ** 2 + 4 * x[3:-1] ** 2
    return stack(3 - 4 * x[:-4], quartic + 5 * x[-1] ** 2)


def cube(x: Array) -> Array:
    """CUBE, extended."""
    return stack(x[0] - 1, 10 * (x[1:] - x[:-1] ** 3))


def mancino_sum(x: Array) -> Array:
    """The sum in MANCINO."""
    i = np.arange(1, len(x) + 1)
    ratio = column((i[:, None] / i).ravel(), x).reshape(len(x), len(x), *[1] * (x.ndim - 1))
    v = sqrt(x[:, None] ** 2 + ratio)
    return (v * (sin(log(v)) ** 5 + cos(log(v)) ** 5)).sum(1)


def mancino(x: Array) -> Array:
    """MANCINO."""
    return 1400 * x + (counting(len(x), x) - 50) ** 3 + mancino_sum(x)


def heart8(x: Array) -> Array:
    """HEART8LS."""
    a, b, c, d, t, u, v, w = x
    return rows(
        a + b + 0.69,
        c + d + 0.044,
        t * a + u * b - v * c - w * d + 1.57,
        v * a + w * b + t * c + u * d + 1.31,
        a * (t**2 - v**2) - 2 * c * t * v + b * (u**2 - w**2) - 2 * d * u * w + 2.65,
        c * (t**2 - v**2) + 2 * a * t * v + d * (u**2 - w**2) + 2 * b * u * w - 2,
        a * t * (t**2 - 3 * v**2) + c * v * (v**2 - 3 * t**2)
        + b * u * (u**2 - 3 * w**2) + d * w * (w**2 - 3 * u**2) + 12.6,
        c * t * (t**2 - 3 * v**2) - a * v * (v**2 - 3 * t**2)
        + d * u * (u**2 - 3 * w**2) - b * w * (w**2 - 3 * u**2) - 9.48,
    )  # fmt: skip


HEART = (-0.3, -0.39, 0.3, -0.344, -1.2, 2.69, 1.59, -1.5)
OSBORNE2 = (1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5)


def squares(name: str, residuals: Function, x0: Any) -> Problem:
    """The sum of squared residuals."""
    start = np.array(x0, dtype=float)
    return Problem(name, lambda x: (residuals(x) ** 2).sum(0), start, residuals)


def mancino_start(n: int) -> Array:
    """As published: from the function at zero."""
    return -8.710996e-4 * ((np.arange(1, n + 1) - 50.0) ** 3 + mancino_sum(zeros(n)))


def more_wild() -> list[Problem]:
    """The 53 least-squares problems of Moré & Wild; a suffix x10 means 10 times the start."""
    chosen: list[tuple[str, Function, Any, tuple[int, ...]]] = [
        ("linear-full", linear_full(45), ones(9), (1, 10)),
        ("linear-rank1", linear_rank1(35), ones(7), (1, 10)),
        ("linear-rank1-zero", linear_rank1_zero(35), ones(7), (1, 10)),
        ("rosenbrock", rosenbrock, (-1.2, 1), (1, 10)),
        ("helical", helical_valley, (-1, 0, 0), (1, 10)),
        ("powell-singular", powell_singular, (3, -1, 0, 1), (1, 10)),
        ("freudenstein-roth", freudenstein_roth, (0.5, -2), (1, 10)),
        ("bard", bard, ones(3), (1, 10)),
        ("kowalik-osborne", kowalik_osborne, (0.25, 0.39, 0.415, 0.39), (1,)),
        ("meyer", meyer, (0.02, 4000, 250), (1,)),
        *[(f"watson{n}", watson, 0.5 * ones(n), (1, 10)) for n in (6, 9, 12)],
        ("box3", box3, (0, 10, 20), (1,)),
        ("jennrich-sampson", jennrich_sampson, (0.3, 0.4), (1,)),
        ("brown-dennis", brown_dennis, (25, 5, -5, -1), (1, 10)),
        *[
            (f"chebyquad{n}", chebyquad(n), np.arange(1, n + 1) / (n + 1), (1,))
            for n in range(6, 12)
        ],
        ("brown-linear", brown_almost_linear, 0.5 * ones(10), (1,)),
        ("osborne1", osborne1, (0.5, 1.5, 1, 0.01, 0.02), (1,)),
        ("osborne2", osborne2, OSBORNE2, (1, 10)),
        *[(f"bdqrtic{n}", bdqrtic, ones(n), (1,)) for n in (8, 10, 11, 12)],
        *[(f"cube{n}", cube, 0.5 * ones(n), (1,)) for n in (5, 6, 8)],
        ("mancino5", mancino, mancino_start(5), (1, 10)),
        ("mancino8", mancino, mancino_start(8), (1,)),
        ("mancino10", mancino, mancino_start(10), (1,)),
        ("mancino12", mancino, mancino_start(12), (1, 10)),
        ("heart8", heart8, HEART, (1, 10)),
    ]
    return [
        squares(name if k == 1 else f"{name}x{k}", r, k * np.array(x0, dtype=float))
        for name, r, x0, factors in chosen
        for k in factors
    ]


# --- general functions of n parameters -------------------------------------------------------


def arwhead(x: Array) -> Array:
    return ((x[:-1] ** 2 + x[-1] ** 2) ** 2 - 4 * x[:-1] + 3).sum(0)


def engval1(x: Array) -> Array:
    return ((x[:-1] ** 2 + x[1:] ** 2) ** 2 - 4 * x[:-1] + 3).sum(0)


def cosine(x: Array) -> Array:
    return cos(x[:-1] ** 2 - 0.5 * x[1:]).sum(0)


def cragglvy(x: Array) -> Array:
    a, b, c, d = x[:-3:2], x[1:-2:2], x[2:-1:2], x[3::2]
    pull = np.tan(c - d) ** 4
    return ((exp(a) - b) ** 4 + 100 * (b - c) ** 6 + pull + a**8 + (d - 1) ** 2).sum(0)


def chnrosnb(x: Array) -> Array:
    return (16 * (x[:-1] - x[1:] ** 2) ** 2 + (x[1:] - 1) ** 2).sum(0)


def dixon_price(x: Array) -> Array:
    return (x[0] - 1) ** 2 + (counting(len(x) - 1, x, 2) * (2 * x[1:] ** 2 - x[:-1]) ** 2).sum(0)


def dqrtic(x: Array) -> Array:
    return ((x - counting(len(x), x)) ** 4).sum(0)


def edensch(x: Array) -> Array:
    a, b = x[:-1], x[1:]
    return 16 + ((a - 2) ** 4 + (a * b - 2 * b) ** 2 + (b + 1) ** 2).sum(0)


def eg2(x: Array) -> Array:
    return sin(x[0] + x[:-1] ** 2 - 1).sum(0) + sin(x[-1] ** 2) / 2


def errinros(x: Array) -> Array:
    return ((x[:-1] - 16 * 0.9**2 * x[1:] ** 2) ** 2 + (x[1:] - 1) ** 2).sum(0)


def fletchcr(x: Array) -> Array:
    return (100 * (x[1:] - x[:-1] + 1 - x[:-1] ** 2) ** 2).sum(0)


def generalised_rosenbrock(x: Array) -> Array:
    return 1 + (100 * (x[1:] - x[:-1] ** 2) ** 2 + (x[1:] - 1) ** 2).sum(0)


def genhumps(x: Array) -> Array:
    wave = (sin(2 * x[:-1]) * sin(2 * x[1:])) ** 2
    return (wave + 0.05 * (x[:-1] ** 2 + x[1:] ** 2)).sum(0)


def hilbert(x: Array) -> Array:
    i = np.arange(len(x))
    return (x * np.tensordot(1 / (1 + i[:, None] + i), x, 1)).sum(0) / 2


def liarwhd(x: Array) -> Array:
    return (4 * (x**2 - x[0]) ** 2 + (x - 1) ** 2).sum(0)


def nondia(x: Array) -> Array:
    return (x[0] - 1) ** 2 + (100 * (x[0] - x[:-1] ** 2) ** 2).sum(0)


def nondquar(x: Array) -> Array:
    inner = ((x[:-2] + x[1:-1] + x[-1]) ** 4).sum(0)
    return (x[0] - x[1]) ** 2 + (x[-2] + x[-1]) ** 2 + inner


def power(x: Array) -> Array:
    return ((counting(len(x), x) * x) ** 2).sum(0)


def sinquad(x: Array) -> Array:
    inner = (sin(x[1:-1] - x[-1]) - x[0] ** 2 + x[1:-1] ** 2) ** 2
    return (x[0] - 1) ** 4 + inner.sum(0) + (x[-1] ** 2 - x[0] ** 2) ** 2


def tquartic(x: Array) -> Array:
    return (x[0] - 1) ** 2 + ((x[0] ** 2 - x[1:] ** 2) ** 2).sum(0)


def tridia(x: Array) -> Array:
    return (x[0] - 1) ** 2 + (counting(len(x) - 1, x, 2) * (2 * x[1:] - x[:-1]) ** 2).sum(0)


def dixmaana(x: Array) -> Array:
    n, m = len(x), len(x) // 3
    return (
        1 + (x**2).sum(0) + (0.125 * x[: 2 * m] ** 2 * x[m:] ** 4).sum(0)
        + (0.125 * x[:m] * x[2 * m : n]).sum(0)
    )  # fmt: skip


def dixmaani(x: Array) -> Array:
    n, m = len(x), len(x) // 3
    i = (counting(n, x) / n) ** 2
    return (
        1 + (i * x**2).sum(0) + (0.125 * x[: 2 * m] ** 2 * x[m:] ** 4).sum(0)
        + (0.125 * i[:m] * x[:m] * x[2 * m : n]).sum(0)
    )  # fmt: skip


def exponential_sum(x: Array) -> Array:
    """Extended TET."""
    a, b = x[::2], x[1::2]
    return (exp(a + 3 * b - 0.1) + exp(a - 3 * b - 0.1) + exp(-a - 0.1)).sum(0)


def himmelblau(x: Array) -> Array:
    """Extended."""
    a, b = x[::2], x[1::2]
    return ((a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2).sum(0)


def psc1(x: Array) -> Array:
    """Extended PSC1."""
    a, b = x[::2], x[1::2]
    return ((a**2 + b**2 + a * b) ** 2 + sin(a) ** 2 + cos(b) ** 2).sum(0)


def raydan1(x: Array) -> Array:
    return (counting(len(x), x) / 10 * (exp(x) - x)).sum(0)


def quartc_coupled(x: Array) -> Array:
    """Diagonal quartic with a rank-one coupling (Andrei's perturbed quadratic)."""
    return (counting(len(x), x) * x**2).sum(0) + x.sum(0) ** 2 / 100


def logistic(x: Array) -> Array:
    """Logistic regression on fixed data, lightly regularised: convex."""
    n = len(x)
    data = sin(np.outer(np.arange(1, 3 * n + 1), np.arange(1, n + 1)) ** 1.1)
    sign = np.where(cos(np.arange(3 * n) * 7.0) > 0, 1.0, -1.0)
    margin = column(sign, x) * np.tensordot(data, x, 1)
    return np.log(1 + exp(-margin)).sum(0) + 1e-4 * (x**2).sum(0)


def mgh() -> list[Problem]:
    """The 35 functions of Moré, Garbow & Hillstrom as minimisation problems."""
    n = 20
    i = np.arange(1, n + 1)
    return [
        squares("rosenbrock", rosenbrock, (-1.2, 1)),
        squares("freudenstein-roth", freudenstein_roth, (0.5, -2)),
        squares("powell-badly-scaled", powell_badly_scaled, (0, 1)),
        squares("brown-badly-scaled", brown_badly_scaled, (1, 1)),
        squares("beale", beale, (1, 1)),
        squares("jennrich-sampson", jennrich_sampson, (0.3, 0.4)),
        squares("helical", helical_valley, (-1, 0, 0)),
        squares("bard", bard, ones(3)),
        squares("gaussian", gaussian, (0.4, 1, 0)),
        squares("meyer", meyer, (0.02, 4000, 250)),
        squares("gulf", gulf, (5, 2.5, 0.15)),
        squares("box3", box3, (0, 10, 20)),
        squares("powell-singular", powell_singular, (3, -1, 0, 1)),
        squares("wood", wood, (-3, -1, -3, -1)),
        squares("kowalik-osborne", kowalik_osborne, (0.25, 0.39, 0.415, 0.39)),
        squares("brown-dennis", brown_dennis, (25, 5, -5, -1)),
        squares("osborne1", osborne1, (0.5, 1.5, -1, 0.01, 0.02)),
        squares("biggs-exp6", biggs_exp6, (1, 2, 1, 1, 1, 1)),
        squares("osborne2", osborne2, OSBORNE2),
        squares("watson", watson, zeros(9)),
        squares("extended-rosenbrock", rosenbrock, np.tile([-1.2, 1], n // 2)),
        squares("extended-powell", powell_singular, np.tile([3, -1, 0, 1], n // 4)),
        squares("penalty1", penalty1, i[:10]),
        squares("penalty2", penalty2, ones(10) / 2),
        squares("variably-dimensioned", variably_dimensioned, 1 - i / n),
        squares("trigonometric", trigonometric, ones(n) / n),
        squares("brown-almost-linear", brown_almost_linear, ones(n) / 2),
        squares("boundary-value", boundary_value, i / (n + 1) * (i / (n + 1) - 1)),
        squares("integral-equation", integral_equation, i / (n + 1) * (i / (n + 1) - 1)),
        squares("broyden-tridiagonal", broyden_tridiagonal, -ones(n)),
        squares("broyden-banded", broyden_banded, -ones(n)),
        squares("linear-full", linear_full(2 * n), ones(n)),
        squares("linear-rank1", linear_rank1(2 * n), ones(n)),
        squares("linear-rank1-zero", linear_rank1_zero(2 * n), ones(n)),
        squares("chebyquad", chebyquad(8), np.arange(1, 9) / 9),
    ]


def unconstrained() -> list[Problem]:
    """MGH's 35 and 34 general functions, the latter with n = 20 and n = 60: 103 problems."""
    general: list[tuple[str, Function, Callable[[int], Any]]] = [
        ("arwhead", arwhead, ones),
        ("bdqrtic", lambda x: (bdqrtic(x) ** 2).sum(0), ones),
        ("boundary-value", lambda x: (boundary_value(x) ** 2).sum(0), lambda n: -0.5 * ones(n)),
        ("broyden", lambda x: (broyden_tridiagonal(x) ** 2).sum(0), lambda n: -ones(n)),
        ("chnrosnb", chnrosnb, lambda n: -ones(n)),
        ("cosine", cosine, ones),
        ("cragglvy", cragglvy, lambda n: np.r_[1.0, 2 * ones(n - 1)]),
        ("cube", lambda x: (cube(x) ** 2).sum(0), lambda n: ones(n) / 2),
        ("dixmaana", dixmaana, lambda n: 2 * ones(n - n % 3)),
        ("dixmaani", dixmaani, lambda n: 2 * ones(n - n % 3)),
        ("dixon-price", dixon_price, ones),
        ("dqrtic", dqrtic, lambda n: 2 * ones(n)),
        ("edensch", edensch, zeros),
        ("eg2", eg2, ones),
        ("engval1", engval1, lambda n: 2 * ones(n)),
        ("errinros", errinros, lambda n: -ones(n)),
        ("exponential", exponential_sum, lambda n: 0.1 * ones(n)),
        ("fletchcr", fletchcr, zeros),
        ("genhumps", genhumps, lambda n: np.r_[-506.0, 506.2 * ones(n - 1)] / 100),
        ("genrose", generalised_rosenbrock, lambda n: np.arange(1, n + 1) / (n + 1)),
        ("hilbert", hilbert, ones),
        ("himmelblau", himmelblau, ones),
        ("liarwhd", liarwhd, lambda n: 4 * ones(n)),
        ("logistic", logistic, zeros),
        ("nondia", nondia, lambda n: -ones(n)),
        ("nondquar", nondquar, lambda n: np.tile([1.0, -1.0], n // 2)),
        ("perturbed-quadratic", quartc_coupled, lambda n: ones(n) / 2),
        ("power", power, ones),
        ("psc1", psc1, lambda n: np.tile([3.0, 0.1], n // 2)),
        ("raydan1", raydan1, ones),
        ("sinquad", sinquad, lambda n: 0.1 * ones(n)),
        ("tquartic", tquartic, lambda n: 0.1 * ones(n)),
        ("tridia", tridia, ones),
        ("woods", lambda x: (wood(x) ** 2).sum(0), lambda n: np.tile([-3.0, -1], n // 2)),
    ]
    return mgh() + [
        Problem(f"{name}-{n}", f, np.asarray(start(n), dtype=float))
        for n in (20, 60)
        for name, f, start in general
    ]
