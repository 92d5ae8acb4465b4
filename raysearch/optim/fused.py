"""Running a rule's formula over arrays, in place and within the cache.

Arrays of numpy are taken in tiles small enough for all of a tile's values to stay in the
second-level cache; each operation of the program works in place on one tile. Many small
arrays are gathered into one tile, so that a model of hundreds of layers costs no more than
one flat array of its size. Other arrays (torch, cupy) run the formula itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .trace import Program, formula_slots, trace
from .tree import Array

TILE = 16384  # elements; a tile of each of about 6 float32 arrays fits a cache of 512 kB

Formula = Callable[..., tuple[Any, ...]]


def run(
    formula: Formula,
    columns: Mapping[str, Sequence[Array]],
    absent: Sequence[str],
    options: Mapping[str, Any],
) -> None:
    """One step of an element-wise rule: replace p and the slots by the formula's results.

    formula  ``formula(p, g, *slots, **options) -> (p, *slots)``
    columns  the leaves of p, of g and of every slot that is kept
    absent   slots that are not kept, zero in the formula
    options  numbers, and flags (bool)
    """
    if not isinstance(columns["p"][0], np.ndarray):
        for row in zip(*columns.values(), strict=True):
            run_leaf(formula, dict(zip(columns, row, strict=True)), absent, options)
        return
    knobs = {k: v for k, v in options.items() if not isinstance(v, bool) and v != 0.0}
    fixed = tuple((k, v) for k, v in options.items() if k not in knobs)
    program = _program(formula, tuple(columns), tuple(absent), tuple(knobs), fixed)
    numbers = program.evaluate_numbers(knobs)
    for arrays in _pieces(list(columns.values())):
        _run_tiles(program, arrays, numbers)


@lru_cache(maxsize=512)
def _program(
    formula: Formula,
    arrays: tuple[str, ...],
    absent: tuple[str, ...],
    options: tuple[str, ...],
    fixed: tuple[tuple[str, Any], ...],
) -> Program:
    return trace(formula, arrays, absent, options, dict(fixed))


def run_leaf(
    formula: Formula, arrays: dict[str, Array], absent: Sequence[str], options: Mapping[str, Any]
) -> None:
    """The same for one leaf, by the formula as it stands, on any arrays."""
    results = formula(**arrays, **dict.fromkeys(absent, 0.0), **options)
    names = ["p", *formula_slots(formula, [*arrays, *absent])[2:]]
    for name, result in zip(names, results, strict=True):
        if name in arrays and result is not arrays[name]:
            arrays[name][...] = result


def _pieces(columns: list[Sequence[NDArray[Any]]]) -> Iterator[list[NDArray[Any]]]:
    """The leaves as flat arrays that a program can change: [p, g, *slots], piece by piece."""
    small: list[int] = []
    room = TILE
    for i, p in enumerate(columns[0]):
        if p.size >= TILE // 4 or not p.flags.c_contiguous:
            yield from _one(columns, i)
            continue
        if small and (p.size > room or p.dtype != columns[0][small[0]].dtype):
            yield from _bundle(columns, small)
            small, room = [], TILE
        small.append(i)
        room -= p.size
    if small:
        yield from _bundle(columns, small)


def _one(columns: list[Sequence[NDArray[Any]]], i: int) -> Iterator[list[NDArray[Any]]]:
    """Leaf i, flat: views where its memory has no gaps, else copies that are written back."""
    leaf = [column[i] for column in columns]
    flat = [x.reshape(-1) for x in leaf]  # a view exactly if x is contiguous
    yield flat
    for j, (x, y) in enumerate(zip(leaf, flat, strict=True)):
        if j != 1 and not x.flags.c_contiguous:
            x[...] = y.reshape(x.shape)


def _bundle(columns: list[Sequence[NDArray[Any]]], rows: list[int]) -> Iterator[list[NDArray[Any]]]:
    """Small leaves gathered into one flat array per column, and scattered afterwards."""
    if len(rows) == 1:
        yield from _one(columns, rows[0])
        return
    flat = [np.concatenate([column[i].reshape(-1) for i in rows]) for column in columns]
    yield flat
    for j, (column, whole) in enumerate(zip(columns, flat, strict=True)):
        if j == 1:  # the gradient is only read
            continue
        first = 0
        for i in rows:
            x = column[i]
            x[...] = whole[first : first + x.size].reshape(x.shape)
            first += x.size


class _Workspace(threading.local):
    """Scratch tiles, kept from step to step, one set per thread."""

    def __init__(self) -> None:
        self.tiles: dict[str, list[NDArray[Any]]] = {}

    def take(self, count: int, dtype: np.dtype[Any]) -> list[NDArray[Any]]:
        tiles = self.tiles.setdefault(dtype.char, [])
        while len(tiles) < count:
            tiles.append(np.empty(TILE, dtype))
        return tiles[:count]


_workspace = _Workspace()


def _run_tiles(program: Program, arrays: list[NDArray[Any]], numbers: list[float]) -> None:
    dtype, size = arrays[0].dtype, arrays[0].size
    scratch = _workspace.take(program.scratch, dtype)
    scalars = [np.array(x, dtype) for x in numbers]
    ops = [(getattr(np, op), args, target) for op, args, target in program.ops]
    with np.errstate(all="ignore"):  # as compiled code does; see the transform Finite
        for first in range(0, size, TILE):
            last = min(first + TILE, size)
            x = [a[first:last] for a in arrays]
            x += [s[: last - first] for s in scratch]
            x += scalars
            for op, args, target in ops:
                if len(args) == 2:
                    op(x[args[0]], x[args[1]], x[target])
                else:
                    op(x[args[0]], x[target])
