"""The normal distribution of CMA-ES, and how it learns from a sorted generation.

    x_i ~ m + sigma N(0, C),   y_i = (x_i - m) / sigma,   best first
    y_w     = sum_{w_i > 0} w_i y_i,                 m <- m + sigma y_w                   (41)
    p_s     <- (1 - cs) p_s + sqrt(cs (2 - cs) mu_w) C^-1/2 y_w                           (43)
    sigma   <- sigma exp(cs / ds (|p_s| / E|N(0, I)| - 1))                                (44)
    p_c     <- (1 - cc) p_c + h sqrt(cc (2 - cc) mu_w) y_w                                (45)
    C       <- (1 + c1 d_h - c1 - cmu sum w) C + c1 p_c p_c' + cmu sum w'_i y_i y_i'      (47)

The worse half has negative weights (active CMA-ES), w'_i = w_i n / |C^-1/2 y_i|^2 there. A
diagonal C learns (n + 2) / 3 times as fast (Ros & Hansen, 2008); it is held as its diagonal.

Points that were not drawn from this very distribution are injected (Hansen, 2011): shortened
to |C^-1/2 y| <= sqrt(n) + 2 n / (n + 2), so that none can tear it away; sigma grows by no more
than a factor of e at once.

m        (n,)    mean                   sigma  ()       step
c        (n, n)  or (n,): covariance    root   like c   C^1/2, symmetric
inverse  like c  C^-1/2                 ps pc  (n,)     paths

Hansen (2016), "The CMA evolution strategy: a tutorial", arXiv:1604.00772, whose equations are
numbered here; Hansen (2011), "Injecting external solutions into CMA-ES", arXiv:1110.4181.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..trial import Floats
from .base import Mask

_FLAT = 1e-30  # share of the largest eigenvalue that the others keep at least
_WIDEST = 1.0  # growth of log sigma at once
_ONE = np.ones(1)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The distribution after so many generations; see the head of this file."""

    m: Floats
    sigma: float
    c: Floats
    root: Floats
    inverse: Floats
    ps: Floats
    pc: Floats
    generation: int = 0

    @property
    def scale(self) -> Floats:
        """(n,) standard deviations, in units of sigma."""
        return np.sqrt(self.c if self.c.ndim == 1 else self.c.diagonal())


def start(m: Floats, sigma: float, diagonal: bool) -> Gaussian:
    """N(m, sigma^2 I)."""
    n = len(m)
    c = np.ones(n) if diagonal else np.eye(n)
    return Gaussian(m, sigma, c, c, c, ps=np.zeros(n), pc=np.zeros(n))


@dataclass(frozen=True, eq=False)
class Constants:
    """Weights (lambda,), their sum, and rates of a population; the tutorial's table 1."""

    weights: Floats
    total: float
    mu_w: float
    c1: float
    cmu: float
    cs: float
    ds: float
    cc: float
    chi: float


@lru_cache(maxsize=64)
def constants(n: int, population: int, diagonal: bool = False) -> Constants:
    """The default constants for n coordinates.

    >>> constants(10, 10).weights.round(3).tolist()[:3]
    [0.456, 0.271, 0.162]
    """
    n = max(n, 1)
    raw = math.log((population + 1) / 2) - np.log(np.arange(1, population + 1))  # (49)
    mu = population // 2
    mu_w, mu_minus = (float(w.sum() ** 2 / (w**2).sum()) for w in (raw[:mu], raw[mu:]))
    faster = (n + 2) / 3 if diagonal else 1.0
    c1 = min(faster * 2 / ((n + 1.3) ** 2 + mu_w), 0.5)  # (57)
    cmu = min(1 - c1 - 1e-8, faster * 2 * (mu_w - 2 + 1 / mu_w) / ((n + 2) ** 2 + mu_w))  # (58)
    negative = min(
        1 + c1 / cmu,  # (50)
        1 + 2 * mu_minus / (mu_w + 2),  # (51)
        (1 - c1 - cmu) / (n * cmu),  # (52)
    )
    minus = np.where(raw < 0, raw, 0.0)
    weights = np.where(raw >= 0, raw / raw[raw > 0].sum(), negative * raw / -minus.sum())  # (53)
    cs = (mu_w + 2) / (n + mu_w + 5)  # (55)
    return Constants(
        weights,
        float(weights.sum()),
        mu_w,
        c1,
        cmu,
        cs,
        ds=1 + 2 * max(0.0, math.sqrt((mu_w - 1) / (n + 1)) - 1) + cs,
        cc=(4 + mu_w / n) / (n + 4 + 2 * mu_w / n),  # (56)
        chi=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
    )


