"""Parameters as people hold them: one array, a list, or a nested dict of arrays.

`leaves` lists a tree's arrays with their names, checked; everything below works on lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import UsageError

#: an array of numpy, torch or cupy
Array = Any
#: one array, a list, or a nested dict of arrays
Tree = Any


def namespace(x: Array) -> ModuleType:
    """The array API of x: numpy itself, else what array-api-compat finds."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    try:
        from array_api_compat import array_namespace
    except ImportError:
        raise UsageError(
            f"found a {type(x).__module__}.{type(x).__name__}: arrays other than numpy's need "
            "the package array-api-compat (extra `arrays`)"
        ) from None
    return array_namespace(x)  # type: ignore[no-any-return]


def walk(tree: Tree, name: str) -> Iterator[tuple[str, Any]]:
    """Every leaf of a tree with its name, such as params['dense'][0]."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from walk(branch, f"{name}[{key!r}]")
    elif isinstance(tree, (list, tuple)):
        for i, branch in enumerate(tree):
            yield from walk(branch, f"{name}[{i}]")
    else:
        yield name, tree


def leaves(params: Tree) -> tuple[list[str], list[Array]]:
    """Names and arrays of the parameters; UsageError for what cannot be updated in place."""
    names, arrays = [], []
    for name, leaf in walk(params, "params"):
        names.append(name)
        arrays.append(_checked(name, leaf))
    if not arrays:
        raise UsageError(f"params: expected at least one array, found {params!r}")
    return names, arrays


def _checked(name: str, leaf: Any) -> Array:
    if isinstance(leaf, np.ndarray):
        if leaf.dtype not in (np.float32, np.float64):
            raise UsageError(f"{name}: expected float32 or float64, found {leaf.dtype}")
        if not leaf.flags.writeable:
            raise UsageError(f"{name}: expected an array to update in place, found a read-only one")
        return leaf
    if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
        raise UsageError(f"{name}: expected an array, found {type(leaf).__name__}: {leaf!r}")
    leaf = leaf.detach() if hasattr(leaf, "detach") else leaf  # torch: the same memory
    xp = namespace(leaf)
    if leaf.dtype not in (xp.float32, xp.float64):
        raise UsageError(f"{name}: expected float32 or float64, found {leaf.dtype}")
    return leaf


def check_apart(names: list[str], arrays: list[Array]) -> None:
    """UsageError if two leaves are the same memory, which each step would move twice."""
    seen: dict[int, str] = {}
    for name, x in zip(names, arrays, strict=True):
        where = x.ctypes.data if isinstance(x, np.ndarray) else getattr(x, "data_ptr", lambda: 0)()
        if where and 0 not in x.shape and seen.setdefault(where, name) != name:
            raise UsageError(
                f"{name}: expected memory of its own, found that of {seen[where]}; "
                "give a shared array once, with the sum of its gradients"
            )


def gradients(grads: Tree, names: list[str], arrays: list[Array]) -> list[Array]:
    """The gradients' arrays, in the order of the parameters, like them in shape and dtype."""
    found = dict(walk(grads, "params"))
    if found.keys() != set(names):
        missing = [name for name in names if name not in found]
        extra = [name for name in found if name not in names]
        raise UsageError(
            "grads: expected the structure of params"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; not in params: {', '.join(extra)}" if extra else "")
        )
    return [_like(found[name], p, name) for name, p in zip(names, arrays, strict=True)]


def _like(g: Any, p: Array, name: str) -> Array:
    where = "grads" + name.removeprefix("params")
    if isinstance(g, np.generic):  # what numpy makes of arrays without axes
        g = np.asarray(g)
    g = g.detach() if hasattr(g, "detach") else g
    if isinstance(g, np.ndarray) is not isinstance(p, np.ndarray) or not hasattr(g, "dtype"):
        raise UsageError(
            f"{where}: expected {type(p).__name__}, as {name} is, found {type(g).__name__}"
        )
    if g.shape != p.shape:
        raise UsageError(
            f"{where}: expected the shape of {name}, {tuple(p.shape)}, found {tuple(g.shape)}"
        )
    if g.dtype != p.dtype:
        raise UsageError(f"{where}: expected the dtype of {name}, {p.dtype}, found {g.dtype}")
    if isinstance(g, np.ndarray) and np.may_share_memory(g, p):
        return g.copy()  # or it would change while it is read
    return g


def copies(arrays: list[Array]) -> list[Array]:
    """Arrays with memory of their own."""
    return [namespace(x).asarray(x, copy=True) for x in arrays]


def rebuilt(tree: Tree, arrays: list[Array]) -> Tree:
    """A tree of the same structure, with these leaves, in the order of `leaves`."""
    found = iter(arrays)

    def build(branch: Tree) -> Tree:
        if isinstance(branch, Mapping):
            return {key: build(x) for key, x in branch.items()}
        if isinstance(branch, (list, tuple)):
            return [build(x) for x in branch]
        return next(found)

    return build(tree)
