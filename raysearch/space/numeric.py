"""Float and Int: numbers in a range, evenly spread or by their logarithm, in steps or not."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from .bins import MOST, Bins, EvenBins, LogBins
from .parameters import Array, Parameter

_EXACT = 2**53  # integers up to here are exact in float64
_FINEST = 2.0**-48  # a step smaller than this fraction of the bounds is lost in rounding
_SNAP = 1e-9  # of a step: a value so near to one on the grid is taken for it


def _finite(value: Any) -> int | float:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpaceError(f"expected a number, found {value!r}")
    if not math.isfinite(value):
        raise SpaceError(f"expected a finite number, found {value!r}")
    return value


@dataclass(frozen=True, repr=False, eq=False)
class _Number(Parameter):
    """A number in [low, high], spread evenly or by its logarithm, on a grid or not."""

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", self._argument("low", self.low))
        object.__setattr__(self, "high", self._argument("high", self.high))
        if self.step is not None:
            object.__setattr__(self, "step", self._argument("step", self.step))
        wrong = self._what_is_wrong()
        if wrong:
            raise SpaceError(f"{type(self).__name__} {wrong}")
        self._settle_default()

    def _argument(self, argument: str, value: Any) -> float:
        try:
            return self._number(value)
        except SpaceError as error:
            raise SpaceError(f"{type(self).__name__} {argument}: {error}") from None

    def _what_is_wrong(self) -> str | None:
        low, high, step = self.low, self.high, self.step
        if low >= high:
            hint = "; for a constant use Choice([value])" if low == high else "; swap them"
            return f"low: expected low < high, found low={low}, high={high}{hint}"
        if self.log not in (True, False):
            return f"log: expected True or False, found {self.log!r}"
        if self.log and low <= 0:
            return f"low: expected low > 0 for log=True, found {low}; raise low, or leave out log"
        if not math.isfinite((high - low) / (low if self.log else 1)):
            apart = "high / low" if self.log else "high - low"
            return f"high: expected {apart} to be finite, found low={low}, high={high}; narrow them"
        if step is not None and step <= 0:
            return f"step: expected step > 0, found {step}"
        if self.size != math.inf and self.size > MOST:
            return f"step: expected at most 2**40 values, found {self.size}; raise it, or use Float"
        largest = max(abs(low), abs(high))
        if isinstance(step, float) and step < high - low and step < _FINEST * largest:
            return f"step: expected at least 2**-48 of the bounds, found {step}; raise it"
        return None

    # --- what Float and Int say differently -----------------------------------------------

    @staticmethod
    @abstractmethod
    def _number(value: Any) -> float:
        """The number as this kind holds it, or SpaceError."""

    @property
    @abstractmethod
    def _stride(self) -> float:
        """The distance of neighbours on the grid."""

    # --- the unit interval ----------------------------------------------------------------

    @cached_property
    def _bins(self) -> Bins | None:
        """The bins of a grid's values, or None for a continuum."""
        if self.size == math.inf:
            return None
        n = int(self.size)
        return LogBins(n, self._stride / self.low) if self.log and n > 1 else EvenBins(n)

    @cached_property
    def _span(self) -> float:
        """From low to high: the distance, or that of the logarithms."""
        return float(
            np.log1p((self.high - self.low) / self.low) if self.log else self.high - self.low
        )

    def decode(self, u: NDArray[np.float64]) -> Array:
        if self._bins is not None:
            return self.nth(self._bins.bin(u))
        if self.log:
            inside = self.low * np.expm1(u * self._span) + self.low
        else:
            inside = u * self._span + self.low
        inside = np.asarray(np.minimum(inside, self.high))
        inside[u >= 1] = self.high  # exactly
        return inside

    def encode(self, values: Array) -> NDArray[np.float64]:
        if self._bins is not None:
            return self._bins.place(self.index(values))
        above = np.asarray(values) - self.low
        u = np.log1p(above / self.low) / self._span if self.log else above / self._span
        return np.asarray(np.minimum(u, 1.0))

    def index(self, values: Array) -> NDArray[np.int64]:
        return np.rint((np.asarray(values) - self.low) / self._stride).astype(np.int64)

    def lookup(self, value: Any) -> float | int:
        number = self._number(value)
        near: float = number
        if self._bins is not None:
            k = round((min(max(number, self.low), self.high) - self.low) / self._stride)
            near = self.nth(np.array([min(k, self._bins.n - 1)])).item()
            if abs(near - number) <= _SNAP * min(self._stride, self.high - self.low):
                return near
        if not self.low <= number <= self.high:
            raise SpaceError(f"expected a value in [{self.low}, {self.high}], found {value!r}")
        if near != number:
            raise SpaceError(
                f"expected {self.low} plus a multiple of {self._stride}, found {value!r}; "
                f"the nearest is {near}"
            )
        return number

    def nearest(self, value: Any) -> float | int:
        number = min(max(_finite(value), self.low), self.high)
        if self._bins is None:
            return self._number(number)
        k = round((number - self.low) / self._stride)
        near: float = self.nth(np.array([min(k, self._bins.n - 1)])).item()
        return near

    @property
    def middle(self) -> Any:
        half = self.decode(np.array([0.5])).item()
        if self._bins is not None:
            return half
        short = float(f"{half:.12g}")  # 0.001, not 0.0010000000000000002
        return short if self.low <= short <= self.high else half

    # --- for people and files -------------------------------------------------------------

    def to_list(self, values: Array) -> list[Any]:
        listed: list[Any] = values.tolist()
        return listed

    def _plain(self, value: Any) -> Any:
        return value

    def _arguments(self) -> list[Any]:
        return [self.low, self.high]

    def _body(self) -> list[Any]:
        return [self.low, self.high]


