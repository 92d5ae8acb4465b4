"""What a solver is: a state machine that asks for values and is told them.

A solver's class is a frozen dataclass of its options. Its mathematics is written as a
generator that runs one iteration: it yields a `Request` wherever the paper says "evaluate",
receives the `Answer`, and returns the next iterate. Around it stands one small machine,
the same for all solvers:

    state = solver.init(x0)
    while (request := solver.ask(state)) is not None:
        state = solver.tell(state, fun=f(request.x), jac=g(request.x))
    result = solver.result(state)

A `SolverState` holds the last complete iterate and what has been told since, all of it arrays and
numbers, so it can be stored anywhere between any two evaluations. To go on from a stored
state, the unfinished iteration is replayed from what was told; in a running process the
generator is simply kept, so nothing is computed twice.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .result import RUNNING, LeastSquaresResult, Result, Status
from .schedule import check, check_options

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Request:
    """Values that a solver needs before it can go on.

    x      (n,) where
    wants  which: "fun", "jac", "hess", or "hessp" (the Hessian times v)
    v      (n,) the vector of "hessp"
    """

    x: Floats
    wants: tuple[str, ...]
    v: Floats | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What was told: the values asked for, the others None.

    fun    number, or residuals (m,) of a least-squares problem
    jac    (n,) gradient, or Jacobian (m, n)
    hess   (n, n) Hessian
    hessp  (n,) Hessian times v
    """

    fun: Any = None
    jac: Any = None
    hess: Any = None
    hessp: Any = None


@dataclass(frozen=True, eq=False)
class Iterate:
    """What every solver has after a complete iteration.

    x       (n,) the point
    nit     iterations done
    status  RUNNING, or why it ended (`Status`)
    """

    x: Floats
    nit: int
    status: int


P = TypeVar("P", bound=Iterate)
T = TypeVar("T")
Steps = Generator[Request, Answer, T]


@dataclass(frozen=True, eq=False)
class SolverState(Generic[P]):
    """A solver's progress.

    x0    (n,) the starting point
    at    the last complete iterate; None before the first
    told  what has been told since, in order
    nfev  how often fun was told; njev, nhev: jac; hess or hessp
    """

    x0: Floats
    at: P | None = None
    told: tuple[Answer, ...] = ()
    nfev: int = 0
    njev: int = 0
    nhev: int = 0


# The iterations under way in this process. A state that is told hands its iteration on to the
# state that follows; told a second time, it finds none here and replays.
_running: weakref.WeakKeyDictionary[SolverState[Any], tuple[Steps[Any], Request]] = (
    weakref.WeakKeyDictionary()
)


_NOT_NEGATIVE = {"xtol", "ftol", "gtol", "eta", "alpha"}
_POSITIVE = {"max_evaluations", "factor", "radius", "pairs", "loss_scale"}


