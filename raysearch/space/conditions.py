"""Conditions: which parameters are active, given the values of others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from .names import nearest
from .parameters import Array, Parameter

INACTIVE_AT = 0.5  # where on the unit interval a parameter lies that is not active

#: child -> [(parent, the parent's values as numbers)], parents before their children
Conditions = Mapping[str, list[tuple[str, Array]]]


def resolve(parameters: Mapping[str, Parameter]) -> Conditions:
    """The conditions of all parameters that have some; SpaceError says what is wrong."""
    parents = {
        name: [_parent(parameters, name, parent) for parent, _ in parameter.conditions]
        for name, parameter in parameters.items()
    }
    try:
        order = list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise SpaceError(f".when(): conditions go round in a circle: {circle}") from None
    return {
        name: [
            (parent, _numbers(parameters[parent], name, parent, values))
            for parent, values in parameters[name].conditions
        ]
        for name in order
        if parents[name]
    }


def activity(conditions: Conditions, numbers: Mapping[str, Array]) -> dict[str, NDArray[np.bool_]]:
    """Child -> (k,) whether it is active, from the columns of all parameters as numbers."""
    active: dict[str, NDArray[np.bool_]] = {}
    for name, parents in conditions.items():
        mask = np.ones(len(numbers[name]), dtype=bool)
        for parent, values in parents:
            seen = numbers[parent]
            mask &= seen == values if len(values) == 1 else np.isin(seen, values)
            if parent in active:
                mask &= active[parent]
        active[name] = mask
    return active


def _parent(parameters: Mapping[str, Parameter], name: str, parent: str) -> str:
    where = f"space[{name!r}].when({parent}=...)"
    if parent not in parameters:
        raise SpaceError(
            f"{where}: there is no parameter {parent!r}; {nearest(parent, parameters)}"
        )
    if math.isinf(parameters[parent].size):
        raise SpaceError(
            f"{where}: expected a parent with separate values, found {parameters[parent]!r:.80}; "
            "give a Float a step, or make the condition depend on a Choice"
        )
    return parent


def _numbers(parameter: Parameter, name: str, parent: str, values: Sequence[Any]) -> Array:
    try:
        return np.array([parameter.lookup(value) for value in values], dtype=parameter.dtype)
    except SpaceError as error:
        raise SpaceError(f"space[{name!r}].when({parent}=...): {error}") from None
