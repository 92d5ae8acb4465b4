"""Line searches: a step length a > 0 along a direction of descent.

With phi(a) = f(x + a p), a search is a generator: it yields lengths, is sent
(phi(a), phi'(a)), and returns the length to take, or None if it found none. It is given
phi(0), phi'(0) < 0 and the length to try first. A value that is not finite means "too far".

Nocedal & Wright (2006), Numerical Optimization, ch. 3. Moré & Thuente (1994), "Line search
algorithms with guaranteed sufficient decrease", ACM TOMS 20.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from math import copysign, inf, isfinite, nan, sqrt
from typing import NamedTuple, TypeVar

from .schedule import check, check_options

EPS = 2.0**-52
HUGE = 1e150  # what interpolation could not handle counts as not finite

T = TypeVar("T")
Trials = Generator[float, tuple[float, float], T]
Search = Trials[float | None]


class Point(NamedTuple):
    """A length with the value and the slope there."""

    a: float
    f: float
    d: float


@dataclass(frozen=True, kw_only=True)
class LineSearch(ABC):
    """How to choose the length of a step.

    max_trials  lengths tried before giving up
    """

    max_trials: int = 25

    def __post_init__(self) -> None:
        check_options(self)
        check(self.max_trials >= 1, self, "max_trials", ">= 1")

    @abstractmethod
    def search(self, f0: float, d0: float, first: float, longest: float = inf) -> Search:
        """Search along phi with phi(0) = f0 and phi'(0) = d0, trying `first` first."""


@dataclass(frozen=True, kw_only=True)
class Armijo(LineSearch):
    """Backtracking until phi(a) <= phi(0) + c1 a phi'(0), by quadratic interpolation.

    >>> trials = Armijo().search(1.0, -2.0, first=4.0)  # of (1 - a)^2
    >>> next(trials), trials.send((9.0, 6.0))
    (4.0, 1.0)
    """

    c1: float = 1e-4

    def search(self, f0: float, d0: float, first: float, longest: float = inf) -> Search:
        a = min(first, longest)
        for _ in range(self.max_trials):
            f, _ = yield a
            if f <= f0 + self.c1 * a * d0:
                return a
            parabola = -d0 * a**2 / (2 * (f - f0 - d0 * a)) if isfinite(f) else 0.0
            a = min(max(parabola, 0.1 * a), 0.5 * a)
        return None


@dataclass(frozen=True, kw_only=True)
class StrongWolfe(LineSearch):
    """Moré & Thuente's search for the strong Wolfe conditions.

    phi(a) <= phi(0) + c1 a phi'(0)  and  abs(phi'(a)) <= c2 abs(phi'(0)).
    """

    c1: float = 1e-4
    c2: float = 0.9
    xtol: float = 1e-15  # relative width of an interval that is not worth dividing

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.c1 <= self.c2 < 1, self, "c2", f"in [c1, 1) with c1 = {self.c1} > 0")

    def search(self, f0: float, d0: float, first: float, longest: float = inf) -> Search:
        best, other = Point(0.0, f0, d0), Point(0.0, f0, d0)  # ends of the interval
        bracketed, modified = False, True  # modified: search on psi instead of phi (sec. 2)
        width = previous_width = inf
        low, high = 0.0, 5 * first
        a = min(first, longest)
        for _ in range(self.max_trials):
            f, d = yield a
            if not (abs(f) < HUGE and abs(d) < HUGE):
                longest = a
                a = best.a + 0.1 * (a - best.a)
                high = min(high, longest)
                continue
            target = f0 + self.c1 * a * d0
            if f <= target and abs(d) <= self.c2 * -d0:
                return a
            if a == longest and f <= target and d <= self.c1 * d0:
                return a  # still going down
            if bracketed and (a <= low or a >= high or high - low <= self.xtol * high):
                break  # rounding errors
            modified = modified and not (f <= target and d >= 0)
            trial = Point(a, f, d)
            if modified and f <= best.f and f > target:
                slope = self.c1 * d0  # psi(a) = phi(a) - phi(0) - c1 a phi'(0)
                best, other, a, bracketed = _narrow(
                    _tilt(best, slope), _tilt(other, slope), _tilt(trial, slope), bracketed,
                    low, high,
                )  # fmt: skip
                best, other = _tilt(best, -slope), _tilt(other, -slope)
            else:
                best, other, a, bracketed = _narrow(best, other, trial, bracketed, low, high)
            if bracketed:
                if abs(other.a - best.a) >= 0.66 * previous_width:
                    a = best.a + 0.5 * (other.a - best.a)
                previous_width, width = width, abs(other.a - best.a)
                low, high = min(best.a, other.a), max(best.a, other.a)
            else:
                low, high = a + 1.1 * (a - best.a), a + 4.0 * (a - best.a)
            a = min(a, longest)
        lower = f0 - best.f > EPS * abs(f0)  # by more than rounding errors
        return best.a if lower and best.f <= f0 + self.c1 * best.a * d0 else None


