"""What an update rule is: options in a frozen dataclass, state apart, steps in place.

    rule = Adam(lr=1e-3)
    state = rule.init(params)
    rule.step(params, grads, state)            # changes params and state
    rule.step(params, grads, state, lr=1e-4)   # another option for this step alone

Options are arguments of every step: a number, a schedule of the step, or what is given to
`step`. Element-wise rules are written once, as the formula of their paper.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .fused import run
from .schedules import Schedule, check, check_finite
from .trace import formula_slots
from .tree import Array, Tree, gradients, leaves, namespace


@dataclass(eq=False)
class State:
    """What changes from step to step beside the parameters.

    steps    how many steps have been done
    slots    arrays like the parameters, a list of leaves for each name
    numbers  single numbers that some rules remember
    inner    states of the parts of a chain
    """

    steps: int = 0
    slots: dict[str, list[Array]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    inner: list[State] = field(default_factory=list)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything in it as named numpy arrays, ready for `np.savez`."""
        found: dict[str, NDArray[Any]] = {"steps": np.array(self.steps)}
        for name, value in self.numbers.items():
            found[name] = np.array(value)
        for name, slot in self.slots.items():
            for i, x in enumerate(slot):
                found[f"{name}.{i}"] = np.array(x.cpu() if hasattr(x, "cpu") else x)
        for i, part in enumerate(self.inner):
            found |= {f"{i}.{name}": x for name, x in part.arrays().items()}
        return found

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take over what `arrays` gave, into a state made by init with the same parameters."""
        expected, given = self.arrays(), set(arrays)
        if given != set(expected):
            raise UsageError(
                f"restore: expected the arrays {sorted(expected)}, found {sorted(given)}; "
                "use the rule and parameters that the state was saved with"
            )
        for name, old in expected.items():
            if old.shape != arrays[name].shape:
                raise UsageError(
                    f"restore: {name}: expected shape {old.shape}, found {arrays[name].shape}"
                )
        self.steps = int(arrays["steps"])
        self.numbers = {name: float(arrays[name]) for name in self.numbers}
        for name, slot in self.slots.items():
            for i, x in enumerate(slot):
                x[...] = namespace(x).asarray(arrays[f"{name}.{i}"], dtype=x.dtype)
        for i, part in enumerate(self.inner):
            start = f"{i}."
            part.restore(
                {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
            )
        return self


@dataclass(frozen=True)
class Rule(ABC):
    """One way of moving parameters along their gradients."""

    def __post_init__(self) -> None:
        check_finite(self)
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in _FRACTIONS and isinstance(value, (int, float)):
                check(0 <= value < 1, self, f.name, "a number in [0, 1)")
            elif f.name in _NOT_NEGATIVE and isinstance(value, (int, float)):
                check(value >= 0, self, f.name, "a number >= 0, or a schedule")
            elif f.name == "betas":
                good = all(0 <= beta < 1 for beta in value)
                check(good, self, f.name, "numbers in [0, 1)")

    def init(self, params: Tree) -> State:
        """The state before the first step, for these parameters."""
        return self.init_leaves(leaves(params)[1])

    def step(self, params: Tree, grads: Tree, state: State, **options: Any) -> None:
        """Move the parameters, in place, and the state with them.

        params   one array, a list, or a nested dict of arrays, as given to `init`
        grads    the gradients, of the same structure, shapes and dtypes; not changed
        state    made by `init`, changed in place
        options  replace the rule's own for this step alone
        """
        names, p = leaves(params)
        self.step_leaves(p, gradients(grads, names, p), state, **options)

    @abstractmethod
    def init_leaves(self, p: list[Array]) -> State:
        """`init` for a list of arrays."""

    @abstractmethod
    def step_leaves(self, p: list[Array], g: list[Array], state: State, **options: Any) -> None:
        """`step` for lists of checked arrays."""

    def at(self, k: int, **options: Any) -> Self:
        """The rule as it is at step k, every schedule replaced by its value there."""
        rule = self.replaced(**options) if options else self
        values = {
            f.name: value(k)
            for f in fields(rule)
            if isinstance(value := getattr(rule, f.name), Schedule)
        }
        return replace(rule, **values) if values else rule

    def replaced(self, **options: Any) -> Self:
        """The rule with other options; UsageError for a name it does not have."""
        known = [f.name for f in fields(self)]
        for name in options:
            if name not in known:
                raise UsageError(
                    f"{type(self).__name__}: no option {name!r}; it has {', '.join(known)}"
                )
        return replace(self, **options)


_NOT_NEGATIVE = {"lr", "weight_decay", "eps"}
_FRACTIONS = {"momentum", "alpha", "rho"}


@dataclass(frozen=True)
class Elementwise(Rule):
    """A rule whose every element moves by itself, written as one formula.

    formula  ``formula(p, g, *slots, **options) -> (p, *slots)``, see `trace`. Its options
             are the rule's fields (of a tuple ``betas``: beta1, beta2, ...), the number t
             of the step, from 1, and what `derived` adds.
    """

    formula: ClassVar[Callable[..., tuple[Any, ...]]]

    def absent(self) -> set[str]:
        """Slots that these options do not need; the formula sees zeros in their place."""
        return set()

    def start(self) -> dict[str, float]:
        """Values of slots before the first step, where they are not zero."""
        return {}

    def derived(self, state: State, options: dict[str, Any]) -> dict[str, Any]:
        """Further numbers for the formula at step t = options["t"]."""
        return {}

    def init_leaves(self, p: list[Array]) -> State:
        """A zero-filled array (or `start`) like each leaf, for every slot."""
        start = self.start()
        kept = [name for name in self.slots() if name not in self.absent()]
        return State(
            slots={
                name: [namespace(x).full_like(x, start.get(name, 0.0)) for x in p]
                for name in kept
            }
        )

    def step_leaves(self, p: list[Array], g: list[Array], state: State, **options: Any) -> None:
        """Run the formula over all leaves."""
        rule = self.at(state.steps, **options)
        slots = rule.slots()
        kept = [name for name in slots if name not in rule.absent()]
        if kept != list(state.slots):
            raise UsageError(
                f"{rule!r}: expected a state with the arrays {kept}, found {list(state.slots)}; "
                "make it with this rule's init"
            )
        values = _spread(rule) | {"t": state.steps + 1}
        values |= rule.derived(state, values)
        run(type(rule).formula, {"p": p, "g": g} | state.slots, slots, _used(rule, values))
        state.steps += 1

    def slots(self) -> list[str]:
        """Names of the formula's slots: its arguments that stand between g and *."""
        code = type(self).formula.__code__
        return list(code.co_varnames[2 : code.co_argcount])


def _spread(rule: Rule) -> dict[str, Any]:
    """The rule's options by name, tuples taken apart: betas gives beta1, beta2."""
    options: dict[str, Any] = {}
    for f in fields(rule):
        value = getattr(rule, f.name)
        if isinstance(value, tuple):
            stem = f.name.removesuffix("s")
            options |= {f"{stem}{i}": x for i, x in enumerate(value, 1)}
        else:
            options[f.name] = value
    return options


def _used(rule: Elementwise, values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that the formula takes."""
    code = type(rule).formula.__code__
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return {name: values[name] for name in names}


__all__ = ["Elementwise", "Rule", "State", "formula_slots"]
