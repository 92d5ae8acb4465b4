"""Running a rule's formula over arrays, in place and within the cache.

Arrays of numpy are taken in tiles small enough for all of a tile's values to stay in the
second-level cache; each operation of the program works in place on one tile. Many small
arrays are gathered into one tile, so that a model of hundreds of layers costs no more than
one flat array of its size. Other arrays (torch, cupy) run the formula itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from . import compiled
from .trace import Program, signature, trace
from .tree import Array

TILE = 131072  # elements; large enough to hide the calls and, from thread to thread, Python's
#                lock (65536 takes a fifth longer with two); small enough for the cache
GATHER_BELOW = 16384  # elements in one array; copying more costs more than a call
COMPILE_FROM = 8192  # elements in one array; below, compiling hardly pays
SPLIT_FROM = 524288  # elements in one array; below, one thread is faster than several

Formula = Callable[..., tuple[Any, ...]]


def run(
    formula: Formula, columns: Mapping[str, Sequence[Array]], options: Mapping[str, Any]
) -> None:
    """One step of an element-wise rule: replace p and the slots by the formula's results.

    formula  ``formula(p, g, *slots, **options) -> (p, *slots)``
    columns  the leaves of p, of g and of every slot that is kept
    options  numbers, and flags (bool)
    """
    if not isinstance(columns["p"][0], np.ndarray):
        run_by_leaf(formula, columns, options)
        return
    fixed = tuple([(k, v) for k, v in options.items() if v == 0 or v is True])
    program = _program(formula, tuple(columns), tuple(options), fixed)
    numbers = program.evaluate_numbers(options)
    for arrays in _pieces(list(columns.values())):
        _run_piece(program, arrays, numbers)


@lru_cache(maxsize=512)
def _program(
    formula: Formula,
    arrays: tuple[str, ...],
    options: tuple[str, ...],
    fixed: tuple[tuple[str, Any], ...],
) -> Program:
    """The program for these options, of which the fixed ones are zero or flags."""
    known = dict(fixed)
    return trace(formula, arrays, [name for name in options if name not in known], known)


def run_by_leaf(
    formula: Formula, columns: Mapping[str, Sequence[Array]], options: Mapping[str, Any]
) -> None:
    """The same, leaf by leaf and by the formula as it stands, on any arrays."""
    slots, _ = signature(formula)
    for row in zip(*columns.values(), strict=True):
        leaf = dict(zip(columns, row, strict=True))
        results = formula(**(dict.fromkeys(slots, 0.0) | leaf), **options)
        for name, result in zip(["p", *slots], results, strict=True):
            if name in leaf and result is not leaf[name]:
                leaf[name][...] = result


def _pieces(columns: list[Sequence[NDArray[Any]]]) -> Iterator[list[NDArray[Any]]]:
    """The leaves as flat arrays that a program can change: [p, g, *slots], piece by piece."""
    small: list[int] = []
    room = TILE
    for i, p in enumerate(columns[0]):
        if p.size >= GATHER_BELOW or not p.flags.c_contiguous:
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
    if leaf[0].flags.f_contiguous:
        leaf = [x.T for x in leaf]
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
    size, dtype = sum(columns[0][i].size for i in rows), columns[0][rows[0]].dtype
    flat = [tile[:size] for tile in _workspace.take("bundle", len(columns), dtype)]
    for column, whole in zip(columns, flat, strict=True):
        np.concatenate([column[i].reshape(-1) for i in rows], out=whole)
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
    """Tiles for a purpose, kept from step to step, one set per thread."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[str, str], list[NDArray[Any]]] = {}

    def take(self, purpose: str, count: int, dtype: np.dtype[Any]) -> list[NDArray[Any]]:
        tiles = self.tiles.setdefault((purpose, dtype.char), [])
        while len(tiles) < count:
            tiles.append(np.empty(TILE, dtype))
        return tiles[:count]


_workspace = _Workspace()


def _run_tiles(program: Program, arrays: list[NDArray[Any]], numbers: NDArray[Any]) -> None:
    """The program on flat arrays, by numpy, a tile at a time."""
    size = arrays[0].size
    scratch = _workspace.take("scratch", program.scratch, arrays[0].dtype)
    scalars = [numbers[i, ...] for i in range(numbers.size)]  # the fastest operands: 0-d arrays
    with np.errstate(all="ignore"):  # as compiled code does; see the transform Finite
        for first in range(0, size, TILE):
            last = min(first + TILE, size)
            x = [a[first:last] for a in arrays]
            x += [s[: last - first] for s in scratch]
            x += scalars
            for op, args, target in program.ufuncs:
                if len(args) == 2:
                    op(x[args[0]], x[args[1]], x[target])
                else:
                    op(x[args[0]], x[target])


def _run_piece(program: Program, arrays: list[NDArray[Any]], numbers: list[float]) -> None:
    """The program on flat arrays: compiled or not, by one thread or several."""
    values = np.array(numbers, arrays[0].dtype)
    size = arrays[0].size
    parts = [arrays]
    if size >= SPLIT_FROM and (workers := get_num_threads()) > 1:
        edges = [size * i // workers // 64 * 64 for i in range(workers)] + [size]
        parts = [[a[first:last] for a in arrays] for first, last in pairwise(edges)]
    calls: list[Callable[[], None]]
    if compiled.AVAILABLE and size >= COMPILE_FROM:
        kernel = compiled.kernel(program, values.dtype)
        calls = [kernel.on(part, values) for part in parts]
    else:
        calls = [partial(_run_tiles, program, part, values) for part in parts]
    others = [_pool(len(calls) - 1).submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="raysearch-optim")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


_num_threads: int | None = None


def get_num_threads() -> int:
    """How many threads a step may use on large arrays.

    By default OMP_NUM_THREADS, which Ray sets to a task's number of CPUs, else all CPUs
    that this process may run on.
    """
    if _num_threads is not None:
        return _num_threads
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def set_num_threads(threads: int) -> None:
    """Use so many threads for steps on large arrays from now on."""
    global _num_threads
    if threads < 1:
        raise UsageError(f"set_num_threads: expected a number >= 1, found {threads}")
    _num_threads = threads
