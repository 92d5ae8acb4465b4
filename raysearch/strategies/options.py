"""Checks of a strategy's options, for its `__post_init__`.

Each names the option, what it expects and what it found. Numbers of numpy are taken, and
become Python's own, so that equal options are equal in JSON as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..scalars import real, whole
from ..space.names import guess


def check_int(strategy: Any, option: str, low: int = 1, high: float = math.inf) -> None:
    """Raise UsageError unless the option is an integer in [low, high].

    >>> from raysearch.strategies.local_search import LocalSearch
    >>> LocalSearch(chains=0)
    Traceback (most recent call last):
    raysearch.errors.UsageError: option chains: expected an integer >= 1, found 0
    """
    object.__setattr__(strategy, option, integer(option, getattr(strategy, option), low, high))


def integer(option: str, value: Any, low: int = 1, high: float = math.inf) -> int:
    """The value as an int, if it is an integer in [low, high]."""
    number = whole(value)
    if number is None or not low <= number <= high:
        wanted = f">= {low}" if math.isinf(high) else f"in [{low}, {high}]"
        raise UsageError(f"option {option}: expected an integer {wanted}, found {value!r}")
    return number


def check_float(strategy: Any, option: str, low: float, high: float) -> None:
    """Raise UsageError unless the option is a number with low < value <= high."""
    value = getattr(strategy, option)
    number = real(value)
    if number is None or not low < number <= high:
        raise UsageError(f"option {option}: expected a number in ({low}, {high}], found {value!r}")
    object.__setattr__(strategy, option, number)


def check_choice(strategy: Any, option: str, choices: Sequence[str]) -> None:
    """Raise UsageError unless the option is one of the texts; it suggests the nearest."""
    value = getattr(strategy, option)
    if value not in choices:
        raise UsageError(
            f"option {option}: expected one of {list(choices)}, found {value!r}; "
            f"{guess(str(value), choices) or 'take one of these'}"
        )


def check_names(strategy: Any, option: str) -> None:
    """Raise UsageError unless the option is None, or names: different texts, at least one."""
    value = getattr(strategy, option)
    if value is None:
        return
    names = tuple(value) if isinstance(value, (tuple, list)) else ()
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise UsageError(
            f"option {option}: expected a tuple of different names, as in ('weights',), or None, "
            f"found {value!r}"
        )
    object.__setattr__(strategy, option, names)
