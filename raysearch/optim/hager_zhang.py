"""Hager and Zhang's line search, which goes on where values differ by rounding errors only.

Hager & Zhang (2005), "A new conjugate gradient method with guaranteed descent and an efficient
line search", SIAM J. Optim. 16; the tags (B, U, S, L, T) are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from .line_search import LineSearch, Point, Search, Trials, secant_zero


@dataclass(frozen=True, kw_only=True)
class HagerZhang(LineSearch):
    """Hager & Zhang's search for the approximate Wolfe conditions.

    Either phi(a) <= phi(0) + delta a phi'(0) and phi'(a) >= sigma phi'(0), or
    (2 delta - 1) phi'(0) >= phi'(a) >= sigma phi'(0) and phi(a) <= phi(0) + eps abs(phi(0)).
    The second form does not compare values that differ by rounding errors only, so the search
    goes on working where others stop; it asks for more trials on the way.

    delta, sigma  0 < delta < 1/2 <= sigma < 1
    eps           relative error of fun that is tolerated
    theta, gamma  where to cut an interval, and how much shorter it must get
    rho           how fast the bracket grows
    """

    delta: float = 0.1
    sigma: float = 0.9
    eps: float = 1e-6
    theta: float = 0.5
    gamma: float = 0.66
    rho: float = 5.0

    def search(self, f0: float, d0: float, first: float, longest: float = inf) -> Search:
        try:
            yield from self._narrow(Point(0.0, f0, d0), min(first, longest), longest)
        except _Found as found:
            return found.a
        return None

    def _narrow(self, zero: Point, first: float, longest: float) -> Trials[None]:
        """Shrink a bracket until a trial satisfies the conditions, which raises _Found."""
        ceiling = zero.f + self.eps * abs(zero.f)
        left = self.max_trials

        def trial(a: float) -> Trials[Point]:
            nonlocal left
            left -= 1
            f, d = yield a
            if not (isfinite(f) and isfinite(d)):
                return Point(a, inf, -inf)
            wolfe = f - zero.f <= self.delta * a * zero.d and d >= self.sigma * zero.d  # T1
            slopes = (2 * self.delta - 1) * zero.d >= d >= self.sigma * zero.d  # T2
            if wolfe or (slopes and f <= ceiling) or (a == longest and f <= ceiling and d < 0):
                raise _Found(a)
            return Point(a, f, d)

        def cut(a: Point, b: Point) -> Trials[tuple[Point, Point]]:
            while left > 0:
                d = yield from trial((1 - self.theta) * a.a + self.theta * b.a)
                if d.d >= 0:  # U3a
                    return a, d
                a, b = (d, b) if d.f <= ceiling else (a, d)  # U3b, U3c
            return a, b

        def update(a: Point, b: Point, length: float) -> Trials[tuple[Point, Point]]:
            if not a.a < length < b.a:  # U0
                return a, b
            c = yield from trial(length)
            if c.d >= 0:  # U1
                return a, c
            if c.f <= ceiling:  # U2
                return c, b
            return (yield from cut(a, c))  # U3

        a, b = zero, (yield from trial(first))
        while b.d < 0 and b.f <= ceiling and left > 0:  # B3
            a, b = b, (yield from trial(min(self.rho * b.a, longest)))
        if b.d < 0:  # B2
            a, b = yield from cut(a, b)
        while left > 0 and a.a < (a.a + b.a) / 2 < b.a:
            start, end, width = a, b, b.a - a.a
            c = secant_zero(a, b)  # S1
            a, b = yield from update(a, b, c)
            if c == b.a:  # S2
                a, b = yield from update(a, b, secant_zero(end, b))
            elif c == a.a:  # S3
                a, b = yield from update(a, b, secant_zero(start, a))
            if b.a - a.a > self.gamma * width:  # L2
                a, b = yield from update(a, b, (a.a + b.a) / 2)


class _Found(Exception):
    """A trial satisfies the conditions."""

    def __init__(self, a: float) -> None:
        self.a = a
