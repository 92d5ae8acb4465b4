"""The kinds of parameter, each a map between [0, 1] and its values.

Every kind lays its values along the unit interval so that equal lengths are equally
likely: `decode` is the quantile function of the prior, `encode` goes back to the place
(for discrete values: the middle of the bin) that a value has there. Both take and give
whole arrays. A value is held as a number; for a `Choice` that number is its index.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError

#: (parent's name, the values for which the child is active), all of which must hold
Conditions = tuple[tuple[str, tuple[Any, ...]], ...]
Array = NDArray[Any]

_EXACT = 2**53  # integers up to here are exact in float64
_MAX_DECIMALS = 15


@dataclass(frozen=True, repr=False)
class Parameter(ABC):
    """What all kinds of parameter share: a default value and conditions."""

    _: KW_ONLY
    default: Any = None
    conditions: Conditions = ()

    @property
    def ordered(self) -> bool:
        """Whether values close to each other on the unit interval are alike."""
        return True

    def when(self, parents: Mapping[str, Any] | None = None, /, **equals: Any) -> Self:
        """The same parameter, active only where its parents have the given values.

        A list means any of its values; several parents must all agree. Names that are no
        identifiers go into a mapping.

        >>> Float(0.8, 0.99).when(optimizer=["sgd", "nesterov"]).conditions
        (('optimizer', ('sgd', 'nesterov')),)
        >>> Float(0.8, 0.99).when({"the optimizer": "sgd"}).conditions
        (('the optimizer', ('sgd',)),)
        """
        wanted = {**(parents or {}), **equals}
        if not wanted:
            raise SpaceError(".when(): name a parent and its value, as in .when(optimizer='sgd')")
        conditions = tuple(
            (name, tuple(value) if isinstance(value, (list, tuple, set, range)) else (value,))
            for name, value in wanted.items()
        )
        for name, values in conditions:
            if not values:
                raise SpaceError(f".when({name}=[]): name at least one value")
        return replace(self, conditions=self.conditions + conditions)

    @property
    @abstractmethod
    def size(self) -> float:
        """How many values there are: an integer, or infinity."""

    @property
    @abstractmethod
    def dtype(self) -> type[np.float64] | type[np.int64]:
        """What arrays of this parameter's values consist of."""

    @abstractmethod
    def decode(self, u: NDArray[np.float64]) -> Array:
        """Values at the places u (any shape) of the unit interval, as `dtype`."""

    @abstractmethod
    def encode(self, values: Array) -> NDArray[np.float64]:
        """Places of the values on the unit interval."""

    @abstractmethod
    def lookup(self, value: Any) -> float | int:
        """The number by which a value is held; SpaceError says why a value is illegal."""

    @abstractmethod
    def to_list(self, values: Array) -> list[Any]:
        """The Python objects that users see, for an array of values."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A description of JSON values; `parameter_from_json` goes back."""

    def _json(self, kind: str, body: Any, **options: Any) -> dict[str, Any]:
        when = [[name, list(values)] for name, values in self.conditions]
        options = {"default": self.default, **options}
        given = {k: v for k, v in options.items() if v is not None and v is not False}
        return {kind: body, **given, **({"when": when} if when else {})}

    def _settle_default(self) -> None:
        """Put the default into the form that `to_list` gives, or say why it is illegal."""
        if self.default is None:
            return
        try:
            number = np.array([self.lookup(self.default)], dtype=self.dtype)
        except SpaceError as error:
            raise SpaceError(f"{type(self).__name__} default: {error}") from None
        object.__setattr__(self, "default", self.to_list(number)[0])

    def __repr__(self) -> str:
        """The parameter as code, without what was left out."""
        parts = []
        for f in fields(self):
            value = getattr(self, f.name)
            if not f.init or f.name == "conditions" or value == f.default:
                continue
            if f.name == "values":
                value = list(value)
            parts.append(repr(value) if not f.kw_only else f"{f.name}={value!r}")
        when = "".join(f".when({{{n!r}: {list(v)!r}}})" for n, v in self.conditions)
        return f"{type(self).__name__}({', '.join(parts)}){when}"