def times(matrix: Floats, y: Floats) -> Floats:
    """Rows y (k, n) times a symmetric matrix, or one that is held as its diagonal.

    Row by row, as BLAS rounds a product of many rows differently from that of each.

    >>> times(np.array([2.0, 3.0]), np.ones((1, 2)))
    array([[2., 3.]])
    """
    if matrix.ndim == 1:
        return y * matrix
    return np.asarray((np.ascontiguousarray(y)[:, None, :] @ matrix)[:, 0])


def learn(g: Gaussian, x: Floats, drawn: Mask) -> Gaussian:
    """The distribution after a generation; `settled` has to follow.

    x      (lambda, n) samples, best first
    drawn  (lambda,) which of them this very distribution has drawn
    """
    n, lam = len(g.m), len(x)
    k = constants(n, lam, g.c.ndim == 1)
    y = (x - g.m) / g.sigma
    z = times(g.inverse, y)
    length = np.sqrt((z**2).sum(axis=1))
    if not drawn.all():
        longest = math.sqrt(n) + 2 * n / (n + 2)
        shorter = np.where(drawn, 1.0, longest / np.maximum(length, longest))
        y, z, length = y * shorter[:, None], z * shorter[:, None], length * shorter

    y_w, z_w = (k.weights[: lam // 2] @ each[: lam // 2] for each in (y, z))
    ps = (1 - k.cs) * g.ps + math.sqrt(k.cs * (2 - k.cs) * k.mu_w) * z_w
    norm = math.sqrt(ps @ ps)
    sigma = g.sigma * math.exp(min(k.cs / k.ds * (norm / k.chi - 1), _WIDEST))

    settled_in = math.sqrt(1 - (1 - k.cs) ** (2 * (g.generation + 2)))
    h = norm / settled_in < (1.4 + 2 / (n + 1)) * k.chi
    pc = (1 - k.cc) * g.pc + h * math.sqrt(k.cc * (2 - k.cc) * k.mu_w) * y_w
    w = np.where(k.weights >= 0, k.weights, k.weights * n / (length**2 + 1e-8))  # (46)
    kept = 1 + k.c1 * (1 - h) * k.cc * (2 - k.cc) - k.c1 - k.cmu * k.total
    c = kept * g.c + k.c1 * _square(pc[None], _ONE, g.c) + k.cmu * _square(y, w, g.c)
    m = g.m + g.sigma * y_w
    return Gaussian(m, sigma, c, g.root, g.inverse, ps, pc, g.generation + 1)


def _square(y: Floats, w: Floats, like: Floats) -> Floats:
    """sum w_i y_i y_i', or its diagonal."""
    return w @ y**2 if like.ndim == 1 else (y.T * w) @ y


def settled(g: Gaussian, widest: float) -> tuple[Gaussian, float]:
    """With the roots of its covariance and no deviation above `widest`; its condition number."""
    if not len(g.m):
        return g, 1.0
    full = g.c.ndim == 2
    values, basis = np.linalg.eigh(g.c) if full else (g.c, _ONE)
    most = float(values.max())
    values = np.maximum(values, _FLAT * most)
    d = np.sqrt(values)
    root, inverse = ((basis * d) @ basis.T, (basis / d) @ basis.T) if full else (d, 1 / d)
    sigma = min(g.sigma, widest / float(g.scale.max()))
    return replace(g, sigma=sigma, root=root, inverse=inverse), most / float(values.min())
