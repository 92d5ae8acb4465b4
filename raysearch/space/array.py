"""Array: many real numbers as one parameter, such as the weights of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ..errors import SpaceError
from .numeric import Float
from .parameters import Parameter

_INSIDE = 2.0**-53  # how near to 0 and 1 a place may come, where values have no bounds
_MOST = 10**8  # numbers in one array


@dataclass(frozen=True, repr=False, eq=False)
class Array(Parameter):
    """A numpy array of float64 of the given shape: one coordinate of the unit cube a number.

    shape      one length, or several
    low, high  bounds of each number, both included, evenly spread; left out: the numbers have
               no bounds, and a place u of the unit interval stands for the quantile of the
               normal distribution with mean 0 and standard deviation 1, cut off beyond 8.1
    default    an array of this shape; all 0, or all in the middle of the bounds, if left out

    Raises SpaceError if an argument is out of its range.

    >>> Array(3, -1, 1).decode(np.array([[0.0, 0.5, 1.0]]))
    array([[-1.,  0.,  1.]])
    >>> Array((1, 2)).decode(np.array([[0.5, 0.975]])).round(2).tolist()
    [[[0.0, 1.96]]]
    """

    kind: ClassVar[str] = "array"

    shape: tuple[int, ...]  # type: ignore[misc]  # of all kinds, this one alone sets it
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape(self.shape))
        if (self.low is None) != (self.high is None):
            raise SpaceError(
                f"Array low, high: expected both or neither, found low={self.low}, high={self.high}"
            )
        if self.low is not None:
            try:
                bounds = Float(self.low, self.high)  # type: ignore[arg-type]
            except SpaceError as error:
                raise SpaceError(str(error).replace("Float", "Array", 1)) from None
            object.__setattr__(self, "low", bounds.low)
            object.__setattr__(self, "high", bounds.high)
        self._settle_default()

    @property
    def size(self) -> float:
        return math.inf

    @property
    def dtype(self) -> type[np.float64]:
        return np.float64

    @property
    def middle(self) -> Any:
        low, high = self._bounds or (0.0, 0.0)
        return np.full(self.shape, low / 2 + high / 2)

    @cached_property
    def axis(self) -> Parameter:
        axis = Float(0.0, 1.0)
        object.__setattr__(axis, "conditions", self.conditions)
        return axis

    @property
    def _bounds(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    def decode(self, u: NDArray[np.float64]) -> NDArray[Any]:
        if self._bounds is None:
            values = ndtri(np.minimum(np.maximum(u, _INSIDE), 1 - _INSIDE))
        else:
            low, high = self._bounds
            values = np.where(u < 1, np.minimum(u * (high - low) + low, high), high)
        return np.asarray(values).reshape(len(u), *self.shape)

    def encode(self, values: NDArray[Any]) -> NDArray[np.float64]:
        flat = np.asarray(values, dtype=np.float64).reshape(len(values), self.width)
        if self._bounds is None:
            return np.asarray(ndtr(flat))
        low, high = self._bounds
        return np.asarray(np.minimum((flat - low) / (high - low), 1.0))

    def index(self, values: NDArray[Any]) -> NDArray[np.int64]:
        raise TypeError("an Array has no separate values")

    def nth(self, index: NDArray[np.int64]) -> NDArray[Any]:
        raise TypeError("an Array has no separate values")

    def lookup(self, value: Any) -> Any:
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise SpaceError(f"expected an array of numbers, found {value!r:.80}") from None
        if array.shape != self.shape:
            raise SpaceError(f"expected the shape {self.shape}, found {array.shape}")
        low, high = self._bounds or (-np.finfo(np.float64).max, np.finfo(np.float64).max)
        outside = array[~((array >= low) & (array <= high))]
        if len(outside):
            where = "finite numbers" if self._bounds is None else f"values in [{low}, {high}]"
            raise SpaceError(f"expected {where}, found {outside[0]}")
        return array

    def nearest(self, value: Any) -> Any:
        if self._bounds is None:
            return self.lookup(value)
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            return self.lookup(value)  # which says what is wrong
        return self.lookup(np.clip(array, *self._bounds))

    def to_list(self, values: NDArray[Any]) -> list[Any]:
        return [value.copy() for value in values]

    def _plain(self, value: Any) -> Any:
        return self.lookup(value).tolist()

    def _arguments(self) -> list[Any]:
        shape = self.shape[0] if len(self.shape) == 1 else self.shape
        return [shape, *(self._bounds or ())]

    def _body(self) -> list[Any]:
        return [list(self.shape), *(self._bounds or ())]


def _shape(shape: Any) -> tuple[int, ...]:
    lengths = list(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else [shape]
    whole = [n for n in lengths if isinstance(n, (int, np.integer)) and not isinstance(n, bool)]
    if not lengths or len(whole) < len(lengths) or min(whole) < 1:
        raise SpaceError(
            f"Array shape: expected an integer >= 1, or a tuple of them, found {shape!r}"
        )
    if math.prod(whole) > _MOST:
        raise SpaceError(f"Array shape: expected at most 1e8 numbers, found {shape!r}")
    return tuple(map(int, whole))
