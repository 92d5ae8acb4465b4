"""All configurations of a finite space (or of a grid in any space), counted and numbered.

Nothing is listed: the i-th configuration is computed from i. Parameters are placed one
after the other, parents before children. All that matters of those placed is which of the
others their values have made inactive, the state s; so configurations are the paths of a
graph with one layer of states for each parameter, and with N(s) the number of ways on from s

    N(s) = sum over runs of levels that lead to the same s' of  length * N(s').

The first parameter placed is the most significant digit. A parameter that is not active
has one level, so that no configuration comes twice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conditions import INACTIVE_AT
from .parameters import Parameter

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WORD = 2**62  # sizes from here on are counted in Python's integers, not in int64
_INACTIVE = -1  # level of a parameter that is not active


@dataclass(frozen=True)
class _Axis:
    """One parameter with `size` levels, spread evenly over its values or its interval."""

    parameter: Parameter
    size: int

    def place(self, level: Ints) -> Floats:
        """Where the levels lie on the unit interval."""
        last = self.size - 1
        if math.isinf(self.parameter.size):
            return np.asarray(level / last) if last else np.full(len(level), 0.5)
        stride = (self.parameter.size - 1) / last if last else 0.0
        values = self.parameter.nth(np.rint(level * stride).astype(np.int64))
        return self.parameter.encode(values)

    def find(self, value: float) -> int | None:
        """The level that has this value of a discrete parameter, if any has."""
        last = self.parameter.size - 1
        about = float(self.parameter.index(np.array([value]))[0]) / last if last else 0.0
        level = np.array([round(about * (self.size - 1))])
        return int(level[0]) if self.parameter.decode(self.place(level))[0] == value else None


@dataclass(frozen=True)
class _Node:
    """A state before a parameter is placed: its runs of levels, (r,) each.

    ways    N of the state
    before  ways of the runs before this one
    start   first level of the run
    inner   N of the state that the run leads to
    to      place of that state in the next layer
    """

    ways: int
    before: NDArray[Any]
    start: Ints
    inner: NDArray[Any]
    to: Ints


class Lattice:
    """The configurations of a space, continuous parameters having a number of levels.

    parameters  of the space; its constraints do not count here
    levels      name -> number of levels; left out: `continuous` for continuous parameters,
                all values for discrete ones

    >>> from raysearch.space import Choice, Float, Space
    >>> space = Space({"rule": Choice(["sgd", "adam"]),
    ...                "momentum": Float(0, 1, step=0.5).when(rule="sgd")})
    >>> lattice = Lattice(space.parameters)
    >>> lattice.size
    4
    >>> space.decode(lattice.points(np.array([1, 3]))).configs()
    [{'rule': 'sgd', 'momentum': 0.5}, {'rule': 'adam'}]
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        levels: Mapping[str, int] | None = None,
        continuous: int = 5,
    ) -> None:
        self._axes = {}
        for name, parameter in parameters.items():
            most = parameter.size
            wanted = (levels or {}).get(name, continuous if math.isinf(most) else most)
            for key in _keys(name, parameter):
                self._axes[key] = _Axis(parameter.axis, int(min(wanted, most)))
        parameters = {key: axis.parameter for key, axis in self._axes.items()}
        self._children: dict[str, list[tuple[str, frozenset[int | None]]]] = defaultdict(list)
        for name, parameter in parameters.items():
            for parent, values in parameter.conditions:
                axis = self._axes[parent]
                allowed = frozenset(axis.find(axis.parameter.lookup(v)) for v in values)
                self._children[parent].append((name, allowed))
        self._order = _order(parameters)
        self._layers = self._build()
        #: how many configurations there are, an exact integer
        self.size = self._layers[0][0].ways
        #: whether a continuous parameter is active in some of them
        self.endless: bool

    def _build(self) -> list[list[_Node]]:
        """The layers: forwards the states that can be reached, backwards their N."""
        self.endless = False
        steps: list[list[list[tuple[int, int, int]]]] = []  # [layer][state]: (start, length, to)
        states: list[frozenset[str]] = [frozenset()]  # of each, who is inactive among those to come
        for name in self._order:
            following: dict[frozenset[str], int] = {}
            steps.append([])
            for inactive in states:
                self.endless |= name not in inactive and math.isinf(self._axes[name].parameter.size)
                steps[-1].append(
                    [
                        (
                            start,
                            length,
                            following.setdefault(inactive - {name} | lost, len(following)),
                        )
                        for start, length, lost in self._runs(name, name not in inactive)
                    ]
                )
            states = list(following)
        layers: list[list[_Node]] = []
        ways = [1]
        for nodes in reversed(steps):
            layers.append([_node(runs, ways) for runs in nodes])
            ways = [node.ways for node in layers[-1]]
        return layers[::-1]

    def _runs(self, name: str, active: bool) -> list[tuple[int, int, frozenset[str]]]:
        """(first level, length, children that it makes inactive) of a parameter's runs."""
        children = self._children.get(name, [])
        if not active:
            return [(_INACTIVE, 1, frozenset(child for child, _ in children))]
        named = {level for _, allowed in children for level in allowed if level is not None}
        cuts = sorted({0, self._axes[name].size} | named | {level + 1 for level in named})
        return [
            (start, end - start, frozenset(c for c, allowed in children if start not in allowed))
            for start, end in pairwise(cuts)
        ]

    def points(self, index: NDArray[Any]) -> Floats:
        """The canonical points (n, d) of the configurations with these indices (n,)."""
        index = np.array(index, dtype=_integers(self.size))
        state = np.zeros(len(index), dtype=np.int64)
        columns = {}
        for name, layer in zip(self._order, self._layers, strict=True):
            level, to = np.empty_like(state), np.empty_like(state)
            for s in np.unique(state).tolist():
                node, here = layer[s], np.flatnonzero(state == s)
                run = np.searchsorted(node.before, index[here], side="right") - 1
                rest, inner = index[here] - node.before[run], node.inner[run]
                level[here] = node.start[run] + rest // inner
                index[here] = rest % inner
                to[here] = node.to[run]
            columns[name], state = level, to
        x = np.full((len(index), len(self._axes)), INACTIVE_AT)
        for i, (name, axis) in enumerate(self._axes.items()):
            active = columns[name] != _INACTIVE
            x[active, i] = axis.place(columns[name][active])
        return x


