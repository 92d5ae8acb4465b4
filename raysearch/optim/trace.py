"""From a formula to a program: how one text serves numpy, LLVM, torch and cupy.

A rule's formula is a plain function of the parameter p, its gradient g, its slots (arrays
like p) and its options (numbers), built from + - * / ** and the functions `sqrt`, `abs`,
`sign`, `maximum`, `minimum` of this module. Torch and cupy run it as it stands. For numpy
and LLVM it is called once with symbols: what it computes is written down as a `Program`

    numbers   operations among options alone, done once per step in double precision
    arrays    operations on arrays, each ``target = op(a, b)`` among registers, with
              every value in a register that is free by then

so that numpy can work in place on tiles that stay in the cache, and LLVM can fuse it into
a single pass. Options that are exactly zero drop out of the program.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from .tree import namespace

#: names of the operations, as numpy's ufuncs are called
_ON_NUMBERS: dict[str, Callable[..., float]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "negative": operator.neg,
    "sqrt": math.sqrt,
    "absolute": abs,
    "sign": lambda a: float((a > 0) - (a < 0)),
    "maximum": max,
    "minimum": min,
}


class Symbol:
    """A value that a formula computes: an input, or an operation on other symbols."""

    def __init__(self, op: str, args: tuple[Any, ...], is_array: bool) -> None:
        self.op, self.args, self.is_array = op, args, is_array

    def __add__(self, other: Any) -> Any:
        return _apply("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _apply("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _apply("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return _apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _apply("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        if self.is_array:
            raise TypeError("a formula has powers of options only; write x * x, or sqrt(x)")
        return _apply("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _apply("power", other, self)

    def __neg__(self) -> Any:
        return _apply("negative", self)

    def __bool__(self) -> bool:
        raise TypeError("a formula cannot branch on a value; use maximum, minimum or sign")


def _is(x: Any, number: float) -> bool:
    return not isinstance(x, Symbol) and bool(x == number)


def _apply(op: str, *args: Any) -> Any:
    """The operation on symbols and numbers, after the simplifications that zeros allow."""
    a, b = args[0], args[-1]
    if op in ("add", "subtract") and _is(b, 0):
        return a
    if op == "add" and _is(a, 0):
        return b
    if op == "subtract" and _is(a, 0):
        return _apply("negative", b)
    if op == "multiply" and (_is(a, 0) or _is(b, 0)):
        return 0.0
    if op == "divide" and _is(a, 0):
        return 0.0
    if op in ("multiply", "divide") and _is(b, 1):
        return a
    if op == "multiply" and _is(a, 1):
        return b
    if not any(isinstance(x, Symbol) for x in args):
        return _ON_NUMBERS[op](*args)
    return Symbol(op, args, any(isinstance(x, Symbol) and x.is_array for x in args))


def _function(op: str, of_arrays: str) -> Callable[..., Any]:
    def function(*args: Any) -> Any:
        if any(isinstance(x, Symbol) for x in args):
            return _apply(op, *args)
        arrays = [x for x in args if not isinstance(x, (int, float))]
        if not arrays:
            return _ON_NUMBERS[op](*args)
        xp = namespace(arrays[0])
        if len(arrays) < len(args):  # the array API knows no numbers here
            args = tuple(
                xp.full_like(arrays[0], x) if isinstance(x, (int, float)) else x for x in args
            )
        return getattr(xp, of_arrays)(*args)

    function.__name__ = of_arrays
    return function


sqrt = _function("sqrt", "sqrt")
absolute = _function("absolute", "abs")
sign = _function("sign", "sign")
maximum = _function("maximum", "maximum")
minimum = _function("minimum", "minimum")


@dataclass(frozen=True, eq=False)
class Program:
    """A formula as a list of operations among registers.

    Registers are counted through: first the arrays p, g and the slots, then `scratch` tiles,
    then the numbers: options, literals, and what is computed from them.

    options   names of the options, whose values are the first numbers
    literals  the numbers that follow
    numbers   (operation, arguments) for those that follow then; arguments count numbers alone
    ops       (operation, arguments, target) on arrays, in order
    """

    n_arrays: int
    scratch: int
    options: tuple[str, ...]
    literals: tuple[float, ...]
    numbers: tuple[tuple[str, tuple[int, ...]], ...]
    ops: tuple[tuple[str, tuple[int, ...], int], ...]

    def evaluate_numbers(self, options: Mapping[str, float]) -> list[float]:
        """The values of all numbers, given those of the options."""
        values = [options[name] for name in self.options]
        values += self.literals
        for function, args in self._on_numbers:
            if len(args) == 2:
                values.append(function(values[args[0]], values[args[1]]))
            else:
                values.append(function(values[args[0]]))
        return values

    @cached_property
    def ufuncs(self) -> list[tuple[np.ufunc, tuple[int, ...], int]]:
        """The operations on arrays, by numpy's functions of these names."""
        return [(getattr(np, op), args, target) for op, args, target in self.ops]

    @cached_property
    def _on_numbers(self) -> list[tuple[Callable[..., float], tuple[int, ...]]]:
        return [(_ON_NUMBERS[op], args) for op, args in self.numbers]


