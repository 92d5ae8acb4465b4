"""All configurations of a finite space (or of a grid in any space), counted and numbered.

Nothing is listed: the i-th configuration is computed from i. Parameters that do not hang
together are digits of a mixed-radix number, the first one the most significant. Where
children are active for some values of a parent only, the parent's values are cut into
runs that activate the same children, and the runs' counts are added up:

    size = sum over runs of  length * product over what remains open of its size,

so that inactive parameters have no digit and no configuration comes twice.
"""

from __future__ import annotations

import math
import weakref
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..space import Choice, Float, Int, Parameter, Space
from ..trial import Floats, Ints
from .permutation import WORD

_INACTIVE = -1
_INACTIVE_AT = 0.5  # as Space.encode has it

P = ParamSpec("P")
T = TypeVar("T")


def per_space(
    build: Callable[Concatenate[Space, P], T],
) -> Callable[Concatenate[Space, P], T]:
    """Remember what a function makes of a space, for as long as that very space lives.

    The result must not refer to the space; further arguments must be hashable.
    """
    memo: dict[int, tuple[weakref.ref[Space], dict[Any, T]]] = {}

    def look_up(space: Space, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = id(space)
        if key not in memo or memo[key][0]() is not space:
            memo[key] = (weakref.ref(space, lambda _: memo.pop(key, None)), {})
        made = memo[key][1]
        which = (args, tuple(sorted(kwargs.items())))
        if which not in made:
            made[which] = build(space, *args, **kwargs)
        return made[which]

    return look_up


# --- one parameter ------------------------------------------------------------------------


def index_of(parameter: Parameter, numbers: NDArray[Any]) -> Ints:
    """Which of the values of a discrete parameter these are, counted from 0."""
    if isinstance(parameter, Choice):
        return numbers.astype(np.int64)
    assert isinstance(parameter, (Float, Int))
    step = 1 if parameter.step is None else parameter.step
    return np.rint((numbers - parameter.low) / step).astype(np.int64)


def nth_of(parameter: Parameter, index: Ints) -> NDArray[Any]:
    """The values of a discrete parameter with these indices: inverse to `index_of`."""
    if isinstance(parameter, Choice):
        return index
    assert isinstance(parameter, (Float, Int))
    step = 1 if parameter.step is None else parameter.step
    return np.asarray(np.minimum(parameter.low + index * step, parameter.high))


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
        values = nth_of(self.parameter, np.rint(level * stride).astype(np.int64))
        return np.asarray(self.parameter.encode(values))

    def find(self, value: float) -> int | None:
        """The level that has this value, if any has."""
        about = self.parameter.encode(np.array([value]))[0]
        if not math.isinf(self.parameter.size):
            last = self.parameter.size - 1
            about = index_of(self.parameter, np.array([value]))[0] / last if last else 0.0
        level = np.array([round(float(about) * (self.size - 1))])
        return int(level[0]) if self.parameter.decode(self.place(level))[0] == value else None


# --- all of them --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Levels start .. start+length-1 of a parent, and what remains open under them."""

    start: int
    length: int
    rest: tuple[_Node, ...]
    inner: int  # configurations of the rest


@dataclass(frozen=True)
class _Node:
    """A parameter's digit; several runs where it decides which others are active."""

    column: int
    size: int
    runs: tuple[_Run, ...]
    ends: tuple[int, ...]  # of the runs, in configurations


class Lattice:
    """The configurations of a space, continuous parameters having a number of levels.

    space   whose constraints do not count here
    levels  name -> number of levels; left out: 5 for continuous parameters, all values
            for discrete ones

    >>> from raysearch.space import Choice, Float, Space
    >>> space = Space({"rule": Choice(["sgd", "adam"]),
    ...                "momentum": Float(0, 1, step=0.5).when(rule="sgd")})
    >>> lattice = Lattice(space)
    >>> lattice.size
    4
    >>> space.decode(lattice.points(np.array([1, 3]))).configs()
    [{'rule': 'sgd', 'momentum': 0.5}, {'rule': 'adam'}]
    """

    def __init__(
        self, space: Space, levels: Mapping[str, int] | None = None, continuous: int = 5
    ) -> None:
        self._axes = []
        for name, parameter in space.parameters.items():
            most = parameter.size
            wanted = (levels or {}).get(name, continuous if math.isinf(most) else most)
            self._axes.append(_Axis(parameter, int(min(wanted, most))))
        columns = {name: i for i, name in enumerate(space.parameters)}
        self._conditions = {
            columns[name]: [
                (columns[parent], self._levels_of(columns[parent], values))
                for parent, values in parameter.conditions
            ]
            for name, parameter in space.parameters.items()
        }
        self._roots = self._split(tuple(columns.values()), {})
        #: how many configurations there are, an exact integer
        self.size = math.prod(node.size for node in self._roots)

    def _levels_of(self, parent: int, values: tuple[Any, ...]) -> frozenset[int]:
        axis = self._axes[parent]
        found = (axis.find(axis.parameter.lookup(value)) for value in values)
        return frozenset(level for level in found if level is not None)

    def _split(self, names: tuple[int, ...], fixed: dict[int, int]) -> tuple[_Node, ...]:
        """The open parameters as independent nodes; `fixed` has a level for each parent."""
        fixed = dict(fixed)
        unmet: dict[int, list[int]] = {}  # open parameter -> its parents that are open
        inactive = {-1}
        while inactive:  # what is inactive makes its children so
            inactive = {n for n in names if n not in fixed and self._fails(n, fixed)}
            fixed |= dict.fromkeys(inactive, _INACTIVE)
        for name in names:
            if name not in fixed:
                unmet[name] = [p for p, _ in self._conditions[name] if p not in fixed]
        return tuple(self._node(group, unmet, fixed) for group in _connected(unmet))

    def _fails(self, name: int, fixed: Mapping[int, int]) -> bool:
        return any(p in fixed and fixed[p] not in ok for p, ok in self._conditions[name])

    def _node(self, group: list[int], unmet: dict[int, list[int]], fixed: dict[int, int]) -> _Node:
        root = next(name for name in group if not unmet[name])
        others = tuple(name for name in group if name != root)
        size = self._axes[root].size
        cuts = {0, size}
        for name in others:
            for parent, levels in self._conditions[name]:
                if parent == root:
                    cuts |= {c for level in levels for c in (level, level + 1)}
        edges = sorted(cuts)
        runs = []
        for start, end in pairwise(edges):
            rest = self._split(others, {**fixed, root: start}) if others else ()
            runs.append(_Run(start, end - start, rest, math.prod(node.size for node in rest)))
        ends = tuple(accumulate(run.length * run.inner for run in runs))
        return _Node(root, ends[-1], tuple(runs), ends)

    def points(self, index: NDArray[Any]) -> Floats:
        """The canonical points (n, d) of the configurations with these indices (n,)."""
        levels = np.full((len(index), len(self._axes)), _INACTIVE, dtype=np.int64)
        if self.size >= WORD:
            index = index.astype(object)
        _fill(self._roots, index, np.arange(len(index)), levels)
        x = np.full(levels.shape, _INACTIVE_AT)
        for i, axis in enumerate(self._axes):
            active = levels[:, i] != _INACTIVE
            x[active, i] = axis.place(levels[active, i])
        return x


def _connected(unmet: Mapping[int, list[int]]) -> list[list[int]]:
    """Groups of parameters that hang together by open conditions, each in order."""
    leader = {name: name for name in unmet}

    def find(name: int) -> int:
        while leader[name] != name:
            name = leader[name]
        return name

    for name, parents in unmet.items():
        for parent in parents:
            leader[find(parent)] = find(name)
    groups: dict[int, list[int]] = {}
    for name in unmet:
        groups.setdefault(find(name), []).append(name)
    return list(groups.values())


def _fill(nodes: tuple[_Node, ...], index: NDArray[Any], rows: Ints, levels: Ints) -> None:
    """Write into `levels[rows]` the configurations of a product of nodes."""
    for node in reversed(nodes):
        digit, index = index % node.size, index // node.size
        if len(node.runs) == 1 and not node.runs[0].rest:
            levels[rows, node.column] = digit
            continue
        which = np.array([bisect_right(node.ends, i) for i in digit.tolist()], dtype=np.int64)
        for r, run in enumerate(node.runs):
            here = which == r
            local = digit[here] - (node.ends[r - 1] if r else 0)
            levels[rows[here], node.column] = local // run.inner + run.start
            _fill(run.rest, local % run.inner, rows[here], levels)