@dataclass(frozen=True, repr=False, eq=False)
class Float(_Number):
    """A real number in [low, high].

    low, high  bounds, both included, low < high
    log        spread evenly by the logarithm (then low > 0)
    step       only low, low + step, low + 2 step, ... up to high
    default    a legal value; the middle if left out

    Raises SpaceError if an argument is out of its range.

    >>> Float(0.0, 0.5, step=0.2).decode(np.array([0.0, 0.5, 1.0]))
    array([0. , 0.2, 0.4])
    """

    kind: ClassVar[str] = "float"

    @staticmethod
    def _number(value: Any) -> float:
        try:
            return float(_finite(value)) + 0.0  # -0.0 becomes 0.0
        except OverflowError:
            raise SpaceError(f"expected a number that fits a float, found {value!r}") from None

    @property
    def dtype(self) -> type[np.float64]:
        return np.float64

    @cached_property
    def size(self) -> float:
        if self.step is None:
            return math.inf
        # Decimals, because (0.5 - 0.0) / 0.1 is no integer in binary
        low, high, step = (Decimal(repr(v)) for v in (self.low, self.high, self.step))
        return int((high - low) / step) + 1

    @property
    def _stride(self) -> float:
        assert self.step is not None, "a continuum has no grid"
        return self.step

    @cached_property
    def _decimals(self) -> int | None:
        """How many decimals the values have, if float64 can round to so many."""
        exponents = [Decimal(repr(v)).as_tuple().exponent for v in (self.low, self._stride)]
        places = max(0, *(-int(exponent) for exponent in exponents))
        largest = max(abs(self.low), abs(self.high))
        return places if places <= 15 and largest * 10**places <= _EXACT else None

    def nth(self, index: NDArray[np.int64]) -> Array:
        values = self.low + index * self._stride
        if self._decimals is not None:
            values = values.round(self._decimals) + 0.0  # 0.3, not 0.30000000000000004
        return np.asarray(np.minimum(values, self.high))


@dataclass(frozen=True, repr=False, eq=False)
class Int(_Number):
    """An integer in [low, high].

    low, high  bounds, both included, low < high, at most 2**53 in size
    log        spread evenly by the logarithm (then low > 0)
    step       only low, low + step, low + 2 step, ... up to high; 1 if left out
    default    a legal value; the middle if left out

    Raises SpaceError if an argument is out of its range, or there are over 2**40 values.

    >>> Int(1, 100, log=True).decode(np.array([0.0, 0.5, 1.0]))
    array([  1,   8, 100])
    """

    kind: ClassVar[str] = "int"

    @staticmethod
    def _number(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            number = int(value)
        else:
            number = int(_finite(value))
            if number != value:
                raise SpaceError(f"expected an integer, found {value!r}")
        if abs(number) > _EXACT:
            raise SpaceError(f"expected at most 2**53 in size, found {value!r}")
        return number

    @property
    def dtype(self) -> type[np.int64]:
        return np.int64

    @cached_property
    def size(self) -> float:
        return int(self.high - self.low) // int(self._stride) + 1

    @property
    def _stride(self) -> float:
        return 1 if self.step is None else self.step

    def nth(self, index: NDArray[np.int64]) -> Array:
        return np.asarray(self.low + index * self._stride)
