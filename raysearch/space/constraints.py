"""Known constraints: functions that say which configurations are allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from .columns import Columns

#: of a configuration (a dict); or, marked ``@vectorized``, of columns
Constraint = Callable[[Any], Any]


def check_constraints(constraints: Iterable[Constraint]) -> tuple[Constraint, ...]:
    """The constraints, if they are functions; else SpaceError."""
    if callable(constraints) or not isinstance(constraints, Iterable):
        raise SpaceError(f"constraints: expected a list of functions, found {constraints!r}")
    constraints = tuple(constraints)
    for constraint in constraints:
        if not callable(constraint):
            raise SpaceError(
                f"constraints: expected functions of a configuration, found {constraint!r}"
            )
    return constraints


def name_of(constraint: Constraint) -> str:
    """How errors and files call a constraint."""
    return str(getattr(constraint, "__name__", type(constraint).__name__))


def answers(
    constraints: Iterable[Constraint], columns: Columns
) -> list[tuple[str, NDArray[np.bool_]]]:
    """For each constraint its name, and (k,) whether each configuration meets it."""
    configs: list[dict[str, Any]] | None = None
    met = []
    for constraint in constraints:
        if getattr(constraint, "__vectorized__", False):
            answer = np.asarray(_ask(constraint, columns, "columns"), dtype=bool)
            if answer.shape != (columns.k,):
                raise SpaceError(
                    f"constraint {name_of(constraint)}: expected one answer for each of "
                    f"{columns.k} configurations, found the shape {answer.shape}"
                )
        else:
            configs = columns.configs() if configs is None else configs
            each = (bool(_ask(constraint, config, str(config))) for config in configs)
            answer = np.fromiter(each, bool, columns.k)
        met.append((name_of(constraint), answer))
    return met


def _ask(constraint: Constraint, argument: Any, shown: str) -> Any:
    try:
        return constraint(argument)
    except Exception as error:
        raise SpaceError(
            f"constraint {name_of(constraint)}: raised {type(error).__name__}: {error} "
            f"for {shown}; parameters that are not active are absent, so use config.get(name)"
        ) from error