@dataclass(frozen=True, kw_only=True)
class Solver(ABC, Generic[P]):
    """One method of descent. To write one: implement `begin` and `iterate`.

    max_evaluations  of fun; None: 100 (n + 10). Differences that stand in for derivatives do
                     not count

    >>> from raysearch import optim
    >>> solver = optim.LBFGS(gtol=1e-6)
    >>> state = solver.init([3.0, 4.0])
    >>> while (request := solver.ask(state)) is not None:
    ...     x = request.x
    ...     state = solver.tell(state, fun=x @ x, jac=2 * x)
    >>> solver.result(state).message
    'converged: the gradient is within its tolerance of zero'
    """

    max_evaluations: int | None = None

    def __post_init__(self) -> None:
        check_options(self)
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in _NOT_NEGATIVE:
                check(value >= 0, self, f.name, ">= 0")
            elif f.name in _POSITIVE:
                check(value is None or value > 0, self, f.name, "> 0")

    @abstractmethod
    def begin(self, x0: Floats) -> Steps[P]:
        """Evaluate the starting point and return the first iterate."""

    @abstractmethod
    def iterate(self, at: P) -> Steps[P]:
        """Do one iteration and return the next iterate."""

    def init(self, x0: ArrayLike) -> SolverState[P]:
        """The state before the first evaluation, at x0 (n,)."""
        return SolverState(as_point(x0))

    def ask(self, state: SolverState[P]) -> Request | None:
        """The next evaluation that is needed, or None: finished."""
        if not isinstance(state, SolverState):
            raise UsageError(f"state: expected one made by a solver's init, found {state!r:.80}")
        if self.status(state) != RUNNING:
            return None
        if state not in _running:
            _running[state] = self._replay(state)
        return _running[state][1]

    def tell(
        self,
        state: SolverState[P],
        fun: ArrayLike | None = None,
        jac: ArrayLike | None = None,
        hess: ArrayLike | None = None,
        hessp: ArrayLike | None = None,
    ) -> SolverState[P]:
        """The state after the values that `ask` requested have become known."""
        request = self.ask(state)
        if request is None:
            raise UsageError("state: expected an unfinished state, found one that has ended")
        given = {"fun": fun, "jac": jac, "hess": hess, "hessp": hessp}
        missing = [want for want in request.wants if given[want] is None]
        if missing:
            raise UsageError(f"tell: expected values for {list(request.wants)}, missing {missing}")
        answer = Answer(**{want: _as_values(given[want]) for want in request.wants})
        self.check_answer(state, answer)
        following = replace(
            state,
            told=(*state.told, answer),
            nfev=state.nfev + ("fun" in request.wants),
            njev=state.njev + ("jac" in request.wants),
            nhev=state.nhev + ("hess" in request.wants or "hessp" in request.wants),
        )
        steps, _ = _running.pop(state)
        try:
            with np.errstate(all="ignore"):  # solvers look at what is not finite themselves
                _running[following] = (steps, steps.send(answer))
        except StopIteration as complete:
            return self._go_on(replace(following, at=complete.value, told=()))
        return following

    def check_answer(self, state: SolverState[P], answer: Answer) -> None:
        """UsageError if what was told has not the shapes of this kind of problem."""

    def status(self, state: SolverState[P]) -> int:
        """RUNNING, or why the solver ended (`Status`)."""
        if state.at is not None and state.at.status != RUNNING:
            return state.at.status
        limit = self.max_evaluations
        if limit is None:
            limit = 100 * (state.x0.size + 10)
        return Status.EVALUATIONS if state.nfev >= limit else RUNNING

    def _go_on(self, state: SolverState[P]) -> SolverState[P]:
        """Begin the next iteration; those that need no evaluation are done at once."""
        while state.at is not None and self.status(state) == RUNNING:
            steps = self.iterate(state.at)
            try:
                with np.errstate(all="ignore"):
                    _running[state] = (steps, next(steps))
                break
            except StopIteration as complete:
                state = replace(state, at=complete.value)
        return state

    def _replay(self, state: SolverState[P]) -> tuple[Steps[P], Request]:
        steps = self.begin(state.x0) if state.at is None else self.iterate(state.at)
        with np.errstate(all="ignore"):
            request = next(steps)
            for answer in state.told:
                request = steps.send(answer)
        return steps, request


R = TypeVar("R", bound=Result | LeastSquaresResult)


def run(
    solver: Solver[P],
    x0: Floats,
    evaluate: Callable[[Request], dict[str, Any]],
    result: Callable[[SolverState[P]], R],
    callback: Callable[[R], Any] | None,
) -> R:
    """Solve from x0: what `result` makes of the last state, or of that where callback stopped."""
    state = solver.init(x0)
    while (request := solver.ask(state)) is not None:
        before = state.at
        state = solver.tell(state, **evaluate(request))
        if callback and state.at is not before and callback(result(state)) is True:
            return replace(result(state), status=int(Status.STOPPED))
    return result(state)


def as_point(x0: ArrayLike) -> Floats:
    """x0 as a new float64 vector (n,), or UsageError."""
    x = np.array(x0)
    if x.dtype.kind not in "iufb":
        raise UsageError(f"x0: expected real numbers, found dtype {x.dtype}")
    if x.ndim != 1 or x.size == 0:
        raise UsageError(
            f"x0: expected a vector of shape (n,), n >= 1, found shape {x.shape}; "
            "pass x0.ravel() and reshape inside the function"
        )
    x = x.astype(np.float64)
    if not np.isfinite(x).all():
        raise UsageError(f"x0: expected finite numbers, found {x[~np.isfinite(x)][0]}")
    return x


S = TypeVar("S", bound=Solver[Any])


def with_options(kind: type[S], options: dict[str, Any]) -> S:
    """A solver with these options, or UsageError naming those it does not have."""
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"{unknown[0]}: not an option of {kind.__name__}; it has {known}")
    return kind(**options)


def _as_values(values: ArrayLike | None) -> float | Floats:
    array = np.array(values, dtype=np.float64)
    return float(array) if array.ndim == 0 else array