def _number(argument: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise SpaceError(f"{argument}: expected a number, found {value!r}")
    if not math.isfinite(value):
        raise SpaceError(f"{argument}: expected a finite number, found {value!r}")
    return value if isinstance(value, (int, float)) else value.item()


@dataclass(frozen=True, repr=False)
class _Number(Parameter):
    """A number in [low, high], spaced linearly or by its logarithm, on a grid or not."""

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for argument in ("low", "high"):
            value = _number(f"{kind} {argument}", getattr(self, argument))
            object.__setattr__(self, argument, self._type(f"{kind} {argument}", value))
        if self.low >= self.high:
            raise SpaceError(
                f"{kind}: expected low < high, found low={self.low}, high={self.high}"
                + ("; for a constant use Choice([value])" if self.low == self.high else "")
            )
        if self.log and self.low <= 0:
            raise SpaceError(
                f"{kind} low: expected low > 0 for log=True, found {self.low}; "
                "raise low, or leave out log"
            )
        if self.step is not None:
            step = self._type(f"{kind} step", _number(f"{kind} step", self.step))
            if step <= 0:
                raise SpaceError(f"{kind} step: expected step > 0, found {step}")
            object.__setattr__(self, "step", step)
        self._settle_default()

    @staticmethod
    @abstractmethod
    def _type(argument: str, value: float) -> float:
        """The value as this kind holds it, or SpaceError."""

    def _grid(self) -> tuple[float, int] | None:
        """(step, number of values), or None for a continuum."""
        if self.step is None:
            return None
        # Decimals, because (0.5 - 0.0) / 0.1 is no integer in binary
        low, high, step = (Decimal(repr(v)) for v in (self.low, self.high, self.step))
        return self.step, int((high - low) / step) + 1

    def _on_grid(self, k: Array, step: float) -> Array:
        places = max(-int(Decimal(repr(v)).as_tuple().exponent) for v in (self.low, step))
        values = self.low + k * step
        if values.dtype == np.float64 and 0 <= places <= _MAX_DECIMALS:
            values = values.round(places)  # 0.3, not 0.30000000000000004
        return np.minimum(values, self.high)

    @property
    def size(self) -> float:
        grid = self._grid()
        return math.inf if grid is None else grid[1]

    def _log_edges(self, step: float, n: int) -> tuple[float, float]:
        """Logarithms of the outer edges of the first and last bin.

        Inner edges lie half-way (geometrically) between neighbours; the outer ones
        mirror the nearest inner edge.
        """
        first, second, before, last = self._on_grid(np.array([0, 1, n - 2, n - 1]), step).tolist()
        return (
            1.5 * math.log(first) - 0.5 * math.log(second),
            1.5 * math.log(last) - 0.5 * math.log(before),
        )

    def decode(self, u: NDArray[np.float64]) -> Array:
        grid = self._grid()
        if grid is None:
            low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
            values = low * (1 - u) + high * u
            return np.clip(np.exp(values) if self.log else values, self.low, self.high)
        step, n = grid
        if n == 1:
            return np.full(np.shape(u), self.low, dtype=self.dtype)
        if not self.log:
            k = np.clip(np.floor(u * n), 0, n - 1)
            return self._on_grid(k.astype(self.dtype), step).astype(self.dtype)
        low, high = self._log_edges(step, n)
        raw = np.exp(low * (1 - u) + high * u)
        k = np.clip(np.floor((raw - self.low) / step), 0, n - 1).astype(self.dtype)
        here, above = self._on_grid(k, step), self._on_grid(np.minimum(k + 1, n - 1), step)
        return np.where(raw > np.sqrt(here.astype(float) * above), above, here).astype(self.dtype)

    def encode(self, values: Array) -> NDArray[np.float64]:
        values = np.asarray(values, dtype=np.float64)
        grid = self._grid()
        if grid is None and self.log:
            low, high = math.log(self.low), math.log(self.high)
            u = (np.log(values) - low) / (high - low)
        elif grid is None:  # halves, because high - low may overflow
            u = (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        elif grid[1] == 1:
            u = np.full(values.shape, 0.5)
        elif self.log:
            low, high = self._log_edges(*grid)
            u = (np.log(values) - low) / (high - low)
        else:
            step, n = grid
            u = (np.round((values - self.low) / step) + 0.5) / n
        return np.clip(u, 0.0, 1.0)

    def lookup(self, value: Any) -> float | int:
        number = self._type("value", _number("value", value))
        if not self.low <= number <= self.high:
            raise SpaceError(f"expected a value in [{self.low}, {self.high}], found {value!r}")
        grid = self._grid()
        if grid is not None:
            step, n = grid
            k = min(round((number - self.low) / step), n - 1)
            nearest = self._on_grid(np.array([k]).astype(self.dtype), step).tolist()[0]
            if abs(nearest - number) > 1e-9 * step:
                raise SpaceError(
                    f"expected {self.low} plus a multiple of {step}, found {value!r}; "
                    f"the nearest is {nearest}"
                )
            number = nearest
        return number

    def to_list(self, values: Array) -> list[Any]:
        return values.tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True, repr=False)
class Float(_Number):
    """A real number in [low, high].

    low, high  bounds, both included, low < high
    log        spread evenly by the logarithm (then low > 0)
    step       only low, low + step, low + 2 step, ... up to high
    default    a legal value; the middle if left out

    >>> Float(0.0, 0.5, step=0.2).decode(np.array([0.0, 0.5, 1.0]))
    array([0. , 0.2, 0.4])
    """

    @staticmethod
    def _type(argument: str, value: float) -> float:
        return float(value)

    @property
    def dtype(self) -> type[np.float64]:
        return np.float64

    def to_json(self) -> dict[str, Any]:
        return self._json("float", [self.low, self.high], log=self.log, step=self.step)


@dataclass(frozen=True, repr=False)
class Int(_Number):
    """An integer in [low, high].

    low, high  bounds, both included, low < high, at most 2**53 apart from 0
    log        spread evenly by the logarithm (then low > 0)
    step       only low, low + step, low + 2 step, ... up to high
    default    a legal value; the middle if left out

    >>> Int(1, 100, log=True).decode(np.array([0.0, 0.5, 1.0]))
    array([  1,   8, 100])
    """

    @staticmethod
    def _type(argument: str, value: float) -> float:
        if value != int(value):
            raise SpaceError(f"{argument}: expected an integer, found {value!r}")
        if abs(value) > _EXACT:
            raise SpaceError(f"{argument}: expected at most 2**53 in size, found {value!r}")
        return int(value)

    def _grid(self) -> tuple[float, int]:
        step = 1 if self.step is None else self.step
        return step, int(self.high - self.low) // int(step) + 1

    @property
    def dtype(self) -> type[np.int64]:
        return np.int64

    def to_json(self) -> dict[str, Any]:
        return self._json("int", [self.low, self.high], log=self.log, step=self.step)


def _name(value: Any) -> Any:
    """The JSON value that stands for a value of a Choice: itself, or an object's name."""
    if isinstance(value, np.generic):
        value = value.item()
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        name = getattr(value, "__name__", None)
        if not isinstance(name, str):
            raise SpaceError(
                f"Choice: {value!r} is neither a JSON value nor has it a __name__; "
                "give it a name: Choice({'name': value})"
            ) from None
        return name
    return list(value) if isinstance(value, tuple) else value


def _key(value: Any) -> str:
    """A text that two JSON values share only if they are the same (1, 1.0 and True differ)."""
    return json.dumps(value, sort_keys=True)


@dataclass(frozen=True, repr=False)
class Choice(Parameter):
    """One of several values.

    values   JSON values; or Python objects, which the study knows by their ``__name__``;
             or a mapping from names to objects of any kind
    ordered  whether neighbours in the list are alike, as with batch sizes
    default  one of the values; the middle (ordered) or first (unordered) if left out

    >>> Choice(["sgd", "adam"]).decode(np.array([0.2, 0.7]))
    array([0, 1])
    """

    values: Sequence[Any] | Mapping[str, Any]
    _: KW_ONLY
    ordered: bool = False
    names: tuple[Any, ...] = field(init=False)  # what stands for each value in JSON and tables
    _index: Mapping[str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        values = self.values.tolist() if isinstance(self.values, np.ndarray) else self.values
        if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, Mapping)):
            raise SpaceError(f"Choice: expected a list of values, found {values!r}")
        if isinstance(values, Mapping):
            names, values = list(values), list(values.values())
            if not all(isinstance(name, str) for name in names):
                raise SpaceError(f"Choice: expected names (strings) as keys, found {names}")
        else:
            names = [_name(value) for value in values]
            values = [v.item() if isinstance(v, np.generic) else v for v in values]
        if not names:
            raise SpaceError("Choice: expected at least one value, found none")
        index = {_key(name): i for i, name in enumerate(names)}
        if len(index) < len(names):
            twice = next(name for i, name in enumerate(names) if index[_key(name)] != i)
            raise SpaceError(f"Choice: {twice!r} is there twice; leave one out")
        object.__setattr__(self, "values", tuple(values))
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "_index", index)
        self._settle_default()

    @property
    def size(self) -> float:
        return len(self.names)

    @property
    def dtype(self) -> type[np.int64]:
        return np.int64

    def decode(self, u: NDArray[np.float64]) -> Array:
        n = len(self.names)
        return np.clip(np.floor(u * n), 0, n - 1).astype(np.int64)

    def encode(self, values: Array) -> NDArray[np.float64]:
        return (np.asarray(values, dtype=np.float64) + 0.5) / len(self.names)

    def lookup(self, value: Any) -> int:
        assert isinstance(self.values, tuple)
        for i, legal in enumerate(self.values):
            if legal is value:
                return i
        try:
            return self._index[_key(_name(value))]
        except (KeyError, SpaceError):
            raise SpaceError(f"expected one of {_shorten(self.names)}, found {value!r}") from None

    def to_list(self, values: Array) -> list[Any]:
        assert isinstance(self.values, tuple)
        return [self.values[i] for i in values.tolist()]

    def to_json(self) -> dict[str, Any]:
        named = self.names[self.lookup(self.default)] if self.default is not None else None
        return self._json("choice", list(self.names), default=named, ordered=self.ordered)


