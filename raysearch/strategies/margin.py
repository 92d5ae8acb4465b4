"""Margins: discrete coordinates of a normal distribution never lose their last variance.

An ordered parameter takes the value in whose stretch of the unit interval the sample lies. A
mean that has come to rest within one stretch would propose that value for ever. So after each
update every coordinate is scaled, and its mean moved, until the values below and above its
own keep a probability of alpha = 1 / (n lambda) between them:

    v = m + a (x - m)        x ~ N(m, sigma^2 C), a (n,) of 1 where continuous

inside   p = P(v <= low), P(high < v) are raised to alpha / 2, the rest of the probability
         shared out again; then a and m follow from
         m - low = -a s Phi^-1(p_low),  high - m = -a s Phi^-1(p_high),  s = sigma sqrt(C_jj)
outside  (an outermost value) m stays within -a s Phi^-1(alpha) of its only threshold

Hamano, Saito, Nomura & Shirakawa (2022), "CMA-ES with margin", GECCO, arXiv:2205.13482.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri

from ..space import Space
from ..trial import Floats
from .coordinates import coordinates, thresholds
from .gaussian import Gaussian

_TAIL = 1e-10  # keeps quantiles finite


def with_margin(space: Space, g: Gaussian, a: Floats, alpha: float) -> tuple[Gaussian, Floats]:
    """The distribution and the scales a (n,) that leave every value its margin."""
    discrete = coordinates(space).discrete
    if not discrete.any():
        return g, a
    low, high = thresholds(space, g.m)
    m, scale = g.m[discrete], a[discrete]
    s = g.sigma * g.scale[discrete]
    below, above = ndtr((low - m) / (scale * s)), ndtr((m - high) / (scale * s))
    between = 1 - (below + above)
    outside = np.maximum(below, above) > 0.5

    near = high + np.sign(m - high) * -ndtri(min(alpha, 0.5 - _TAIL)) * scale * s
    lost = outside & (np.minimum(below, above) < alpha)

    p, q = np.maximum(below, alpha / 2), np.maximum(above, alpha / 2)
    over = (1 - p - q - between) / (p + q + between - 1.5 * alpha)
    p, q = p + over * (p - alpha / 2), q + over * (q - alpha / 2)
    down, up = (-ndtri(np.clip(tail, _TAIL, 0.5 - _TAIL)) for tail in (p, q))
    scale = np.where(outside, scale, (high - low) / ((down + up) * s))
    inside = (low * up + high * down) / (down + up)

    mean, scales = g.m.copy(), a.copy()
    mean[discrete] = np.where(outside, np.where(lost, near, m), inside)
    scales[discrete] = scale
    return replace(g, m=mean), scales
