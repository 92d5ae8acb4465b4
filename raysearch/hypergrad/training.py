"""Training as it is unrolled: states, tangents along it, and the adjoint back.

    p  (n,) parameters    g  (n,) their gradient    slots  (n,) each, of the rule

A *state* has p and the slots; a *moment* is a state with the gradient that training meets there.
Hyperparameters are one vector (size,): h, then the options, schedules entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import HypergradientError, UsageError
from ..optim import Elementwise
from ..optim.rules_base import State
from .problem import Floats, Functions, Problem, Shape, missing_derivative
from .result import Hypergradient
from .transition import Transition, Values

#: growth of a sensitivity beyond which it is called exploding
EXPLODED = 1e10
#: step of the differences that check a slope, relative to the hyperparameters' sizes
_STEP = 1e-3

Batches = Callable[[int], Problem]


class Training:
    """Some steps of a rule from w, with hyperparameters that can be varied.

    Arguments as of `forward`.
    """

    def __init__(
        self,
        problem: Problem,
        w: Any,
        h: Any,
        rule: Elementwise,
        steps: int,
        options: Mapping[str, ArrayLike],
        batches: Batches | None,
        after: State | None = None,
    ) -> None:
        if steps < 1:
            raise UsageError(f"steps: expected at least 1, found {steps!r}")
        self.arguments = (problem, w, h, rule, steps, options, batches, after)
        self.steps, self.batches, self.after = steps, batches, after
        self.first = 0 if after is None else after.steps
        self.functions = Functions(problem, Shape("w", w), Shape("h", h))
        self.h = self.functions.h.vector
        self.options = {n: np.array(x, dtype=np.float64) for n, x in options.items()}
        self.transition = Transition(rule, self.options, steps, self.first)
        self.size = self.h.size + sum(x.size for x in self.options.values())
        if not self.size:
            raise UsageError("h, options: expected hyperparameters in one of them, found none")

    def afresh(self) -> Training:
        """The same training, with a count of its own."""
        return Training(*self.arguments)

    def moved(self, direction: Floats, by: float) -> Training:
        """The same training with other hyperparameters."""
        problem, w, _, rule, steps, _, batches, after = self.arguments
        dh, given = self.split(direction)
        h = self.functions.h.build(self.h + by * dh)
        options = {name: x + by * given[name] for name, x in self.options.items()}
        return Training(problem, w, h, rule, steps, options, batches, after)

    # --- the hyperparameters as one vector --------------------------------------------------

    def split(self, vector: Floats) -> tuple[Floats, dict[str, Any]]:
        """The part of h, and those of the options in their shapes."""
        ends = np.cumsum([self.h.size, *(x.size for x in self.options.values())])
        first, *rest = np.split(vector, ends[:-1])
        shaped = zip(self.options.items(), rest, strict=True)
        return first, {name: part.reshape(x.shape) for (name, x), part in shaped}

    def _option_tangents(self, directions: Floats, t: int) -> Values:
        """(k, 1) tangents of every option's value at step t, for directions (k, size)."""
        first, found = self.h.size, {}
        for name, x in self.options.items():
            column = first + (t if x.ndim else 0)
            found[name] = directions[:, column : column + 1]
            first += x.size
        return found

    # --- training ---------------------------------------------------------------------------

    def start(self) -> Values:
        """The state before the first step."""
        p = self.functions.w.vector
        slots = {} if self.after is None else self.after.slots
        given = {n: np.concatenate([np.ravel(np.asarray(x)) for x in s]) for n, s in slots.items()}
        state = {"p": p, **self.transition.start(p.size)}
        if not given.keys() <= state.keys() or any(x.shape != p.shape for x in given.values()):
            raise UsageError(
                f"after: expected a state that {self.transition.rule!r} has made for w, found "
                f"{self.after!r:.120}; give what its init and step have left"
            )
        return state | given

    def at(self, t: int) -> Functions:
        """The functions that step t sees."""
        return (
            self.functions
            if self.batches is None
            else self.functions.at(self.batches(self.first + t))
        )

    def meet(self, t: int, state: Values) -> Values:
        """The state of step t, with its gradient."""
        value, g, _ = self.at(t).train(state["p"], self.h)
        if not (np.isfinite(value) and np.isfinite(g).all()):
            raise HypergradientError(
                f"training: expected a finite loss and gradient, found the loss {float(value):g} "
                f"at step {t} of {self.steps}; training has diverged: lower the learning rate, "
                "or begin with fewer steps"
            )
        return {**state, "g": g}

    def advance(self, t: int, moment: Values) -> Values:
        """The state after step t."""
        graph, options = self.transition.at(t)
        return graph.results(graph.run(moment | options))

    def train(self) -> tuple[float, Floats]:
        """The validation loss after all steps, and the parameters."""
        state = self.start()
        for t in range(self.steps):
            state = self.advance(t, self.meet(t, state))
        return self.functions.valid(state["p"], self.h)[0], state["p"]

    # --- forward ----------------------------------------------------------------------------

    def tangents(self, directions: Floats) -> tuple[float, Floats, Floats]:
        """The validation loss, the parameters, and V's slopes (k,) along directions (k, size)."""
        state, h_dots = self.start(), directions[:, : self.h.size]
        dots: Values = {name: np.zeros((len(directions), x.size)) for name, x in state.items()}
        for t in range(self.steps):
            moment, functions = self.meet(t, state), self.at(t)
            graph, options = self.transition.at(t)
            g_dot = np.zeros_like(dots["p"])
            for i in np.flatnonzero(dots["p"].any(axis=1) | h_dots.any(axis=1)).tolist():
                g_dot[i] = functions.along(state["p"], self.h, dots["p"][i], h_dots[i])[0]
            knobs = {n: x for n, x in self._option_tangents(directions, t).items() if n in options}
            tape = graph.run(moment | options)
            found = graph.tangents(tape, {**dots, "g": g_dot, **knobs})
            dots = {name: np.broadcast_to(x, g_dot.shape) for name, x in found.items()}
            state = graph.results(tape)
            self._check_tangents(t, dots["p"])
        value, v_w, v_h = self.functions.valid(state["p"], self.h)
        return value, state["p"], dots["p"] @ v_w + h_dots @ v_h

    def _check_tangents(self, t: int, p_dot: Floats) -> None:
        size = 1 + float(np.abs(self.functions.w.vector).max())
        growth = float(np.abs(p_dot).max(initial=0.0)) / size
        if not growth < EXPLODED:
            raise exploding("tangent of the parameters", growth, t, self.steps)

    def slope_by_differences(self, slopes: Floats) -> tuple[float, float]:
        """V's slope along a direction, as (k,) slopes say and by differences of fourth order.

        The direction is that of the slopes, each hyperparameter counted in units of its size.
        """
        point = np.concatenate([self.h, *map(np.ravel, self.options.values())])
        size = np.where(point == 0, 1.0, np.abs(point))
        direction = size**2 * slopes / max(float(np.linalg.norm(size * slopes)), 1e-300)
        v = {i: self.moved(direction, i * _STEP).train()[0] for i in (-2, -1, 1, 2)}
        by_differences = (8 * (v[1] - v[-1]) - (v[2] - v[-2])) / (12 * _STEP)
        return float(slopes @ direction), by_differences

    # --- reverse ----------------------------------------------------------------------------

    def adjoint(self, v_w: Floats, v_h: Floats, exploded: float) -> Adjoint:
        """The adjoint of the final state."""
        return Adjoint(self, v_w, v_h, exploded)

    def result(
        self,
        value: float,
        final: Floats,
        slopes: Floats,
        estimate: Callable[[], float],
        *,
        stored: int,
        growth: float = 1.0,
    ) -> Hypergradient:
        """What is returned, from V's slopes (size,)."""
        dh, options = self.split(slopes)
        return Hypergradient(
            value,
            self.functions.h.build(dh),
            self.functions.w.build(final.copy()),
            self.functions.cost,
            estimate,
            {name: x if x.ndim else float(x) for name, x in options.items()},
            growth=growth,
            stored=stored,
        )