def _shorten(names: tuple[Any, ...], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} values)"


KINDS: dict[str, type[Parameter]] = {"float": Float, "int": Int, "choice": Choice}


def parameter_from_json(description: Mapping[str, Any]) -> Parameter:
    """The parameter that `Parameter.to_json` describes; SpaceError names what is wrong."""
    options = dict(description)
    kind = next((name for name in KINDS if name in options), None)
    if kind is None:
        raise SpaceError(f"expected one of the keys {list(KINDS)}, found {list(options)}")
    body = options.pop(kind)
    conditions = options.pop("when", [])
    if isinstance(conditions, Mapping):  # {"optimizer": "sgd"}, as people write it
        conditions = list(conditions.items())
    arguments = [body] if kind == "choice" else body
    if kind != "choice" and (not isinstance(body, Sequence) or len(body) != 2):
        raise SpaceError(f"{kind}: expected [low, high], found {body!r}")
    try:
        parameter = KINDS[kind](*arguments, **options)
    except TypeError:
        known = sorted({f.name for f in fields(KINDS[kind]) if f.init} - {"conditions"})
        wrong = sorted(set(options) - set(known))
        raise SpaceError(f"{kind}: unknown option {wrong}; known are {known}") from None
    for name, values in conditions:
        parameter = parameter.when({name: values})
    return parameter
