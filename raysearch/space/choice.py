"""Choice: one of several values of any kind."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from .bins import EvenBins
from .names import key, listing, stand_in, to_plain
from .parameters import MIDDLE, Array, Parameter


@dataclass(frozen=True, repr=False, eq=False, init=False)
class Choice(Parameter):
    """One of several values.

    values   JSON values; or Python objects, which the study knows by their ``__name__``;
             or a mapping from names to values of any kind
    ordered  whether neighbours in the list are alike, as with batch sizes
    default  one of the values; the middle (ordered) or first (unordered) if left out

    Raises SpaceError if a value is there twice, or has no name.

    >>> Choice(["sgd", "adam"]).decode(np.array([0.2, 0.7]))
    array([0, 1])
    """

    kind: ClassVar[str] = "choice"

    values: tuple[Any, ...]
    names: tuple[Any, ...]  # the JSON value that stands for each value
    _: KW_ONLY
    ordered: bool = False
    _index: Mapping[str, int] = field(init=False)  # key of a name or JSON value -> its place
    _copied: frozenset[int] = field(init=False)  # lists and dicts, which trials might change

    def __init__(
        self,
        values: Sequence[Any] | Mapping[str, Any],
        *,
        ordered: bool = False,
        default: Any = MIDDLE,
    ) -> None:
        if not isinstance(ordered, bool):
            raise SpaceError(f"Choice ordered: expected True or False, found {ordered!r}")
        names, objects = _named(values)
        index, copied = _indexed(names, objects)
        for name, value in {
            "values": objects,
            "names": names,
            "ordered": ordered,
            "default": default,
            "conditions": (),
            "_index": index,
            "_copied": copied,
        }.items():
            object.__setattr__(self, name, value)
        self._settle_default()

    @property
    def size(self) -> float:
        return len(self.values)

    @property
    def dtype(self) -> type[np.int64]:
        return np.int64

    @property
    def unordered(self) -> bool:
        return not self.ordered

    @property
    def middle(self) -> Any:
        return self.values[len(self.values) // 2 if self.ordered else 0]

    @cached_property
    def _bins(self) -> EvenBins:
        return EvenBins(len(self.values))

    def decode(self, u: NDArray[np.float64]) -> Array:
        return self._bins.bin(u)

    def encode(self, values: Array) -> NDArray[np.float64]:
        return self._bins.place(values)

    def index(self, values: Array) -> NDArray[np.int64]:
        return values.astype(np.int64)

    def nth(self, index: NDArray[np.int64]) -> Array:
        return index

    def lookup(self, value: Any) -> int:
        for i, legal in enumerate(self.values if _is_object(value) else ()):
            if legal is value:
                return i
        try:
            return self._index[key(stand_in(value))]
        except (KeyError, SpaceError):
            raise SpaceError(f"expected one of {listing(self.names)}, found {value!r}") from None

    def to_list(self, values: Array) -> list[Any]:
        if not self._copied:
            return [self.values[i] for i in values.tolist()]
        return [
            copy.deepcopy(self.values[i]) if i in self._copied else self.values[i]
            for i in values.tolist()
        ]

    def _plain(self, value: Any) -> Any:
        return self.names[self.lookup(value)]

    def _arguments(self) -> list[Any]:
        try:
            named = key(self.names) != key([stand_in(value) for value in self.values])
        except SpaceError:
            named = True
        return [dict(zip(self.names, self.values, strict=True)) if named else list(self.values)]

    def _body(self) -> list[Any]:
        return list(self.names)


def _is_object(value: Any) -> bool:
    """Whether a value is known by identity, being no JSON value."""
    try:
        to_plain(value)
    except SpaceError:
        return True
    return False


def _named(values: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The names of the values, and the values."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(listed, Mapping):
        names, objects = list(listed), list(listed.values())
        if not all(isinstance(name, str) for name in names):
            raise SpaceError(f"Choice: expected names (texts) as keys, found {listing(names)}")
    elif isinstance(listed, Sequence) and not isinstance(listed, (str, bytes)):
        names = objects = list(listed)
    else:
        raise SpaceError(f"Choice: expected a list of values, found {values!r}")
    if not names:
        raise SpaceError("Choice: expected at least one value, found none")
    try:
        names = [stand_in(name) for name in names]
    except SpaceError as error:
        raise SpaceError(f"Choice: {error}") from None
    objects = [value.item() if isinstance(value, np.generic) else value for value in objects]
    return tuple(names), tuple(objects)


def _indexed(
    names: tuple[Any, ...], objects: tuple[Any, ...]
) -> tuple[dict[str, int], frozenset[int]]:
    """(key of each name and each JSON value -> its place, places of lists and dicts)."""
    index: dict[str, int] = {}
    copied = set()
    for i, (name, value) in enumerate(zip(names, objects, strict=True)):
        keys = {key(name)}
        if not _is_object(value):
            keys.add(key(to_plain(value)))
            if isinstance(value, (list, dict)):
                copied.add(i)
        if any(index.setdefault(k, i) != i for k in keys):
            raise SpaceError(f"Choice: {name!r} is there twice; leave one out, or rename it")
    return index, frozenset(copied)
