"""Features: a space's points as kernels see them.

number, ordered   its coordinate in [0, 1]
unordered         the index of its value, as a mark
not active        marks: one more mark. Others: the coordinate 0.5, and a second feature
                  that is 0.5 rather than 0, so that "not active" lies off the line of
                  values, about as far from one as from another

A model may bend the coordinates of numbers. Those of ordered values are as far apart as whoever has
listed them wants them to be, and stay so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.kernels import Layout
from ..space import Choice, Space
from ..trial import Floats, Ints
from .memo import per_space

_OFF = 0.5  # how far off the line "not active" lies


@dataclass(frozen=True, eq=False)
class Encoding:
    """Which features a space has.

    layout   of the features, a group for each coordinate
    column   (d,) the first feature of each coordinate
    movable  (d,) which of them can be moved in small steps without changing what else is
             active: numbers and ordered values on which no other parameter depends
    """

    layout: Layout
    column: Ints
    movable: NDArray[np.bool_]


@per_space
def encoding(space: Space) -> Encoding:
    """Which features this space has."""
    parents = {p for parameter in space.parameters.values() for p, _ in parameter.conditions}
    group: list[int] = []
    marks: list[int] = []
    bent: list[bool] = []
    column, movable = [], []
    names = [name for name, p in space.parameters.items() for _ in range(p.width)]
    for i, (name, parameter) in enumerate(zip(names, space.axes, strict=True)):
        mark = parameter.unordered
        width = 1 if mark or not parameter.conditions else 2
        column.append(len(group))
        movable.append(not mark and parameter.size > 1 and name not in parents)
        group += [i] * width
        marks += [int(parameter.size) + 1 if mark else 0] * width
        bent += [not isinstance(parameter, Choice), False][:width]
    layout = Layout(np.array(group), np.array(marks), np.array(bent))
    return Encoding(layout, np.array(column), np.array(movable))


def features(space: Space, x: Floats) -> Floats:
    """Features (n, p) of the points x (n, d), which lie where their values belong."""
    code, active = encoding(space), space.active(space.decode(x))
    found = np.zeros((len(x), len(code.layout.group)))
    for i, parameter in enumerate(space.axes):
        first = code.column[i]
        if parameter.unordered:
            found[:, first] = np.where(active[:, i], parameter.decode(x[:, i]), parameter.size)
        else:
            found[:, first] = x[:, i]
            if parameter.conditions:
                found[:, first + 1] = np.where(active[:, i], 0.0, _OFF)
    return found
