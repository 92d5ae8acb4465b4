"""Descent by line search: a direction, then a step length along it.

Nocedal & Wright (2006), Numerical Optimization, ch. 3. The directions are in
`quasi_newton`, `conjugate_gradient` and `newton`, the step lengths in `line_search`.

x (n,) point    f () value    g (n,) gradient    p (n,) direction, g^T p < 0    a () length
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from .hager_zhang import HagerZhang
from .line_search import LineSearch, Search, StrongWolfe
from .machine import Answer, Floats, Request, Steps
from .minimizer import Minimizer, Minimum, is_finite
from .result import RUNNING, Status

EPS = float(np.finfo(np.float64).eps)

#: iterations in a row without a decrease that can be told from rounding, before ending
PATIENCE = 5

#: a function that still falls at this multiple of the first length is called unbounded
FAR = 1e10


@dataclass(frozen=True, eq=False)
class Descent(Minimum):
    """An iterate of a line-search method.

    before    value one iteration earlier; NaN at first
    stalled   iterations in a row without a decrease beyond rounding
    memory    arrays that the direction remembers; empty: start afresh
    """

    before: float = np.nan
    stalled: int = 0
    memory: tuple[Floats, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LineSearchSolver(Minimizer[Descent]):
    """A descent method: implement `direction` and `learn`.

    search  for the step length. Where it finds none, Hager & Zhang's search, which does not
            mind rounding errors, tries again; then memory is cleared, once
    """

    search: LineSearch = StrongWolfe()

    @abstractmethod
    def direction(self, at: Descent) -> Steps[Floats]:
        """A direction of descent at an iterate."""

    @abstractmethod
    def learn(self, at: Descent, new: Descent) -> tuple[Floats, ...]:
        """The memory after the step from `at` to `new`."""

    def first_length(self, at: Descent, slope: float) -> float:
        """The length to try first: 1, shorter while the last decrease promises less."""
        if not at.memory:
            return 1 / float(np.linalg.norm(at.jac))
        previous = 2.02 * (at.fun - at.before) / slope  # Nocedal & Wright (3.60), times 1.01
        return min(1.0, previous) if previous > 0 else 1.0

    def longest(self, at: Descent, p: Floats) -> float:
        """The longest length allowed."""
        return np.inf

    def place(self, x: Floats) -> Floats:
        """The point to evaluate for x: x but for rounding errors."""
        return x

    def stationarity(self, at: Descent) -> float:
        """Zero at a minimum: what is compared with gtol."""
        return float(np.abs(at.jac).max())

    def begin(self, x0: Floats) -> Steps[Descent]:
        answer = yield Request(x0, ("fun", "jac"))
        at = Descent(x0, 0, RUNNING, answer.fun, answer.jac)
        if not is_finite(answer.fun, answer.jac):
            return replace(at, status=Status.NOT_FINITE)
        return self._judged(at)

    def iterate(self, at: Descent) -> Steps[Descent]:
        p = yield from self.direction(at)
        slope = float(at.jac @ p)
        if not (slope < 0 and is_finite(p)):
            p, slope = -at.jac, -float(at.jac @ at.jac)
        first = self.first_length(at, slope)
        far = FAR * max(first, 1.0)
        longest = min(far, self.longest(at, p))
        for search in (self.search, HagerZhang()):
            found = yield from self._along(search.search(at.fun, slope, first, longest), at, p)
            if found is not None:
                break
        else:
            if -slope <= 100 * EPS * abs(at.fun):
                return replace(at, status=Status.PRECISION)
            return self._afresh(at)
        a, x, answer = found
        flat = at.fun - answer.fun <= EPS * abs(at.fun)
        new = Descent(
            x=x,
            nit=at.nit + 1,
            status=RUNNING,
            fun=answer.fun,
            jac=answer.jac,
            before=at.fun,
            stalled=at.stalled + 1 if flat else 0,
        )
        if a == far:
            return replace(new, status=Status.UNBOUNDED)
        new = self._judged(replace(new, memory=self.learn(at, new)))
        if new.status == RUNNING and new.stalled >= PATIENCE:
            rounding = -a * slope <= np.sqrt(EPS) * abs(at.fun)
            return replace(new, status=Status.PRECISION if rounding else Status.NO_DESCENT)
        return new

    def _along(
        self, lengths: Search, at: Descent, p: Floats
    ) -> Steps[tuple[float, Floats, Answer] | None]:
        """Run a line search from x along p: the length found, the point, its values."""
        told: dict[float, tuple[float, Floats, Answer]] = {}
        a = next(lengths)
        while True:
            x = self.place(at.x + a * p)
            answer = yield Request(x, ("fun", "jac"))
            told[a] = a, x, answer
            try:
                a = lengths.send((answer.fun, float(answer.jac @ p)))
            except StopIteration as end:
                return None if end.value is None else told[end.value]

    def _judged(self, at: Descent) -> Descent:
        return replace(at, status=Status.GRADIENT) if self.stationarity(at) <= self.gtol else at

    def _afresh(self, at: Descent) -> Descent:
        """Forget the memory; if there was none, give up."""
        if at.memory:
            return replace(at, memory=(), nit=at.nit + 1)
        return replace(at, status=Status.NO_DESCENT)
