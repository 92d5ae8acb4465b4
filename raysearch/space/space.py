"""Space: the door between the unit cube and typed columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from .columns import Columns
from .parameters import Parameter, parameter_from_json

Floats = NDArray[np.float64]
Constraint = Callable[[Any], Any]

_INACTIVE_AT = 0.5  # where encode puts parameters that are not active


@dataclass(frozen=True)
class Verdict:
    """Whether a configuration belongs to a space; if not, why not.

    reasons  one text for each thing that is wrong; none: it belongs
    """

    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.reasons

    def __str__(self) -> str:
        return "; ".join(self.reasons) or "legal"


class Space:
    """The parameters of a search, with their conditions and known constraints.

    parameters   name -> Float, Int or Choice; names are any texts that are not empty
    constraints  functions of a configuration (or, marked ``@vectorized``, of columns)
                 that say whether it is allowed; a parameter that is not active is absent

    Raises SpaceError if there is no parameter, or a condition names an unknown parent,
    an illegal value, or goes round in a circle.

    >>> space = Space({"lr": Float(1e-5, 1e-1, log=True), "units": Int(32, 256)})
    >>> space.decode(np.array([[0.5, 0.0]])).configs()
    [{'lr': 0.001, 'units': 32}]
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        constraints: Iterable[Constraint] = (),
    ) -> None:
        if not isinstance(parameters, Mapping) or not parameters:
            raise SpaceError(
                "space: expected a mapping of at least one name to a parameter, as in "
                f"{{'lr': Float(1e-5, 1e-1, log=True)}}, found {parameters!r}"
            )
        for name, parameter in parameters.items():
            if not isinstance(name, str) or not name:
                raise SpaceError(f"space: expected a name (a text), found {name!r}")
            if not isinstance(parameter, Parameter):
                raise SpaceError(
                    f"space[{name!r}]: expected a Float, Int or Choice, found {parameter!r}"
                )
        self.parameters: Mapping[str, Parameter] = dict(parameters)
        self.constraints = tuple(constraints)
        for constraint in self.constraints:
            if not callable(constraint):
                raise SpaceError(
                    f"constraints: expected functions of a configuration, found {constraint!r}"
                )
        self._conditions = self._resolve_conditions()

    # --- conditions ---------------------------------------------------------------------

    def _resolve_conditions(self) -> dict[str, list[tuple[str, NDArray[Any]]]]:
        """name -> [(parent, the parent's values as numbers)], parents before children."""
        resolved: dict[str, list[tuple[str, NDArray[Any]]]] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                circle = " -> ".join([*path[path.index(name) :], name])
                raise SpaceError(f".when(): conditions go round in a circle: {circle}")
            if name in resolved:
                return
            for parent, values in self.parameters[name].conditions:
                if parent not in self.parameters:
                    raise SpaceError(
                        f"space[{name!r}].when({parent}=...): there is no parameter {parent!r}; "
                        f"known are {list(self.parameters)}"
                    )
                visit(parent, (*path, name))
            resolved[name] = [
                (parent, self._numbers(name, parent, values))
                for parent, values in self.parameters[name].conditions
            ]

        for name in self.parameters:
            visit(name, ())
        return {name: conditions for name, conditions in resolved.items() if conditions}

    def _numbers(self, name: str, parent: str, values: Sequence[Any]) -> NDArray[Any]:
        try:
            return np.array([self.parameters[parent].lookup(value) for value in values])
        except SpaceError as error:
            raise SpaceError(f"space[{name!r}].when({parent}=...): {error}") from None

    def _active(self, numbers: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
        active: dict[str, NDArray[np.bool_]] = {}
        for name, conditions in self._conditions.items():
            mask = np.ones(len(numbers[name]), dtype=bool)
            for parent, values in conditions:
                mask &= np.isin(numbers[parent], values)
                if parent in active:
                    mask &= active[parent]
            active[name] = mask
        return active

    # --- the unit cube --------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """How many coordinates a point of the unit cube has."""
        return len(self.parameters)

    @cached_property
    def size(self) -> float:
        """How many configurations there are without regard to constraints, or infinity."""
        return _count(self)

    def decode(self, x: Floats) -> Columns:
        """Typed columns at the points x, shape (n, d), of the unit cube."""
        numbers = {
            name: parameter.decode(x[:, i])
            for i, (name, parameter) in enumerate(self.parameters.items())
        }
        return Columns(self.parameters, numbers, self._active(numbers), len(x))

    def encode(self, columns: Columns) -> Floats:
        """Points (n, d) of the unit cube; parameters that are not active lie at 0.5.

        Inverse to `decode`: exactly for discrete values, to rounding for continuous ones.
        """
        x = np.empty((columns.k, self.dim))
        for i, (name, parameter) in enumerate(self.parameters.items()):
            x[:, i] = parameter.encode(columns.numbers[name])
            if name in columns.active:
                x[~columns.active[name], i] = _INACTIVE_AT
        return x

    def snap(self, x: Floats) -> Floats:
        """The points where the configurations decoded from x have their place."""
        return self.encode(self.decode(x))

    def allowed(self, columns: Columns) -> NDArray[np.bool_]:
        """(k,) whether each configuration meets the constraints."""
        ok = np.ones(columns.k, dtype=bool)
        configs: list[dict[str, Any]] | None = None
        for constraint in self.constraints:
            if getattr(constraint, "__vectorized__", False):
                ok &= np.asarray(constraint(columns), dtype=bool)
                continue
            if configs is None:
                configs = columns.configs()
            ok &= np.fromiter((self._ask(constraint, c) for c in configs), bool, columns.k)
        return ok

    @staticmethod
    def _ask(constraint: Constraint, config: Mapping[str, Any]) -> bool:
        try:
            return bool(constraint(config))
        except Exception as error:
            name = getattr(constraint, "__name__", repr(constraint))
            raise SpaceError(
                f"constraint {name}: raised {type(error).__name__}: {error} for {dict(config)}; "
                "parameters that are not active are absent, so use config.get(name)"
            ) from error

    # --- single configurations ------------------------------------------------------------

    @property
    def default(self) -> dict[str, Any]:
        """The default configuration: each parameter's default, or the middle of its range."""
        numbers = {}
        for name, parameter in self.parameters.items():
            if parameter.default is not None:
                numbers[name] = np.array([parameter.lookup(parameter.default)])
            else:
                numbers[name] = parameter.decode(np.array([0.5 if parameter.ordered else 0.0]))
        return Columns(self.parameters, numbers, self._active(numbers), 1).configs()[0]

    def contains(self, config: Mapping[str, Any]) -> Verdict:
        """Whether the configuration is legal; the verdict prints what is wrong.

        >>> print(Space({"units": Int(32, 256)}).contains({"units": 300}))
        units: expected a value in [32, 256], found 300
        """
        return self._examine(config)[0]

    def columns(self, configs: Sequence[Mapping[str, Any]]) -> Columns:
        """Configurations as columns; SpaceError says which one is illegal, and why."""
        rows = []
        for i, config in enumerate(configs):
            verdict, row = self._examine(config)
            if not verdict:
                raise SpaceError(f"configuration {i}: {verdict}")
            rows.append(row)
        numbers = {
            name: np.array([row[name] for row in rows], dtype=parameter.dtype)
            for name, parameter in self.parameters.items()
        }
        return Columns(self.parameters, numbers, self._active(numbers), len(rows))

    def _examine(self, config: Mapping[str, Any]) -> tuple[Verdict, dict[str, float]]:
        """The verdict, and the value of each parameter as a number (filled where inactive)."""
        reasons = [
            f"{name}: there is no such parameter; known are {list(self.parameters)}"
            for name in config
            if name not in self.parameters
        ]
        numbers: dict[str, float] = {}
        for name, parameter in self.parameters.items():
            numbers[name] = parameter.decode(np.array([0.5])).item()
            if name in config:
                try:
                    numbers[name] = parameter.lookup(config[name])
                except SpaceError as error:
                    reasons.append(f"{name}: {error}")
        active = self._active({name: np.array([value]) for name, value in numbers.items()})
        for name in self.parameters:
            on = bool(active[name][0]) if name in active else True
            if on and name not in config:
                reasons.append(f"{name}: missing")
            if not on and name in config:
                wanted = " and ".join(
                    f"{p} in {list(values)}" for p, values in self.parameters[name].conditions
                )
                reasons.append(f"{name}: given, but not active; it needs {wanted}")
        if not reasons:
            reasons += [
                f"constraint {getattr(c, '__name__', repr(c))}: not met"
                for c in self.constraints
                if not Space(self.parameters, [c]).allowed(self._one(numbers))[0]
            ]
        return Verdict(tuple(reasons)), numbers

    def _one(self, numbers: Mapping[str, float]) -> Columns:
        arrays = {
            name: np.array([numbers[name]], dtype=parameter.dtype)
            for name, parameter in self.parameters.items()
        }
        return Columns(self.parameters, arrays, self._active(arrays), 1)

    # --- for people and files -------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The space as JSON values; constraints, being code, are named only."""
        parameters = {name: p.to_json() for name, p in self.parameters.items()}
        names = [getattr(c, "__name__", type(c).__name__) for c in self.constraints]
        return {"parameters": parameters, **({"constraints": names} if names else {})}

    @classmethod
    def from_json(
        cls, description: Mapping[str, Any], constraints: Iterable[Constraint] = ()
    ) -> Space:
        """The space that `to_json` described; objects of a Choice come back as their names."""
        parameters = {}
        for name, parameter in description["parameters"].items():
            try:
                parameters[name] = parameter_from_json(parameter)
            except SpaceError as error:
                raise SpaceError(f"space[{name!r}]: {error}") from None
        return cls(parameters, constraints)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(tuple(self.parameters))

    def __repr__(self) -> str:
        body = ", ".join(f"{name!r}: {parameter!r}" for name, parameter in self.parameters.items())
        constraints = f", constraints={list(self.constraints)!r}" if self.constraints else ""
        return f"Space({{{body}}}{constraints})"


def _count(space: Space) -> float:
    """How many configurations a space has: the sum over the values of its parents.

    Parents are fixed one after the other, in classes of values that activate the same
    children; what depends on no open condition is a plain product.
    """
    parents = {parent for conditions in space._conditions.values() for parent, _ in conditions}
    if any(math.isinf(p.size) for p in space.parameters.values()):
        return math.inf
    order = [*dict.fromkeys([*(n for n in space.parameters if n not in space._conditions), *space._conditions])]

    def count(i: int, chosen: dict[str, float | None]) -> float:
        if i == len(order):
            return 1
        name = order[i]
        active = all(
            chosen[parent] is not None and chosen[parent] in values
            for parent, values in space._conditions.get(name, ())
        )
        if not active:
            return count(i + 1, {**chosen, name: None})
        size = space.parameters[name].size
        if name not in parents:
            return size * count(i + 1, chosen)
        named = {
            v
            for conditions in space._conditions.values()
            for parent, values in conditions
            if parent == name
            for v in values.tolist()
        }
        total = sum(count(i + 1, {**chosen, name: value}) for value in sorted(named))
        others = size - len(named)
        return total + (others * count(i + 1, {**chosen, name: math.nan}) if others else 0)

    return count(0, {})
