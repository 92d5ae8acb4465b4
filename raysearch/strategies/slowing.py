"""How fast CMA-ES may learn, measured as it goes: for noise and for many valleys.

Each update of the mean, and of S = sigma^2 C, is made longer or shorter by a factor eta, which
keeps the signal of the updates over their noise at alpha eta:

    D_m = S^-1/2 dm,   D_S = S^-1/2 dS S^-1/2 / sqrt(2)                    local coordinates
    E <- (1 - b) E + b D,   V <- (1 - b) V + b |D|^2
    SNR = (|E|^2 - b / (2 - b) V) / (V - |E|^2)
    eta <- min(1, eta exp(min(g eta, b) clip(SNR / (alpha eta) - 1, -1, 1)))
    m <- m + eta_m dm,   S <- S + eta_S dS,   sigma <- sigma eta_m(before) / eta_m

Nomura, Akimoto & Ono (2023), "CMA-ES with learning rate adaptation", GECCO, arXiv:2304.03473.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..trial import Floats
from .gaussian import Gaussian, times

_ALPHA, _GAMMA = 1.4, 0.1
_DECAY_M, _DECAY_S = 0.1, 0.03


@dataclass(frozen=True, eq=False)
class Signal:
    """One quantity's updates: their mean (any shape), mean squared length, and rate."""

    e: Floats
    v: float = 0.0
    eta: float = 1.0

    def after(self, step: Floats, decay: float) -> Signal:
        """With one more step, in local coordinates."""
        e = (1 - decay) * self.e + decay * step
        v = (1 - decay) * self.v + decay * float((step**2).sum())
        square = float((e**2).sum())
        noise = v - square
        ratio = (square - decay / (2 - decay) * v) / noise if noise > 0 else math.inf
        drift = min(max(ratio / (_ALPHA * self.eta) - 1, -1.0), 1.0)
        eta = min(1.0, self.eta * math.exp(min(_GAMMA * self.eta, decay) * drift))
        return Signal(e, v, eta)


@dataclass(frozen=True, eq=False)
class Rates:
    """The signals of the mean and of the covariance."""

    m: Signal
    s: Signal


def first_rates(g: Gaussian) -> Rates:
    """Nothing seen yet."""
    return Rates(Signal(np.zeros_like(g.m)), Signal(np.zeros_like(g.c)))


def slowed(rates: Rates, old: Gaussian, new: Gaussian) -> tuple[Rates, Gaussian]:
    """The update from old to new, made as long as its signal deserves."""
    n = len(old.m)
    dm = new.m - old.m
    before = old.sigma**2 * old.c
    ds = new.sigma**2 * new.c - before
    local = times(old.inverse, times(old.inverse, ds).T).T / old.sigma**2
    m = rates.m.after(times(old.inverse, dm[None])[0] / old.sigma, _DECAY_M)
    s = rates.s.after(local / math.sqrt(2), _DECAY_S)
    both = before + s.eta * ds
    log_det = float(np.log(both).sum() if both.ndim == 1 else np.linalg.slogdet(both)[1])
    sigma = math.exp(log_det / (2 * n))
    slower = replace(
        new,
        m=old.m + m.eta * dm,
        c=both / sigma**2,
        sigma=sigma * rates.m.eta / m.eta,
    )
    return Rates(m, s), slower