def _tilt(p: Point, slope: float) -> Point:
    return Point(p.a, p.f - p.a * slope, p.d - slope)


def _narrow(
    best: Point, other: Point, new: Point, bracketed: bool, low: float, high: float
) -> tuple[Point, Point, float, bool]:
    """The interval and the next trial from the trial `new`: the four cases of sec. 4."""
    same_sign = new.d * copysign(1.0, best.d) >= 0
    if new.f > best.f:  # case 1: higher; a minimum is bracketed
        cubic, quadratic = _cubic(best, new), _quadratic(best, new)
        if abs(cubic - best.a) < abs(quadratic - best.a):
            a = cubic
        else:
            a = cubic + 0.5 * (quadratic - cubic)
        return best, new, a, True
    if not same_sign:  # case 2: lower, slopes of opposite sign; bracketed
        cubic, secant = _cubic(new, best), secant_zero(new, best)
        a = cubic if abs(cubic - new.a) > abs(secant - new.a) else secant
        return new, best, a, True
    if abs(new.d) < abs(best.d):  # case 3: lower, same sign, slope gets flatter
        cubic, secant = _cubic_ahead(best, new, low, high), secant_zero(new, best)
        nearer = abs(cubic - new.a) < abs(secant - new.a)
        if bracketed:
            a = cubic if nearer else secant
            bound = new.a + 0.66 * (other.a - new.a)
            a = min(bound, a) if new.a > best.a else max(bound, a)
        else:
            a = min(max(secant if nearer else cubic, low), high)
        return new, other, a, bracketed
    if bracketed:  # case 4: lower, same sign, slope gets no flatter
        return new, other, _cubic(new, other), True
    return new, other, (high if new.a > best.a else low), False


def _cubic(p: Point, q: Point) -> float:
    """Minimiser of the cubic through p and q, with their slopes; Nocedal & Wright (3.59)."""
    theta = 3 * (p.f - q.f) / (q.a - p.a) + p.d + q.d
    scale = max(abs(theta), abs(p.d), abs(q.d))
    gamma = scale * sqrt(max(0.0, (theta / scale) ** 2 - p.d / scale * (q.d / scale)))
    gamma = copysign(gamma, q.a - p.a)
    return p.a + (gamma - p.d + theta) / (gamma - p.d + gamma + q.d) * (q.a - p.a)


def _cubic_ahead(best: Point, new: Point, low: float, high: float) -> float:
    """The cubic's minimiser if it lies beyond `new`, else the bound on that side."""
    theta = 3 * (best.f - new.f) / (new.a - best.a) + best.d + new.d
    scale = max(abs(theta), abs(best.d), abs(new.d))
    gamma = scale * sqrt(max(0.0, (theta / scale) ** 2 - best.d / scale * (new.d / scale)))
    gamma = copysign(gamma, best.a - new.a)
    r = (gamma - new.d + theta) / (gamma + (best.d - new.d) + gamma)
    if r < 0 and gamma != 0:
        return new.a + r * (best.a - new.a)
    return high if new.a > best.a else low


def _quadratic(p: Point, q: Point) -> float:
    """Minimiser of the parabola through p, with its slope, and q."""
    return p.a + p.d / ((p.f - q.f) / (q.a - p.a) + p.d) / 2 * (q.a - p.a)


def secant_zero(p: Point, q: Point) -> float:
    """Zero of the line through the slopes at p and q; NaN if they are equal."""
    if p.d == q.d:
        return nan
    return p.a + p.d / (p.d - q.d) * (q.a - p.a)
