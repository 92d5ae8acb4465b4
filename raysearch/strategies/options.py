"""Checks of a strategy's options; each names the option, what it expects and what it found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..space.names import nearest


def check_int(option: str, value: Any, low: int = 1, high: float = math.inf) -> None:
    """Raise UsageError unless the option is an integer in [low, high].

    >>> check_int("chains", 0)
    Traceback (most recent call last):
    raysearch.errors.UsageError: option chains: expected an integer >= 1, found 0
    """
    wanted = f">= {low}" if math.isinf(high) else f"in [{low}, {high}]"
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"option {option}: expected an integer {wanted}, found {value!r}")


def check_float(option: str, value: Any, low: float, high: float) -> None:
    """Raise UsageError unless the option is a number with low < value <= high."""
    legal = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not legal or not low < value <= high:
        raise UsageError(f"option {option}: expected a number in ({low}, {high}], found {value!r}")


def check_choice(option: str, value: Any, choices: Sequence[str]) -> None:
    """Raise UsageError unless the option is one of the texts; it suggests the nearest."""
    if value not in choices:
        raise UsageError(
            f"option {option}: expected one of {list(choices)}, found {value!r}; "
            + nearest(str(value), choices)
        )
