"""Space: the door between the unit cube and typed columns."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from .columns import Columns
from .conditions import INACTIVE_AT, activity, resolve
from .constraints import Constraint, answers, check_constraints, name_of
from .kinds import parameter_from_json
from .lattice import Lattice
from .names import check_names, nearest
from .parameters import Parameter

Floats = NDArray[np.float64]


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


def space_of(space: Any) -> Space:
    """The space, made of a mapping if it is one; SpaceError if it is neither."""
    return space if isinstance(space, Space) else Space(space)


class Space:
    """The parameters of a search, with their conditions and known constraints.

    parameters   name -> Float, Int, Choice or Array; names are printable texts of at most 200
                 characters
    constraints  functions of a configuration (or, marked ``@vectorized``, of columns)
                 that say whether it is allowed; a parameter that is not active is absent

    Raises SpaceError if there is no parameter, or a condition names an unknown parent,
    an illegal value, or goes round in a circle.

    >>> from raysearch.space import Float, Int
    >>> space = Space({"lr": Float(1e-5, 1e-1, log=True), "units": Int(32, 256)})
    >>> space.decode(np.array([[0.5, 0.0]])).configs()
    [{'lr': 0.001..., 'units': 32}]
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        constraints: Iterable[Constraint] = (),
    ) -> None:
        if not isinstance(parameters, Mapping) or not parameters:
            raise SpaceError(
                "space: expected a mapping of at least one name to a parameter, as in "
                f"{{'lr': Float(1e-5, 1e-1, log=True)}}, found {parameters!r:.80}"
            )
        check_names(parameters)
        for name, parameter in parameters.items():
            if not isinstance(parameter, Parameter):
                raise SpaceError(
                    f"space[{name!r}]: expected a Float, Int, Choice or Array, found {parameter!r}"
                )
        self.parameters: Mapping[str, Parameter] = dict(parameters)
        self.constraints = check_constraints(constraints)
        self._conditions = resolve(self.parameters)
        self._dim = sum(parameter.width for parameter in self.parameters.values())

    # --- the unit cube --------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """How many coordinates a point of the unit cube has: one, or an array's, for each."""
        return self._dim

    @cached_property
    def places(self) -> Mapping[str, slice]:
        """Parameter -> its coordinates."""
        ends = accumulate((p.width for p in self.parameters.values()), initial=0)
        return {
            name: slice(*ends) for name, ends in zip(self.parameters, pairwise(ends), strict=True)
        }

    @cached_property
    def axes(self) -> tuple[Parameter, ...]:
        """(d,) for each coordinate its parameter, or what stands for one number of an `Array`."""
        return tuple(
            axis
            for parameter in self.parameters.values()
            for axis in (parameter.axis,) * parameter.width
        )

    @cached_property
    def size(self) -> float:
        """How many configurations there are without regard to constraints, or infinity."""
        every = Lattice({name: parameter.axis for name, parameter in self.parameters.items()})
        return math.inf if every.endless else every.size

    @property
    def conditional(self) -> bool:
        """Whether some parameter is not always active."""
        return bool(self._conditions)

    def decode(self, x: Floats) -> Columns:
        """Typed columns at the points x, shape (n, d), of the unit cube.

        What lies outside the cube is moved to its surface; SpaceError if x has another
        shape, or contains NaN.
        """
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise SpaceError(f"x: expected the shape (n, {self.dim}), found {x.shape}")
        order: Any = "C" if self.dim == len(self.parameters) else "K"  # by parameter, or by Array
        inside = np.minimum(np.maximum(x.T, 0.0, order=order), 1.0)  # NaN stays NaN
        if np.isnan(inside).any():
            raise SpaceError("x: expected points of the unit cube, found NaN")
        numbers = {
            name: parameter.decode(inside[place].T if parameter.shape else inside[place.start])
            for (name, parameter), place in zip(
                self.parameters.items(), self.places.values(), strict=True
            )
        }
        return Columns(self.parameters, numbers, activity(self._conditions, numbers), len(x))

    def encode(self, columns: Columns) -> Floats:
        """Points (n, d) of the unit cube; parameters that are not active lie at 0.5.

        Inverse to `decode`: exactly for discrete values, to rounding for continuous ones.
        """
        x = np.empty((columns.k, self.dim))
        for name, parameter in self.parameters.items():
            place = self.places[name]
            x[:, place] = parameter.encode(columns.numbers[name]).reshape(
                columns.k, parameter.width
            )
            if name in columns.active:
                x[~columns.active[name], place] = INACTIVE_AT
        return x

    def active(self, columns: Columns) -> NDArray[np.bool_]:
        """(k, d) which coordinates belong to parameters that are active."""
        mask = np.ones((columns.k, self.dim), dtype=bool)
        for name, active in columns.active.items():
            mask[:, self.places[name]] = active[:, None]
        return mask

    def snap(self, x: Floats) -> Floats:
        """The points where the configurations decoded from x have their place."""
        return self.encode(self.decode(x))

    def allowed(self, columns: Columns) -> NDArray[np.bool_]:
        """(k,) whether each configuration meets all constraints."""
        ok = np.ones(columns.k, dtype=bool)
        for _, met in answers(self.constraints, columns):
            ok &= met
        return ok

    # --- single configurations ------------------------------------------------------------

    @property
    def default(self) -> dict[str, Any]:
        """The default configuration, which constraints are not asked about."""
        numbers = {
            name: parameter.column([parameter.lookup(parameter.default)])
            for name, parameter in self.parameters.items()
        }
        return Columns(self.parameters, numbers, activity(self._conditions, numbers), 1).configs()[
            0
        ]

    def contains(self, config: Mapping[str, Any]) -> Verdict:
        """Whether the configuration is legal; the verdict prints what is wrong.

        >>> from raysearch.space import Int
        >>> print(Space({"units": Int(32, 256)}).contains({"units": 300}))
        units: expected a value in [32, 256], found 300
        """
        return self._examine([config])[0][0]

    def columns(self, configs: Sequence[Mapping[str, Any]]) -> Columns:
        """Configurations as columns; SpaceError says which one is illegal, and why."""
        verdicts, columns = self._examine(configs)
        for i, verdict in enumerate(verdicts):
            if not verdict:
                raise SpaceError(f"configuration {i}: {verdict}")
        return columns

    def _examine(self, configs: Sequence[Mapping[str, Any]]) -> tuple[list[Verdict], Columns]:
        """The verdict on each configuration; and all as columns, right where legal."""
        reasons: list[list[str]] = [[] for _ in configs]
        for config, wrong in zip(configs, reasons, strict=True):
            if not isinstance(config, Mapping):
                raise SpaceError(f"expected a mapping of names to values, found {config!r}")
            wrong += [
                f"{name}: there is no such parameter; {nearest(str(name), self.parameters)}"
                for name in config
                if name not in self.parameters
            ]
        numbers = {}
        for name, parameter in self.parameters.items():
            filler = parameter.lookup(parameter.default)  # where nothing legal is given
            column = [filler] * len(configs)
            for i, config in enumerate(configs):
                if name in config:
                    try:
                        column[i] = parameter.lookup(config[name])
                    except SpaceError as error:
                        reasons[i].append(f"{name}: {error}")
            numbers[name] = parameter.column(column)
        columns = Columns(
            self.parameters, numbers, activity(self._conditions, numbers), len(configs)
        )
        sound = [not wrong for wrong in reasons]  # activity follows from legal values only
        for name in self.parameters:
            given = np.array([name in config for config in configs], dtype=bool)
            for i in np.flatnonzero(given != columns.active.get(name, True)).tolist():
                if sound[i] or name not in columns.active:
                    reasons[i].append(f"{name}: {self._misplaced(name, bool(given[i]))}")
        legal = np.flatnonzero([not wrong for wrong in reasons])
        for constraint, met in answers(self.constraints, columns.take(legal)):
            for i in legal[~met].tolist():
                reasons[i].append(f"constraint {constraint}: not met")
        return [Verdict(tuple(wrong)) for wrong in reasons], columns

    def _misplaced(self, name: str, given: bool) -> str:
        if not given:
            return "missing"
        conditions = self.parameters[name].conditions
        wanted = " and ".join(f"{parent} in {list(values)}" for parent, values in conditions)
        return f"given, but not active; it needs {wanted}"

    # --- for people and files -------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The space as JSON values; constraints, being code, are named only."""
        parameters = {name: p.to_json() for name, p in self.parameters.items()}
        names = [name_of(constraint) for constraint in self.constraints]
        return {"parameters": parameters, **({"constraints": names} if names else {})}

    @classmethod
    def from_json(
        cls, description: Mapping[str, Any], constraints: Iterable[Constraint] = ()
    ) -> Space:
        """The space that `to_json` described; objects of a Choice come back as their names."""
        if not isinstance(description, Mapping) or not isinstance(
            description.get("parameters"), Mapping
        ):
            raise SpaceError(f"space: expected {{'parameters': {{...}}}}, found {description!r}")
        parameters = {}
        for name, parameter in description["parameters"].items():
            try:
                parameters[name] = parameter_from_json(parameter)
            except SpaceError as error:
                raise SpaceError(f"space[{name!r}]: {error}") from None
        return cls(parameters, constraints)

    def __eq__(self, other: object) -> bool:
        """Whether names (in this order), parameters and names of constraints are the same."""
        if not isinstance(other, Space):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return tuple(self.parameters.items()), tuple(map(name_of, self.constraints))

    def __repr__(self) -> str:
        body = ", ".join(f"{name!r}: {parameter!r}" for name, parameter in self.parameters.items())
        constraints = f", constraints={list(self.constraints)!r}" if self.constraints else ""
        return f"Space({{{body}}}{constraints})"

    def _repr_html_(self) -> str:
        """The space as a table, for notebooks."""
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td><code>{html.escape(repr(parameter))}</code></td>"
            for name, parameter in self.parameters.items()
        )
        return f"<table><tr><th>parameter</th><th>values</th></tr>{rows}</table>"