class Adjoint:
    """dV/dz on its way back, and the hyperparameters' share so far."""

    def __init__(self, run: Training, v_w: Floats, v_h: Floats, exploded: float) -> None:
        self.run, self.exploded = run, exploded
        self.bars: Values = {slot: np.zeros_like(v_w) for slot in run.transition.slots}
        self.bars["p"] = v_w
        self.h_bar = v_h.astype(np.float64)
        self.option_bars = {name: np.zeros_like(x) for name, x in run.options.items()}
        self.end, self.growth = float(np.linalg.norm(v_w)), 1.0

    def back(self, t: int, moment: Values) -> None:
        """Through step t."""
        run = self.run
        graph, options = run.transition.at(t)
        bars = graph.adjoints(graph.run(moment | options), self.bars)
        zero = np.zeros_like(run.h)
        g_bar = np.broadcast_to(np.asarray(bars["g"], dtype=np.float64), moment["p"].shape)
        curved, mixed = run.at(t).along(moment["p"], run.h, g_bar, zero)
        if run.h.size:
            if mixed is None:
                raise missing_derivative()
            self.h_bar += mixed
        for name, total in self.option_bars.items():
            if name in options:
                total[(t,) if total.ndim else ()] += float(bars.get(name, 0.0))
        self.bars = {name: bars[name] for name in self.bars}
        self.bars["p"] = bars["p"] + curved
        growth = float(np.linalg.norm(self.bars["p"])) / (self.end or 1.0)
        self.growth = max(self.growth, growth)
        if not growth < self.exploded:
            raise exploding("adjoint of the parameters", growth, t, run.steps)

    def slopes(self) -> Floats:
        """V's derivatives (size,)."""
        return np.concatenate([self.h_bar, *(np.ravel(x) for x in self.option_bars.values())])


def exploding(what: str, growth: float, t: int, steps: int) -> HypergradientError:
    """What is said of sensitivities that grow beyond use."""
    return HypergradientError(
        f"{what}: expected it to stay in proportion, found it grown {growth:.2g}-fold at step {t} "
        f"of {steps}: the unrolled gradient explodes, and is nothing to go by; lower the learning "
        "rate, take fewer steps, or truncate"
    )
