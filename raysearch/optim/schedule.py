"""Schedules: functions of the step that give a learning rate or any other option.

A schedule is a frozen dataclass of its numbers, prints as code, and is called with the
step k = 0, 1, 2, ...: the first update of a rule uses schedule(0). Nothing is remembered
between calls, so that a resumed or repeated step gives the same number. The one method
that must remember, `ReduceOnPlateau`, keeps its memory in a state of its own. The shapes
are in `schedules`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

_POSITIVE = {
    "steps", "every", "up", "down", "decay", "warmup", "level", "gamma",
    "div_factor", "final_div_factor",
}  # fmt: skip


@dataclass(frozen=True)
class Schedule(ABC):
    """A number for every step. To write one: subclass, decorate with @dataclass(frozen=True)."""

    def __post_init__(self) -> None:
        check_options(self)
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in _POSITIVE:
                check(value > 0, self, f.name, "a number > 0")
            if f.name in ("factor", "stable", "power"):
                check(value >= 0, self, f.name, "a number >= 0")

    @abstractmethod
    def value(self, k: int) -> float:
        """The value at step k >= 0."""

    def __call__(self, k: int) -> float:
        """The value at step k; UsageError unless k is a step."""
        if not k >= 0:
            raise UsageError(f"{type(self).__name__}: expected a step >= 0, found {k}")
        return self.value(k)

    def values(self, steps: int | Iterable[int]) -> NDArray[np.float64]:
        """The values at steps 0 .. steps-1, or at the given steps: ready to be plotted.

        >>> from raysearch.optim import Linear
        >>> Linear(1.0, 0.0, steps=4).values(5).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
        """
        ks = range(steps) if isinstance(steps, int) else steps
        return np.array([self(k) for k in ks], dtype=np.float64)

    def plot(self, steps: int, width: int = 60) -> str:
        """The course over `steps` steps as one line of text, `width` characters at most.

        >>> from raysearch.optim import Linear
        >>> Linear(1.0, 0.0, steps=7).plot(8)
        '█▇▆▅▄▃▂▁'
        """
        places = np.unique(np.linspace(0, steps - 1, min(width, steps)).round().astype(int))
        y = self.values(places.tolist())
        span = float(np.ptp(y)) or 1.0
        return "".join("▁▂▃▄▅▆▇█"[int((v - y.min()) / span * 7 + 0.5)] for v in y)


#: an option that may follow a schedule
Rate = float | Schedule


def number(rate: Rate) -> float:
    """The value of an option whose schedule has been replaced by a number."""
    assert not isinstance(rate, Schedule)
    return rate


def check(condition: bool, owner: Any, name: str, expected: str) -> None:
    """Raise UsageError, naming the option `name` of `owner`, unless the condition holds."""
    if not condition:
        raise UsageError(
            f"{type(owner).__name__}({name}=...): expected {expected}, "
            f"found {getattr(owner, name)!r}"
        )


def check_options(owner: Any) -> None:
    """Raise UsageError for an option that is not of the kind its annotation names.

    Numbers are finite, and True is none. Annotations other than numbers, flags, schedules, and
    tuples of these are the owner's own business.
    """
    for f in fields(owner):
        kind = f.type if isinstance(f.type, str) else _NAMES.get(f.type, "")
        expected = _unlike(getattr(owner, f.name), kind)
        check(expected is None, owner, f.name, expected or "")


def _unlike(value: Any, kind: str) -> str | None:
    """What was expected, unless the value is of this kind."""
    if kind.endswith(" | None"):
        return None if value is None else _unlike(value, kind.removesuffix(" | None"))
    if kind.startswith("tuple["):
        kinds = kind.removeprefix("tuple[").removesuffix("]").split(", ")
        if not isinstance(value, tuple):
            return "a tuple"
        if kinds[-1] == "...":
            kinds = kinds[:1] * len(value)
        if len(value) != len(kinds):
            return f"{len(kinds)} values"
        return next(filter(None, map(_unlike, value, kinds)), None)
    if kind not in _KINDS:
        return None
    types, expected = _KINDS[kind]
    flag = isinstance(value, (bool, np.bool_))
    good = isinstance(value, types) and flag is (kind == "bool")
    if good and not isinstance(value, Schedule):
        good = math.isfinite(value)
    return None if good else expected


#: annotation -> types, and in words
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "float": ((int, float, np.integer, np.floating), "a finite number"),
    "int": ((int, np.integer), "a whole number"),
    "bool": ((bool, np.bool_), "True or False"),
    "Rate": ((int, float, np.integer, np.floating, Schedule), "a finite number or a schedule"),
    "Schedule": ((Schedule,), "a schedule"),
}
_NAMES: dict[Any, str] = {
    float: "float", int: "int", bool: "bool", Rate: "Rate", Schedule: "Schedule",
}  # fmt: skip
