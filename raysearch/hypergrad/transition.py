"""One step of an update rule as a function that can be differentiated in both directions.

A rule of the optimizer core is one formula (`optim.trace`). Called with symbols it becomes a
list of operations y = f(a, b); each has partial derivatives, and the chain rule does the rest:

    forward   y. = f_a a. + f_b b.         tangents, in the order of the operations
    reverse   a_ += f_a y_, b_ += f_b y_   adjoints, in the opposite order

for the parameters p, their gradient g, the slots, and every option that is a number.

Griewank & Walther (2008), Evaluating derivatives, ch. 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import UsageError
from ..optim import Elementwise
from ..optim.rules_base import State
from ..optim.trace import Symbol, signature
from .problem import Floats

Values = dict[str, Any]


def _power_base(a: Any, b: Any, y: Any) -> Any:
    return b * a ** (b - 1)


def _power_exponent(a: Any, b: Any, y: Any) -> Any:
    return y * np.log(a) if a > 0 else 0.0


#: operation -> its partial derivatives, functions of (a, b, y)
_PARTIALS: dict[str, tuple[Any, ...]] = {
    "add": (lambda a, b, y: 1.0, lambda a, b, y: 1.0),
    "subtract": (lambda a, b, y: 1.0, lambda a, b, y: -1.0),
    "multiply": (lambda a, b, y: b, lambda a, b, y: a),
    "divide": (lambda a, b, y: 1 / b, lambda a, b, y: -y / b),
    "power": (_power_base, _power_exponent),
    "negative": (lambda a, b, y: -1.0,),
    # at zero: the rules multiply it by what is zero there, too
    "sqrt": (lambda a, b, y: np.divide(0.5, y, out=np.zeros_like(y), where=y > 0),),
    "absolute": (lambda a, b, y: np.sign(a),),
    "sign": (lambda a, b, y: 0.0,),
    "maximum": (lambda a, b, y: 1.0 * (a >= b), lambda a, b, y: 1.0 * (a < b)),
    "minimum": (lambda a, b, y: 1.0 * (a <= b), lambda a, b, y: 1.0 * (a > b)),
}  # fmt: skip


class Graph:
    """A rule's formula as operations in order, with what is zero or a flag left out.

    formula  of an `Elementwise` rule
    fixed    arguments that are what they are: flags, and options that are zero
    """

    def __init__(self, formula: Any, fixed: Mapping[str, Any]) -> None:
        self.slots, options = signature(formula)
        self.options = [name for name in options if name not in fixed]
        names = ["p", "g", *self.slots]
        inputs = {name: Symbol(name, (), True) for name in names}
        knobs = {name: Symbol(name, (), False) for name in self.options}
        results = formula(**inputs, **knobs, **fixed)
        self.inputs = inputs | knobs
        self.outputs = dict(zip(["p", *self.slots], results, strict=True))
        self.order: list[Symbol] = []
        seen = {id(symbol) for symbol in self.inputs.values()}

        def place(x: Any) -> None:
            if isinstance(x, Symbol) and id(x) not in seen:
                seen.add(id(x))
                for argument in x.args:
                    place(argument)
                self.order.append(x)

        for result in self.outputs.values():
            place(result)

    def run(self, values: Values) -> dict[int, Any]:
        """The value of every symbol, by its id, from those of the inputs."""
        tape = {id(symbol): np.asarray(values[name]) for name, symbol in self.inputs.items()}
        for y in self.order:
            tape[id(y)] = getattr(np, y.op)(*(_value(a, tape) for a in y.args))
        return tape

    def results(self, tape: dict[int, Any]) -> Values:
        """The new p and slots."""
        like = tape[id(self.inputs["p"])]
        return {
            name: np.broadcast_to(_value(x, tape), like.shape) for name, x in self.outputs.items()
        }

    def tangents(self, tape: dict[int, Any], given: Values) -> Values:
        """Tangents of p and the slots, from those of the inputs; those left out are zero.

        given  arrays (k, n) for p, g and slots, and (k, 1) for options: k directions at once
        """
        dots = {id(self.inputs[name]): dot for name, dot in given.items()}
        for y in self.order:
            terms = [
                partial * dots[id(a)] for a, partial in self._partials(y, tape) if id(a) in dots
            ]
            if terms:
                dots[id(y)] = sum(terms[1:], terms[0])
        return {name: dots.get(id(x), 0.0) for name, x in self.outputs.items()}

    def adjoints(self, tape: dict[int, Any], given: Values) -> Values:
        """Adjoints of all inputs, from those of p and the slots, arrays (n,)."""
        bars: dict[int, Any] = {}
        for name, x in self.outputs.items():
            if isinstance(x, Symbol):
                bars[id(x)] = bars.get(id(x), 0.0) + given[name]
        for y in reversed(self.order):
            if id(y) not in bars:
                continue
            for a, partial in self._partials(y, tape):
                bar = partial * bars[id(y)]
                bars[id(a)] = bars.get(id(a), 0.0) + (bar if a.is_array else np.sum(bar))
        return {name: bars.get(id(symbol), 0.0) for name, symbol in self.inputs.items()}

    @staticmethod
    def _partials(y: Symbol, tape: dict[int, Any]) -> list[tuple[Symbol, Any]]:
        values = [_value(a, tape) for a in y.args]
        first, last, result = values[0], values[-1], tape[id(y)]
        return [
            (a, partial(first, last, result))
            for a, partial in zip(y.args, _PARTIALS[y.op], strict=True)
            if isinstance(a, Symbol)
        ]


def _value(x: Any, tape: dict[int, Any]) -> Any:
    return tape[id(x)] if isinstance(x, Symbol) else np.float64(x)


class Transition:
    """The steps of a rule: `Graph`s, and the values of its options at every step.

    rule     an `Elementwise` one whose state is arrays alone
    options  formula's option -> number or (steps,), in place of the rule's own
    first    steps that the rule has done before
    """

    def __init__(
        self, rule: Elementwise, options: Mapping[str, Floats], steps: int, first: int
    ) -> None:
        kind = type(rule).__name__
        if not isinstance(rule, Elementwise) or rule.numbers():
            raise UsageError(
                f"rule: expected one whose parameters move one by one (SGD, RMSProp, Adam, ...), "
                f"found {kind}, which cannot be unrolled"
            )
        self.rule, self.given, self.first = rule, options, first
        self.slots, names = signature(rule.formula)
        known = [n for n in names if n != "t" and not isinstance(rule._by_name[n], bool)]
        for name, values in options.items():
            if name not in known:
                raise UsageError(f"options: {kind} has no option {name!r}; it has {known}")
            if values.shape not in ((), (steps,)):
                raise UsageError(
                    f"options[{name!r}]: expected a number, or one for each of {steps} steps, "
                    f"found shape {values.shape}"
                )
        self._graphs: dict[tuple[Any, ...], Graph] = {}

    def start(self, n: int) -> Values:
        """The slots before the first step."""
        return {slot: self.rule.begin(slot, np.zeros(n)) for slot in self.slots}

    def at(self, t: int) -> tuple[Graph, Values]:
        """The graph of step t, from 0, and the values of its options."""
        values = dict(self.rule.at(self.first + t)._by_name)
        values |= {name: float(x if x.ndim == 0 else x[t]) for name, x in self.given.items()}
        values["t"] = self.first + t + 1
        settled = self.rule.derived(
            State(steps=self.first + t), values
        )  # the rule has the last word
        free = {name for name in self.given if settled.get(name, values[name]) == values[name]}
        values |= settled
        used = {name: values[name] for name in signature(self.rule.formula)[1]}
        fixed = {
            name: x
            for name, x in used.items()
            if isinstance(x, bool) or (name not in free and (x == 0 or name in self.given))
        }
        key = tuple(fixed.items())
        if key not in self._graphs:
            self._graphs[key] = Graph(self.rule.formula, fixed)
        graph = self._graphs[key]
        return graph, {name: used[name] for name in graph.options}
