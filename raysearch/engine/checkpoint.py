"""Checkpoints as bytes, and back: exact, and without pickle.

A state is a mapping of arrays, numbers, texts, lists and further mappings. Its bytes are an
ordinary .npz: the arrays, and one JSON text that says where they belong. Tensors of other
libraries are stored as numpy arrays, and come back as such.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyCorrupt, UsageError
from .metrics import Invalid
from .saved import TREE, Packed


def packed(state: Mapping[str, Any], metrics: Mapping[str, Any] = MappingProxyType({})) -> Packed:
    """The state, nothing of it copied yet; Invalid says what of it cannot be stored.

    metrics  that the trial has reported with it
    """
    arrays: dict[str, Any] = {}
    parts = {
        **_encode(state, arrays, "state"),
        "reported": _encode(metrics, arrays, "metrics"),
    }
    return Packed(json.dumps(parts, allow_nan=False), arrays)


def pack(state: Mapping[str, Any], metrics: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """The state as bytes; otherwise as `packed`.

    >>> unpack(pack({"epoch": 3, "weights": [np.zeros(2), np.ones(1)]}))
    {'epoch': 3, 'weights': [array([0., 0.]), array([1.])]}
    """
    return packed(state, metrics).tobytes()


def unpack(data: bytes | Packed) -> dict[str, Any]:
    """The state, copied; StudyCorrupt if the bytes are not what `pack` wrote."""
    return _read(data, lambda tree: tree)


def inherited(data: bytes | Packed, names: str | None) -> dict[str, Any]:
    """Of the state the entries of these names, a JSON list; None: all. Otherwise as `unpack`.

    Raises UsageError if there is no entry of a name.

    >>> inherited(pack({"w": 1.5, "momentum": 0.5}), '["w"]')
    {'w': 1.5}
    """
    state = unpack(data)
    if names is None:
        return state
    wanted = json.loads(names)
    if missing := [name for name in wanted if name not in state]:
        raise UsageError(
            f"option inherit: expected names of entries of the state that is saved, "
            f"{list(state)}, found {missing[0]!r}"
        )
    return {name: state[name] for name in wanted}


def reported(data: bytes | Packed) -> dict[str, Any]:
    """The metrics that were reported with the state; raises as `unpack`."""
    return _read(data, lambda tree: tree.get("reported", {"mapping": []}))


def _read(data: bytes | Packed, part: Callable[[Any], Any]) -> dict[str, Any]:
    try:
        if isinstance(data, Packed):
            value = _decode(part(json.loads(data.tree)), _Copies(data.arrays))
        else:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                value = _decode(part(json.loads(file[TREE].tobytes())), file)
        if not isinstance(value, dict):
            raise ValueError(f"a {type(value).__name__}")
    except MemoryError:
        raise
    except Exception as error:  # zip files can be broken in many ways
        raise StudyCorrupt(
            f"checkpoint: expected what a trial has saved, found damage: "
            f"{type(error).__name__}: {error}"
        ) from error
    return value


class _Copies(dict[str, NDArray[Any]]):
    """Arrays, each copied when it is asked for, since a trial may change what it gets."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        return super().__getitem__(name).copy()


def _encode(value: Any, arrays: dict[str, Any], where: str) -> Any:
    """The value as JSON: plain values as they are, all others as {what it is: ...}."""
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Mapping):
        if strange := [name for name in value if not isinstance(name, (str, int))]:
            raise Invalid(
                f"{where}: expected names (str) or integers as keys, found {strange[0]!r}"
            )
        pairs = [[k, _encode(v, arrays, f"{where}[{k!r}]")] for k, v in value.items()]
        return {"mapping": pairs}
    if isinstance(value, (list, tuple)):
        parts = [_encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": parts}
    array = _array(value)
    if array is None or array.dtype.hasobject:
        raise Invalid(
            f"{where}: expected arrays, numbers, texts, lists and mappings of these, found "
            f"{type(value).__name__}; save what it is made of"
        )
    name = f"a{len(arrays)}"
    arrays[name] = array
    return {"number" if isinstance(value, np.generic) else "array": name}


def _array(value: Any) -> NDArray[Any] | None:
    """An array, wherever it lies; None if the value is none."""
    if hasattr(value, "detach"):  # a tensor of torch
        value = value.detach().cpu()
    elif type(value).__module__.partition(".")[0] == "cupy":
        value = value.get()
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return np.asarray(value)
    return None


def _decode(tree: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"float": text}:
            return float(text)
        case {"array": name}:
            return arrays[name]
        case {"number": name}:
            return arrays[name][()]
        case {"mapping": pairs}:
            return {k: _decode(v, arrays) for k, v in pairs}
        case {"list": parts}:
            return [_decode(part, arrays) for part in parts]
        case {"tuple": parts}:
            return tuple(_decode(part, arrays) for part in parts)
    raise ValueError(f"unknown entry {list(tree)}")
