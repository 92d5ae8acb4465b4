"""Transforms: what is done to gradients before a rule, and to parameters after it.

    rule = chain(ClipByNorm(1.0), Lookahead(every=5), Adam(lr=1e-3))

is a rule like any other. Each part is given the parameters, the gradients and a function
`inner` that performs the step of everything after it; it may change the gradients, call
`inner` or leave it, and work on the parameters afterwards. Order matters, and reads from
the outside in: the first part sees the raw gradients and the final parameters.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from ..errors import UsageError
from .rules_base import Rule, State
from .rules_layerwise import norm
from .schedule import Rate, Schedule, check, check_options, number
from .tree import Array, copies, namespace

#: performs the rest of the step on parameters, by their gradients
Inner = Callable[[list[Array], list[Array]], None]


@dataclass(frozen=True)
class Transform:
    """One part of a chain. To write one: subclass, decorate with @dataclass(frozen=True)."""

    def __post_init__(self) -> None:
        check_options(self)

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """The state before the first step; without memory by default."""
        return State()

    @abstractmethod
    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Do the step: ``inner(p, g)``, with what comes before and after it."""


@dataclass(frozen=True)
class Chain(Rule):
    """A rule inside of transforms, the outermost first: what `chain` makes."""

    transforms: tuple[Transform, ...]
    rule: Rule

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """The states of all parts, the rule's last."""
        inner = [part.init_leaves(names, p) for part in self.transforms]
        return State(inner=[*inner, self.rule.init_leaves(names, p)])

    def step_leaves(
        self, names: list[str], p: list[Array], g: list[Array], state: State, **options: Any
    ) -> None:
        """Nest the parts; options are for the rule."""
        if len(state.inner) != len(self.transforms) + 1:
            raise UsageError(f"state: expected one made by the init of {self!r}")

        def inner(i: int) -> Inner:
            if i == len(self.transforms):
                return lambda p, g: self.rule.step_leaves(names, p, g, state.inner[i], **options)
            return lambda p, g: self._part(i, names, p, g, state.inner[i], inner(i + 1))

        inner(0)(p, g)
        state.steps += 1

    def _part(
        self, i: int, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        part = self.transforms[i]
        values = {
            f.name: x(state.steps)
            for f in fields(part)
            if isinstance(x := getattr(part, f.name), Schedule)
        }
        part = type(part)(**(_options(part) | values)) if values else part
        part.around(names, p, g, state, inner)
        state.steps += 1

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, (*self.transforms, self.rule)))})"


def _options(part: Transform) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in fields(part)}


def chain(*parts: Transform | Rule) -> Chain:
    """A rule made of transforms and, last, a rule.

    >>> import numpy as np
    >>> from raysearch.optim import SGD
    >>> x = np.array([3.0, 4.0])
    >>> rule = chain(ClipByNorm(1.0), SGD(lr=1.0))
    >>> rule.step(x, x, rule.init(x))
    >>> x.round(6).tolist()
    [2.4, 3.2]
    """
    *before, last = parts or (None,)
    if not isinstance(last, Rule):
        raise UsageError(f"chain: expected a rule as the last part, found {last!r}")
    transforms: list[Transform] = []
    for part in before:
        if not isinstance(part, Transform):
            raise UsageError(f"chain: expected transforms before the rule, found {part!r}")
        transforms.append(part)
    return Chain(tuple(transforms), last)


@dataclass(frozen=True)
class ClipByValue(Transform):
    """Limit every element of the gradient: g <- min(max(g, -limit), limit).

    limit  > 0, in units of the gradient
    """

    limit: Rate

    def __post_init__(self) -> None:
        super().__post_init__()
        check(not isinstance(self.limit, (int, float)) or self.limit > 0, self, "limit", "> 0")

    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Clip, then step."""
        limit = number(self.limit)
        inner(p, [namespace(x).clip(x, -limit, limit) for x in g])


@dataclass(frozen=True)
class ClipByNorm(Transform):
    """Limit the norm of the whole gradient, over all leaves: g <- g min(1, limit / |g|).

    limit  > 0, in units of the gradient

    Pascanu, Mikolov & Bengio (2013), On the difficulty of training RNNs, Alg. 1.
    """

    limit: Rate

    def __post_init__(self) -> None:
        super().__post_init__()
        check(not isinstance(self.limit, (int, float)) or self.limit > 0, self, "limit", "> 0")

    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Scale if too long, then step."""
        length, limit = math.hypot(*map(norm, g)), number(self.limit)
        inner(p, [x * (limit / length) for x in g] if length > limit else g)


