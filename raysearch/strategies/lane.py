"""One start of a gradient search: where it is, what it wants evaluated, how it moves on.

A lane stands at a candidate x. It wants x evaluated; then, if no gradient came with the loss,
probes near x; then it steps:

    rule     x <- x - lr * step of a rule of the optimizer core
    L-BFGS   x <- x + p, p = -H g, no entry beyond `reach`; if the loss has risen, back to where it
             was best and on with reach / 4

    SPSA           g = (f(b + c s) - f(b - c s)) / (2 c) s,   s random signs, b = x moved off edges
    differences    g_j = (f(b + c e_j) - f(b - c e_j)) / (2 c)

Spall (1992), "Multivariate stochastic approximation using a simultaneous perturbation gradient
approximation"; Liu & Nocedal (1989) for L-BFGS.

x (d,) candidate    g (d,) gradient    p (d,) step    c () half the distance of probes
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..optim import RULES
from ..optim.quasi_newton import curved, two_loops
from ..trial import Floats, Ints

PAIRS = 10
#: role of a lane's candidate; its probes have the roles 0, 1, 2, ...
CANDIDATE = -1


@dataclass(frozen=True, eq=False)
class Lane:
    """A start and its descent.

    outer    (1,) number of the start, as the outer strategy knows it
    start    (d,) where it began
    free     (d,) which coordinates move
    x, f     the candidate and its loss; NaN: not told yet
    at       (d,) the best point so far; g: (d,) the gradient there; best: its loss
    reach    the longest step in each coordinate
    steps    how many candidates have been told
    history  the best losses of the last steps
    probes   (r, d) points around x; seen: (r,) their losses
    asked    (r + 1,) what has been asked: probes, and last the candidate
    s, y     (k, d) past steps and changes of the gradient
    names, arrays  the rule's state
    """

    outer: Ints
    start: Floats
    free: NDArray[np.bool_]
    x: Floats
    f: float
    at: Floats
    g: Floats
    best: float
    reach: float
    probes: Floats
    seen: Floats
    asked: NDArray[np.bool_]
    s: Floats
    y: Floats
    steps: int = 0
    history: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    arrays: tuple[Floats, ...] = ()

    def wants(self) -> list[int]:
        """Roles that have not been asked yet."""
        roles = [*range(len(self.probes)), CANDIDATE]
        return [role for role, asked in zip(roles, self.asked, strict=True) if not asked]

    def place(self, role: int) -> Floats:
        """(d,) the point of a role."""
        return self.x if role == CANDIDATE else self.probes[role]

    def ask(self, role: int) -> Lane:
        """The lane that waits for a role's result."""
        asked = self.asked.copy()
        asked[role] = True
        return replace(self, asked=asked)


def begun(outer: Ints, x: Floats, free: NDArray[np.bool_], reach: float) -> Lane:
    """A lane at its start."""
    none = np.empty((0, x.size))
    return Lane(
        outer, x, free, x, math.nan, x, np.full(x.size, np.nan), math.inf, reach,
        none, np.empty(0), np.zeros(1, dtype=bool), none, none,
    )  # fmt: skip


def probed(lane: Lane, method: str, spread: float, draws: Floats) -> Lane:
    """The lane with probes around its candidate, to be asked; draws (d,) are uniform in [0, 1)."""
    signs = np.where(draws < 0.5, -1.0, 1.0)
    room = spread * (1 + draws)  # differs, so that probes at an edge do not come twice
    base = np.where(lane.free, np.clip(lane.x, room, 1 - room), lane.x)
    if method == "spsa":
        ways = np.where(lane.free, signs, 0.0)[None]
    else:
        ways = np.eye(lane.x.size)[lane.free]
    probes = np.concatenate([base + spread * ways, base - spread * ways])
    asked = np.append(np.zeros(len(probes), dtype=bool), True)
    return replace(lane, probes=probes, seen=np.full(len(probes), np.nan), asked=asked)


def slope(lane: Lane, method: str, spread: float) -> Floats:
    """(d,) the gradient that the probes show; NaN where one has failed."""
    ahead, behind = np.split(lane.seen, 2)
    with np.errstate(invalid="ignore"):  # of two that failed
        rise = (ahead - behind) / (2 * spread)
    g = np.zeros(lane.x.size)
    if method == "spsa":
        way = np.sign(lane.probes[0] - lane.probes[1])
        g[lane.free] = rise[0] * way[lane.free]
    else:
        g[lane.free] = rise
    return g


def moved(lane: Lane, g: Floats, rule: str, rate: float) -> Lane:
    """The lane with its next candidate, given the gradient (d,) at the one just told."""
    free, x = lane.free, lane.x
    g = np.where(free, g, 0.0)
    if rule != "L-BFGS":
        lane = replace(lane, at=x, g=g) if lane.f <= lane.best else lane
        return _by_rule(lane, g, rule, rate)
    if not lane.f <= lane.best:  # too far
        return back(lane)
    s, y, reach = lane.s, lane.y, lane.reach
    if lane.steps > 1:
        step, change = x - lane.at, g - lane.g
        if curved(step, change):
            s, y = np.vstack([s, step])[-PAIRS:], np.vstack([y, change])[-PAIRS:]
        reach = min(2 * reach, 0.5) if np.abs(step).max() >= 0.99 * reach else reach
    lane = replace(lane, at=x, g=g, s=s, y=y, reach=reach)
    return _candidate(lane, x + _quasi_newton(lane))


def back(lane: Lane) -> Lane:
    """The lane on a shorter way from its best point."""
    lane = replace(lane, reach=float(np.abs(lane.x - lane.at).max()) / 4)
    return _candidate(lane, lane.at + _quasi_newton(lane))


def _quasi_newton(lane: Lane) -> Floats:
    g, x = lane.g, lane.at
    g = np.where(((x <= 0) & (g > 0)) | ((x >= 1) & (g < 0)), 0.0, g)  # against a bound
    p = -two_loops(lane.s, lane.y, g) if len(lane.s) else -g
    p = np.where(g == 0, 0.0, p)
    if not (np.isfinite(p).all() and p @ g < 0):
        p = -g
    longest = float(np.abs(p).max())
    if not len(lane.s):
        return p * (lane.reach / longest) if longest else p
    return p * min(1.0, lane.reach / longest) if longest else p


def _by_rule(lane: Lane, g: Floats, rule: str, rate: float) -> Lane:
    method, x = RULES[rule](), lane.x.copy()
    state = method.init(x)
    if lane.names:
        state.restore(dict(zip(lane.names, lane.arrays, strict=True)))
    method.step(x, g, state, lr=rate)
    kept = state.arrays()
    lane = replace(lane, names=tuple(kept), arrays=tuple(kept.values()))
    return _candidate(lane, np.where(lane.free, x, lane.x))


def _candidate(lane: Lane, x: Floats) -> Lane:
    none = np.empty((0, x.size))
    return replace(
        lane, x=np.clip(x, 0, 1), f=math.nan,
        probes=none, seen=np.empty(0), asked=np.zeros(1, dtype=bool),
    )  # fmt: skip
