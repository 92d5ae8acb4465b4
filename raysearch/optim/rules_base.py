"""What an update rule is: options in a frozen dataclass, state apart, steps in place.

    rule = Adam(lr=1e-3)
    state = rule.init(params)
    rule.step(params, grads, state)            # changes params and state
    rule.step(params, grads, state, lr=1e-4)   # another option for this step alone

Options are arguments of every step: a number, a schedule of the step, or what is given to
`step`. A rule is written once, as the formula of its paper.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .fused import run, run_by_leaf
from .schedule import Schedule, check, check_options
from .trace import signature
from .tree import Array, Tree, check_apart, gradients, leaves, namespace


@dataclass(eq=False)
class State:
    """What changes from step to step beside the parameters.

    steps    how many steps have been done
    slots    arrays that belong to the parameters, a list of leaves for each name
    numbers  single numbers that some rules remember
    inner    states of the parts of a chain
    owner    name of the rule that made it
    shapes   of the leaves that it was made for
    """

    steps: int = 0
    slots: dict[str, list[Array]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    inner: list[State] = field(default_factory=list)
    owner: str = ""
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of everything in it as named numpy arrays, ready for `np.savez`."""
        return {name: _to_numpy(x) for name, x in self._named().items()}

    def _named(self) -> dict[str, Array]:
        """Everything in it."""
        found: dict[str, Array] = {"steps": np.array(self.steps)}
        for name, value in self.numbers.items():
            found[name] = np.array(value)
        for name, slot in self.slots.items():
            for i, x in enumerate(slot):
                found[f"{name}.{i}"] = x
        for i, part in enumerate(self.inner):
            found |= {f"{i}.{name}": x for name, x in part._named().items()}
        return found

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take over what `arrays` gave, into a state made by init with the same parameters."""
        expected = self._named()
        if set(arrays) != set(expected):
            raise UsageError(
                f"restore: expected the arrays {sorted(expected)}, found {sorted(arrays)}; "
                "use the rule and parameters that the state was saved with"
            )
        for name, old in expected.items():
            if tuple(old.shape) != arrays[name].shape:
                raise UsageError(
                    f"restore: {name}: expected shape {tuple(old.shape)}, found "
                    f"{arrays[name].shape}"
                )
        self.steps = int(arrays["steps"])
        self.numbers = {name: float(arrays[name]) for name in self.numbers}
        for name, slot in self.slots.items():
            for i, x in enumerate(slot):
                x[...] = namespace(x).asarray(arrays[f"{name}.{i}"], dtype=x.dtype)
        for i, part in enumerate(self.inner):
            start = f"{i}."
            mine = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
            part.restore(mine)
        return self


def _to_numpy(x: Array) -> NDArray[Any]:
    if hasattr(x, "cpu"):  # torch
        x = x.cpu()
    elif hasattr(x, "get"):  # cupy
        x = x.get()
    return np.array(x)


_IN_0_1 = {"momentum", "dampening", "alpha", "rho", "beta", "beta3", "shampoo_beta"}
_BELOW_1 = {"betas"}  # 1 / (1 - beta^t) corrects the zero start
_NOT_NEGATIVE = {
    "lr", "lr_decay", "weight_decay", "momentum_decay", "trust_coefficient",
    "eps", "eps_root", "initial_accumulator_value",
}  # fmt: skip
_FROM_1 = {"ns_steps", "precondition_frequency"}


@dataclass(frozen=True)
class Rule(ABC):
    """One way of moving parameters along their gradients."""

    def __post_init__(self) -> None:
        check_options(self)
        for f in fields(self):
            value = getattr(self, f.name)
            numbers = [x for x in (value if isinstance(value, tuple) else [value]) if _number(x)]
            if f.name in _IN_0_1:
                check(all(0 <= x <= 1 for x in numbers), self, f.name, "in [0, 1]")
            elif f.name in _BELOW_1:
                check(all(0 <= x < 1 for x in numbers), self, f.name, "in [0, 1)")
            elif f.name in _NOT_NEGATIVE:
                check(all(x >= 0 for x in numbers), self, f.name, ">= 0")
            elif f.name in _FROM_1:
                check(all(x >= 1 for x in numbers), self, f.name, ">= 1")

    def init(self, params: Tree) -> State:
        """The state before the first step, for these parameters."""
        names, p = leaves(params)
        check_apart(names, p)
        state = self.init_leaves(names, p)
        state.owner, state.shapes = type(self).__name__, [tuple(x.shape) for x in p]
        return state

    def step(self, params: Tree, grads: Tree, state: State, **options: Any) -> None:
        """Move the parameters, in place, and the state with them.

        params   one array, a list, or a nested dict of arrays, as given to `init`
        grads    the gradients, of the same structure, shapes and dtypes; not changed
        state    made by `init`, changed in place
        options  replace the rule's own for this step alone
        """
        names, p = leaves(params)
        self._check_owner(state)
        for name, x, shape in zip(names, p, state.shapes, strict=False):
            if x.shape != shape:
                raise UsageError(
                    f"state: expected one made for {name} of shape {tuple(x.shape)}, found one "
                    f"made for shape {shape}; make it with init(params)"
                )
        self.step_leaves(names, p, gradients(grads, names, p), state, **options)

    def _check_owner(self, state: State) -> None:
        mine = type(self).__name__
        if not isinstance(state, State) or state.owner not in (mine, ""):
            found = f"one of {state.owner}" if isinstance(state, State) else repr(state)
            raise UsageError(f"state: expected one made by init of {mine}, found {found:.80}")

    @abstractmethod
    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """`init` for a list of arrays and their names."""

    @abstractmethod
    def step_leaves(
        self, names: list[str], p: list[Array], g: list[Array], state: State, **options: Any
    ) -> None:
        """`step` for lists of checked arrays."""

    def at(self, k: int, **options: Any) -> Self:
        """The rule with these options, and every schedule replaced by its value at step k."""
        if not options and not self._scheduled:
            return self
        known = [f.name for f in fields(self)]
        for name in options:
            if name not in known:
                raise UsageError(
                    f"{type(self).__name__}: no option {name!r}; it has {', '.join(known)}"
                )
        given = self._scheduled | options
        return replace(
            self, **{n: x(k) if isinstance(x, Schedule) else x for n, x in given.items()}
        )

    @cached_property
    def _scheduled(self) -> dict[str, Schedule]:
        """The options that follow schedules."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: x for name, x in values.items() if isinstance(x, Schedule)}


