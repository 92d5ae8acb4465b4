"""What stands for things in files and tables: names of parameters, JSON for values."""

from __future__ import annotations

import difflib
import json
import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import SpaceError

_LONGEST = 200  # characters in a parameter's name
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # controls (NUL, ESC, newline), surrogates, separators


def check_names(names: Iterable[Any]) -> None:
    """Refuse names of parameters that a table, a terminal or a reader would stumble over."""
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name:
            raise SpaceError(f"space: expected a name (a text), found {name!r}")
        if len(name) > _LONGEST:
            raise SpaceError(
                f"space: expected names of at most {_LONGEST} characters, "
                f"found one of {len(name)}: {name[:30]!r}...; shorten it"
            )
        if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
            raise SpaceError(
                f"space[{name!r}]: expected printable characters, found a control character "
                "or half a surrogate pair; leave it out"
            )
        twin = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if twin != name:
            raise SpaceError(
                f"space: the names {twin!a} and {name!a} are the same text written "
                "with different code points (Unicode NFC); rename one of them"
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """How an error ends that found an unknown name: the nearest known one, or all.

    >>> nearest("learning_rat", ["units", "learning_rate"])
    "did you mean 'learning_rate'?"
    >>> nearest("lr", ["units"])
    "known are 'units'"
    """
    known = list(known)
    return guess(name, known) or f"known are {listing(known)}"


def guess(name: str, known: Iterable[str]) -> str:
    """How an error ends that has said what is known: the nearest of it, or nothing.

    >>> guess("EI", ["ei", "ucb"])
    "did you mean 'ei'?"
    """
    small = {text.lower(): text for text in known}
    close = difflib.get_close_matches(name.lower(), small, n=1)
    return f"did you mean {small[close[0]]!r}?" if close else ""


def listing(values: Iterable[Any], most: int = 8) -> str:
    """The values as code, shortened if there are many."""
    values = list(values)
    shown = ", ".join(repr(value) for value in values[:most])
    return shown if len(values) <= most else f"{shown}, ... ({len(values)} in all)"


def to_plain(value: Any) -> Any:
    """The value in plain JSON types (tuples become lists); SpaceError if it has none.

    >>> to_plain((1, np.float64(0.5), {"a": None}))
    [1, 0.5, {'a': None}]
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value):
        return str.__str__(value)
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    raise SpaceError(f"{value!r} is no JSON value")


def key(plain: Any) -> str:
    """A text that two JSON values share only if they are the same (1, 1.0 and True differ)."""
    return json.dumps(plain, sort_keys=True)


def stand_in(value: Any) -> Any:
    """The JSON value that stands for any value: itself, or an object's ``__name__``."""
    try:
        return to_plain(value)
    except SpaceError:
        name = getattr(value, "__name__", "<nameless>")
        if isinstance(name, str) and not name.startswith("<"):  # as "<lambda>" does
            return name
    raise SpaceError(
        f"{value!r} is neither a JSON value nor has it a __name__; "
        "give it a name: Choice({'name': value})"
    )