def _keys(name: str, parameter: Parameter) -> list[str]:
    """A name for each coordinate of the parameter; no parameter's own holds a NUL."""
    return [f"{name}\0{i}" for i in range(parameter.width)] if parameter.shape else [name]


def _node(runs: list[tuple[int, int, int]], ways: list[int]) -> _Node:
    """The state with these runs (start, length, to), given N of the states in the next layer."""
    inner = [ways[to] for _, _, to in runs]
    *before, total = accumulate(
        (length * n for (_, length, _), n in zip(runs, inner, strict=True)), initial=0
    )
    kind = _integers(total)
    return _Node(
        total,
        np.array(before, dtype=kind),
        np.array([start for start, _, _ in runs]),
        np.array(inner, dtype=kind),
        np.array([to for _, _, to in runs]),
    )


def _integers(size: int) -> type[np.int64] | type[object]:
    """What holds indices below `size`."""
    return np.int64 if size < WORD else object


def _order(parameters: Mapping[str, Parameter]) -> list[str]:
    """Parents before children, and children as soon as all their parents are there."""
    parents = {name: {parent for parent, _ in p.conditions} for name, p in parameters.items()}
    children: dict[str, list[str]] = defaultdict(list)
    for name in parameters:
        for parent in parents[name]:
            children[parent].append(name)
    order: dict[str, None] = {}
    stack = [name for name in reversed(list(parameters)) if not parents[name]]
    while stack:
        name = stack.pop()
        order[name] = None
        stack += [child for child in reversed(children[name]) if parents[child] <= order.keys()]
    return list(order)
