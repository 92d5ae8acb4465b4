"""What all kinds of parameter share: a map between [0, 1] and values, and conditions.

Every kind lays its values along the unit interval so that equal lengths are equally
likely: `decode` is the quantile function of the prior, `encode` goes back to the place
that a value has there. Both take and give whole arrays. A value is held as a number; for
a `Choice` that number is its index. An `Array` lies along several intervals, one a number.
"""

from __future__ import annotations

import copy
import keyword
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Set
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from .names import key, stand_in

#: (parent's name, JSON values for which the child is active), all of which must hold
Conditions = tuple[tuple[str, tuple[Any, ...]], ...]
Array = NDArray[Any]


class _Middle:
    """What stands for a default that was left out."""

    def __repr__(self) -> str:
        return "MIDDLE"


MIDDLE: Any = _Middle()


@dataclass(frozen=True, repr=False, eq=False)
class Parameter(ABC):
    """A kind of parameter; equal are those with the same description in JSON.

    default     a legal value; if left out the middle, or what a kind calls its middle
    conditions  see `when`
    """

    kind: ClassVar[str]  # its key in JSON
    shape: ClassVar[tuple[int, ...]] = ()  # of a value, as it is held

    _: KW_ONLY
    default: Any = MIDDLE
    conditions: Conditions = ()

    @property
    @abstractmethod
    def size(self) -> float:
        """How many values there are: an integer, or infinity."""

    @property
    @abstractmethod
    def dtype(self) -> type[np.float64] | type[np.int64]:
        """What arrays of this parameter's values consist of."""

    @property
    def width(self) -> int:
        """How many coordinates of the unit cube it has."""
        return math.prod(self.shape)

    @property
    def axis(self) -> Parameter:
        """What each of these is, by itself, to a strategy."""
        return self

    @property
    def unordered(self) -> bool:
        """Whether its values are merely different, so that no two are neighbours."""
        return False

    @property
    @abstractmethod
    def middle(self) -> Any:
        """The default where none is given."""

    @abstractmethod
    def decode(self, u: NDArray[np.float64]) -> Array:
        """Values, as `dtype`, at the places u in [0, 1] (any shape; (k, width) for arrays)."""

    @abstractmethod
    def encode(self, values: Array) -> NDArray[np.float64]:
        """Places of the values in [0, 1]: exact inverse of `decode` for discrete values."""

    @abstractmethod
    def index(self, values: Array) -> NDArray[np.int64]:
        """Which of the values these are, counted from 0; of a discrete parameter only."""

    @abstractmethod
    def nth(self, index: NDArray[np.int64]) -> Array:
        """The values with these indices: inverse to `index`."""

    @abstractmethod
    def lookup(self, value: Any) -> Any:
        """The number by which a value is held; SpaceError says why a value is illegal."""

    def nearest(self, value: Any) -> Any:
        """As `lookup`, but a number that is too low or too high gives way to the nearest one."""
        return self.lookup(value)

    def column(self, numbers: list[Any]) -> Array:
        """Values as numbers, from `lookup`, side by side."""
        return np.array(numbers, dtype=self.dtype).reshape(len(numbers), *self.shape)

    @abstractmethod
    def to_list(self, values: Array) -> list[Any]:
        """The Python objects that users see, for an array of values."""

    @abstractmethod
    def _plain(self, value: Any) -> Any:
        """The JSON value that stands for a legal value."""

    @abstractmethod
    def _arguments(self) -> list[Any]:
        """The positional arguments, as `repr` shows them."""

    @abstractmethod
    def _body(self) -> list[Any]:
        """The positional arguments in JSON."""

    # --- conditions ---------------------------------------------------------------------

    def when(self, parents: Mapping[str, Any] | None = None, /, **equals: Any) -> Self:
        """The same parameter, active only where its parents have the given values.

        A list, tuple, set or range means any of its values (so a value that is a list
        goes into another list); several parents must all agree. Names that are no
        identifiers go into a mapping.

        >>> from raysearch.space import Float
        >>> Float(0.8, 0.99).when(optimizer=["sgd", "nesterov"])
        Float(0.8, 0.99).when(optimizer=['sgd', 'nesterov'])
        >>> Float(0.8, 0.99).when({"the optimizer": "sgd"})
        Float(0.8, 0.99).when({'the optimizer': 'sgd'})
        """
        wanted = {**(parents or {}), **equals}
        if not wanted:
            raise SpaceError(".when(): name a parent and its value, as in .when(optimizer='sgd')")
        conditions = tuple((name, _any_of(name, value)) for name, value in wanted.items())
        child = copy.copy(self)
        object.__setattr__(child, "conditions", self.conditions + conditions)
        return child

    # --- the default --------------------------------------------------------------------

    def _settle_default(self) -> None:
        """Put the default into the form that `to_list` gives, or say why it is illegal."""
        value = self.middle if self.default is MIDDLE else self.default
        try:
            number = self.column([self.lookup(value)])
        except SpaceError as error:
            raise SpaceError(f"{type(self).__name__} default: {error}") from None
        object.__setattr__(self, "default", self.to_list(number)[0])

    # --- for people and files -----------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        """The options that differ from what they are when left out."""
        options = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.kw_only and f.init and f.name not in ("default", "conditions")
            if getattr(self, f.name) != f.default
        }
        if not np.array_equal(self.lookup(self.default), self.lookup(self.middle)):
            options["default"] = self.default
        return options

    def to_json(self) -> dict[str, Any]:
        """A description of JSON values; `parameter_from_json` goes back."""
        description = {self.kind: self._body(), **self._options()}
        if "default" in description:
            description["default"] = self._plain(self.default)
        if self.conditions:
            description["when"] = [[name, list(values)] for name, values in self.conditions]
        return description

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameter):
            return NotImplemented
        return key(self.to_json()) == key(other.to_json())

    def __hash__(self) -> int:
        return hash(key(self.to_json()))

    def __repr__(self) -> str:
        """The parameter as code, without what was left out."""
        parts = [repr(argument) for argument in self._arguments()]
        parts += [f"{name}={value!r}" for name, value in self._options().items()]
        when = "".join(_when(name, values) for name, values in self.conditions)
        return f"{type(self).__name__}({', '.join(parts)}){when}"


def _any_of(parent: str, value: Any) -> tuple[Any, ...]:
    """The values that a condition allows, as JSON values."""
    if not isinstance(value, (list, tuple, Set, range)):
        value = [value]
    try:
        values = [stand_in(v) for v in value]
    except SpaceError as error:
        raise SpaceError(f".when({parent}=...): {error}") from None
    if not values:
        raise SpaceError(f".when({parent}=[]): name at least one value")
    if isinstance(value, Set):  # its order may differ from one run to the next
        values.sort(key=key)
    return tuple(values)


def _when(parent: str, values: tuple[Any, ...]) -> str:
    """One condition as code."""
    single = len(values) == 1 and not isinstance(values[0], list)
    shown = repr(values[0] if single else list(values))
    if parent.isidentifier() and not keyword.iskeyword(parent):
        return f".when({parent}={shown})"
    return f".when({{{parent!r}: {shown}}})"