@dataclass(frozen=True)
class Finite(Transform):
    """What to do about NaN and infinity in a gradient.

    policy  "raise": FloatingPointError, naming the leaf, before anything has changed;
            "skip": leave the step out, counted in state.numbers["skipped"];
            "clip": NaN becomes 0, infinity the dtype's largest number
    """

    policy: Literal["raise", "skip", "clip"] = "raise"

    def __post_init__(self) -> None:
        super().__post_init__()
        good = self.policy in ("raise", "skip", "clip")
        check(good, self, "policy", "'raise', 'skip' or 'clip'")

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """No step has been skipped."""
        return State(numbers={"skipped": 0.0})

    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Step if all is finite; else follow the policy."""
        finite = [namespace(x).isfinite(x) for x in g]
        good = [bool(namespace(x).all(x)) for x in finite]
        if all(good):
            inner(p, g)
        elif self.policy == "clip":
            inner(p, [x if ok else _finite(x) for x, ok in zip(g, good, strict=True)])
        elif self.policy == "skip":
            state.numbers["skipped"] += 1
        else:
            i = good.index(False)
            bad = math.prod(g[i].shape) - int(namespace(g[i]).sum(finite[i]))
            raise FloatingPointError(
                f"grads{names[i].removeprefix('params')}: expected finite numbers, found {bad} "
                "NaN or infinite at step "
                f"{state.steps}; lower the learning rate, clip, or use Finite('skip')"
            )


def _finite(x: Array) -> Array:
    xp = namespace(x)
    largest = float(xp.finfo(x.dtype).max)
    return xp.clip(xp.where(xp.isnan(x), xp.zeros_like(x), x), -largest, largest)


@dataclass(frozen=True)
class Accumulate(Transform):
    """Collect gradients and step by their mean at every `every`-th call.

    every  calls for one step, >= 1
    """

    every: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.every >= 1, self, "every", ">= 1")

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """An empty sum."""
        return State(slots={"sum": [namespace(x).zeros_like(x) for x in p]})

    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Add; step when enough have come."""
        total = state.slots["sum"]
        for s, x in zip(total, g, strict=True):
            s += x
        if (state.steps + 1) % self.every == 0:
            inner(p, [s / self.every for s in total])
            for s in total:
                s[...] = 0.0


@dataclass(frozen=True)
class Average(Transform):
    """Average the iterates; the average is for evaluation and does not change the training.

    a <- d a + (1 - d) p: with decay d an exponential moving average (EMA); without, the mean
    of all iterates (stochastic weight averaging, SWA). Read it with `averaged`.

    decay  share of the average kept per step, [0, 1); None: the mean of all
    start  number of the first step that counts; before, a follows p
    every  steps between two that count

    Polyak & Juditsky (1992); Izmailov et al. (2018), Averaging weights leads to wider optima.
    """

    decay: float | None = None
    start: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.decay is None or 0 <= self.decay < 1, self, "decay", "in [0, 1), or None")
        check(self.start >= 0, self, "start", ">= 0")
        check(self.every >= 1, self, "every", ">= 1")

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """The average starts at the parameters."""
        return State(slots={"average": copies(p)}, numbers={"count": 0.0})

    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Step, then renew the average."""
        inner(p, g)
        late = state.steps - self.start
        if late >= 0 and late % self.every:
            return
        count = state.numbers["count"]
        share = 1 / (count + 1) if self.decay is None or count == 0 else 1 - self.decay
        for a, x in zip(state.slots["average"], p, strict=True):
            a += share * (x - a)
        state.numbers["count"] += late >= 0


@dataclass(frozen=True)
class Lookahead(Transform):
    """Let a rule run ahead, and go part of its way: every few steps s <- s + alpha (p - s), p <- s.

    every  steps ahead, >= 1
    alpha  part of the way, in (0, 1]

    Zhang et al. (2019), Lookahead optimizer: k steps forward, 1 step back, Alg. 1.
    """

    every: int = 5
    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.every >= 1, self, "every", ">= 1")
        check(0 < self.alpha <= 1, self, "alpha", "in (0, 1]")

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """The slow parameters."""
        return State(slots={"slow": copies(p)})

    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Step; every so often, pull back."""
        inner(p, g)
        if (state.steps + 1) % self.every == 0:
            for s, x in zip(state.slots["slow"], p, strict=True):
                s += self.alpha * (x - s)
                x[...] = s


@dataclass(frozen=True)
class Bounds(Transform):
    """Project the parameters to a box after every step: p <- min(max(p, lower), upper).

    lower, upper  numbers; None: no bound
    """

    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        low = -math.inf if self.lower is None else self.lower
        high = math.inf if self.upper is None else self.upper
        check(low <= high, self, "upper", f">= lower = {self.lower}")

    def around(
        self, names: list[str], p: list[Array], g: list[Array], state: State, inner: Inner
    ) -> None:
        """Step, then project."""
        inner(p, g)
        for x in p:
            x[...] = namespace(x).clip(x, self.lower, self.upper)