def _number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating))


@dataclass(frozen=True)
class Formula(Rule):
    """A rule that is one formula, applied to every leaf by itself.

    formula  ``formula(p, g, *slots, **options) -> (p, *slots)``. Its keyword arguments are
             the rule's fields (of a tuple ``betas``: beta1, beta2, ...), the number t of
             the step, from 1, and what `derived` adds.
    """

    formula: ClassVar[Callable[..., tuple[Any, ...]]]

    def absent(self) -> set[str]:
        """Slots that these options do not need; the formula sees zeros in their place."""
        return set()

    def numbers(self) -> dict[str, float]:
        """Single numbers to remember beside the slots, as they are before the first step."""
        return {}

    def derived(self, state: State, options: dict[str, Any]) -> dict[str, Any]:
        """Further options for the formula at step t = options["t"]; may renew state.numbers."""
        return {}

    def accept(self, name: str, p: Array) -> None:
        """Raise UsageError if the rule cannot move this leaf."""

    def begin(self, slot: str, p: Array) -> Array:
        """The slot of this name for leaf p before the first step: zeros like the leaf."""
        return namespace(p).zeros_like(p)

    @abstractmethod
    def apply(self, columns: Mapping[str, list[Array]], options: dict[str, Any]) -> None:
        """Replace p and the slots of every leaf by the formula's results."""

    @cached_property
    def kept(self) -> list[str]:
        """The slots that these options need."""
        return [name for name in signature(self.formula)[0] if name not in self.absent()]

    @cached_property
    def _by_name(self) -> dict[str, Any]:
        """The options by name, tuples taken apart: betas gives beta1, beta2."""
        options: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, tuple):
                stem = f.name if f.name == "eps" else f.name.removesuffix("s")
                options |= {f"{stem}{i}": x for i, x in enumerate(value, 1)}
            else:
                options[f.name] = value
        return options

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """A list of leaves for every slot."""
        for name, x in zip(names, p, strict=True):
            self.accept(name, x)
        slots = {slot: [self.begin(slot, x) for x in p] for slot in self.kept}
        return State(slots=slots, numbers=self.numbers())

    def step_leaves(
        self, names: list[str], p: list[Array], g: list[Array], state: State, **options: Any
    ) -> None:
        """Run the formula over all leaves."""
        rule = self.at(state.steps, **options)
        rule.check_state(names, p, state)
        values = rule._by_name | {"t": state.steps + 1}
        values |= rule.derived(state, values)
        used = {name: values[name] for name in signature(rule.formula)[1]}
        rule.apply({"p": p, "g": g} | state.slots, used)
        state.steps += 1

    def check_state(self, names: list[str], p: list[Array], state: State) -> None:
        """UsageError unless the state was made by such a rule for such parameters."""
        if not set(self.kept) <= state.slots.keys() <= set(signature(self.formula)[0]):
            raise UsageError(
                f"state: expected the arrays {self.kept} of {self!r}, found {list(state.slots)}; "
                "make it with this rule's init"
            )
        for slot, arrays in state.slots.items():
            if len(arrays) != len(p):
                raise UsageError(
                    f"state: expected {len(p)} arrays {slot}, one for each leaf of params, "
                    f"found {len(arrays)}; make it with init(params)"
                )


@dataclass(frozen=True)
class Elementwise(Formula):
    """A rule whose every element moves by itself: see `trace` for what its formula may use."""

    def check_state(self, names: list[str], p: list[Array], state: State) -> None:
        """Every slot is like its leaf, too."""
        super().check_state(names, p, state)
        for slot, arrays in state.slots.items():
            for name, x, like in zip(names, arrays, p, strict=True):
                if x.shape != like.shape or x.dtype != like.dtype:
                    raise UsageError(
                        f"state: expected {slot} of {name} to have its shape {tuple(like.shape)} "
                        f"and dtype {like.dtype}, found {tuple(x.shape)} and {x.dtype}; "
                        "make it with init(params)"
                    )

    def apply(self, columns: Mapping[str, list[Array]], options: dict[str, Any]) -> None:
        """All leaves at once, in place."""
        run(self.formula, columns, options)


@dataclass(frozen=True)
class Leafwise(Formula):
    """A rule that looks at a whole array at once: its norm, its rows, its singular vectors.

    `trace` does not apply: its formula may do whatever the array API can.
    """

    def apply(self, columns: Mapping[str, list[Array]], options: dict[str, Any]) -> None:
        """Leaf by leaf."""
        run_by_leaf(self.formula, columns, options)
