"""A strategy's state as bytes, and back: exact, and without pickle.

The bytes are an ordinary .npz: the arrays, and one JSON text that says where they belong.
Dataclasses are named there, and looked up among those that the strategy's own first state
consists of; nothing is imported or executed because of what the bytes say. The space is not
stored but given when the state is loaded.
"""

from __future__ import annotations

import io
import json
import math
import types
import typing
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyCorrupt, UsageError
from ..space import Space
from .base import AnyStrategy, State

_TREE = "tree"


def dump(state: State) -> bytes:
    """The state as bytes; equal states of the same history give equal bytes.

    Raises UsageError if the state holds something that cannot be stored.

    >>> from raysearch.space import Float, Space
    >>> from raysearch.strategies.random import RandomSearch
    >>> space = Space({"lr": Float(0, 1)})
    >>> state, _ = RandomSearch().ask(RandomSearch().init(space, seed=7), 3)
    >>> load(dump(state), RandomSearch(), space).asked
    3
    """
    tree, arrays = taken_apart(state)
    text = np.frombuffer(json.dumps(tree, allow_nan=False).encode(), dtype=np.uint8)
    file = io.BytesIO()
    np.savez(file, **{_TREE: text, **arrays})  # type: ignore[arg-type]  # no option is a name of ours
    return file.getvalue()


def taken_apart(state: State) -> tuple[Any, dict[str, NDArray[Any]]]:
    """The state as JSON values, and the arrays that they name; otherwise as `dump`."""
    arrays: dict[str, NDArray[Any]] = {}
    return _encode(state, state.space, arrays, "state"), arrays


def put_together(
    tree: Any, arrays: Mapping[str, NDArray[Any]], strategy: AnyStrategy, space: Space
) -> State:
    """Inverse to `taken_apart`; KeyError, TypeError or ValueError if that is something else."""
    classes = {cls.__name__: cls for cls in _classes(strategy.init(space, 0))}
    state = _decode(tree, space, arrays, classes)
    if not isinstance(state, State):
        raise TypeError(f"not a state but {type(state).__name__}")
    return state


def load(data: bytes, strategy: AnyStrategy, space: Space) -> State:
    """The state that `dump` stored, of this strategy, for this space.

    Raises StudyCorrupt if the bytes are not what was written for this strategy.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        tree = json.loads(arrays.pop(_TREE).tobytes())
        return put_together(tree, arrays, strategy, space)
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise StudyCorrupt(
            f"strategy state: expected what was stored of {strategy!r}, found {error}; "
            "start the strategy anew from the study's trials"
        ) from error


def _encode(value: Any, space: Space, arrays: dict[str, Any], where: str) -> Any:
    """The value as JSON: plain values as they are, all others as {what it is: ...}."""
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        name = f"a{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array" if isinstance(value, np.ndarray) else "number": name}
    if value is space:
        return {"space": None}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, space, arrays, f"{where}[{i}]") for i, v in enumerate(value)]}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        return {
            "class": type(value).__name__,
            "fields": {n: _encode(v, space, arrays, f"{where}.{n}") for n, v in parts.items()},
        }
    raise UsageError(
        f"{where}: expected an array, number, text, None, tuple or dataclass of these, "
        f"found {value!r}; a state that holds it cannot be stored"
    )


def _decode(tree: Any, space: Space, arrays: Mapping[str, Any], classes: dict[str, type]) -> Any:
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"float": text}:
            return float(text)
        case {"array": name}:
            return arrays[name]
        case {"number": name}:
            return arrays[name][()]
        case {"space": None}:
            return space
        case {"tuple": parts}:
            return tuple(_decode(part, space, arrays, classes) for part in parts)
        case {"class": name, "fields": parts}:
            values = {n: _decode(part, space, arrays, classes) for n, part in parts.items()}
            return classes[name](**values)
    raise ValueError(f"unknown entry {list(tree)}")


def _classes(value: Any) -> Iterator[type]:
    """The dataclasses that a state consists of, or may come to consist of."""
    if isinstance(value, tuple):
        for part in value:
            yield from _classes(part)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _annotated(type(value))
        for f in fields(value):
            yield from _classes(getattr(value, f.name))


def _annotated(hint: Any) -> Iterator[type]:
    """The dataclasses that a type mentions."""
    if typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _annotated(part)
    elif is_dataclass(hint):
        yield typing.cast(type, hint)
        yield from _mentioned(typing.cast(type, hint))


@cache
def _mentioned(cls: type) -> tuple[type, ...]:
    """The dataclasses that the fields of one mention."""
    names, hints = {f.name for f in fields(cls)}, typing.get_type_hints(cls)
    parts = [part for name, part in hints.items() if part is not cls and name in names]
    return tuple(found for part in parts for found in _annotated(part))