def trace(
    formula: Callable[..., tuple[Any, ...]],
    arrays: Sequence[str],
    options: Sequence[str],
    fixed: Mapping[str, Any],
) -> Program:
    """The program of ``formula(p, g, *slots, **options)``, which returns new p and slots.

    arrays   p, g and the slots that are kept; other slots are zero going in, dropped coming out
    options  names of the options whose values come with every step
    fixed    arguments that are what they are: flags, and options that are zero
    """
    inputs = {name: Symbol(name, (), True) for name in arrays}
    knobs = {name: Symbol(name, (), False) for name in options}
    slots, _ = signature(formula)
    results = formula(**(dict.fromkeys(slots, 0.0) | inputs), **knobs, **fixed)
    new = dict(zip(["p", *slots], results, strict=True))
    return _Assembler(inputs, knobs, {name: new[name] for name in arrays if name != "g"}).program()


@cache
def signature(formula: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the slots, the arguments after p and g, and of the options, by keyword only."""
    code = formula.__code__
    n, k = code.co_argcount, code.co_kwonlyargcount
    return code.co_varnames[2:n], code.co_varnames[n : n + k]


class _Assembler:
    """Puts symbols in order, finds equal ones, and gives each array value a register."""

    def __init__(
        self, inputs: Mapping[str, Symbol], knobs: Mapping[str, Symbol], outputs: Mapping[str, Any]
    ) -> None:
        self.array_names, self.options = list(inputs), tuple(knobs)
        self.literals: list[float] = []
        self.numbers: list[tuple[str, tuple[Any, ...]]] = []
        self.values: list[tuple[str, tuple[Any, ...]]] = []  # arrays: inputs, then operations
        self.known: dict[Any, tuple[str, int]] = {}  # equal things are computed once
        self.of_symbol: dict[int, tuple[str, int]] = {}
        for i, symbol in enumerate(inputs.values()):
            self.of_symbol[id(symbol)] = ("array", i)
            self.values.append((symbol.op, ()))
        for i, symbol in enumerate(knobs.values()):
            self.of_symbol[id(symbol)] = ("option", i)
        self.outputs = {
            self.array_names.index(name): self.place(value) for name, value in outputs.items()
        }
        for r, (kind, v) in self.outputs.items():  # an array that becomes another: a copy
            if kind == "array" and v < len(inputs) and v != r:
                self.outputs[r] = self.compute("positive", ((kind, v),), True)

    def place(self, x: Any) -> tuple[str, int]:
        """Where the value of a symbol or literal is: its kind, and its place among these."""
        if isinstance(x, Symbol):
            if id(x) not in self.of_symbol:
                args = tuple(self.place(a) for a in x.args)
                self.of_symbol[id(x)] = self.compute(x.op, args, x.is_array)
            return self.of_symbol[id(x)]
        if x not in self.literals:
            self.literals.append(float(x))
        return "literal", self.literals.index(x)

    def compute(self, op: str, args: tuple[Any, ...], is_array: bool) -> tuple[str, int]:
        if (op, args) not in self.known:
            kind, found = ("array", self.values) if is_array else ("number", self.numbers)
            found.append((op, args))
            self.known[op, args] = (kind, len(found) - 1)
        return self.known[op, args]

    def program(self) -> Program:
        n = len(self.array_names)
        last_use = dict.fromkeys(range(len(self.values)), -1)
        for v, (_, args) in enumerate(self.values):
            for kind, a in args:
                if kind == "array":
                    last_use[a] = v
        end = len(self.values)
        for kind, v in self.outputs.values():
            if kind == "array":
                last_use[v] = end
        serves = self.serves()

        holder: dict[int, int] = {r: r for r in range(n)}  # register -> array value in it
        register: dict[int, int] = {r: r for r in range(n)}  # array value -> its register
        gradient = self.array_names.index("g")
        ops: list[tuple[str, tuple[Any, ...], int]] = []

        def is_free(r: int, v: int) -> bool:
            """Whether register r may take value v: what it holds is not read after v."""
            if last_use[holder[r]] > v or r == gradient:
                return False
            if r >= n or self.outputs[r] == ("array", v):
                return True
            return r in serves[v] and last_use[v] < end  # a step towards the array's own result

        for v in range(n, end):
            op, args = self.values[v]
            own = [r for r in serves[v] if self.outputs[r] == ("array", v)]
            read = [register[a] for kind, a in args if kind == "array"]
            choices = [r for r in [*own, *read, *range(n, len(holder))] if is_free(r, v)]
            target = choices[0] if choices else len(holder)
            operands = tuple((k, register[a] if k == "array" else a) for k, a in args)
            ops.append((op, operands, target))
            holder[target], register[v] = v, target
        for r, (kind, v) in self.outputs.items():  # results that are elsewhere
            source = register[v] if kind == "array" else v
            if (kind, source) != ("array", r):
                ops.append(("positive", ((kind, source),), r))
        return self.finish(n, len(holder) - n, ops)

    def serves(self) -> list[set[int]]:
        """For every array value, the arrays whose results are computed from it."""
        serves: list[set[int]] = [set() for _ in self.values]
        for r, (kind, v) in self.outputs.items():
            if kind == "array":
                serves[v].add(r)
        for v in reversed(range(len(self.values))):
            for kind, a in self.values[v][1]:
                if kind == "array":
                    serves[a] |= serves[v]
        return serves

    def finish(self, n: int, scratch: int, ops: list[Any]) -> Program:
        """The program, with the registers of numbers counted after those of arrays."""
        before = {"option": 0, "literal": len(self.options)}
        before["number"] = before["literal"] + len(self.literals)
        numbers = tuple((op, tuple(before[k] + i for k, i in args)) for op, args in self.numbers)
        before = {k: n + scratch + first for k, first in before.items()} | {"array": 0}
        flat = tuple((op, tuple(before[k] + i for k, i in args), t) for op, args, t in ops)
        return Program(n, scratch, self.options, tuple(self.literals), numbers, flat)
