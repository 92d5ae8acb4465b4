"""Whether a search may go on with what a study holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..errors import StudyMismatch

#: the parts of a spec that decide what a search does
DECISIVE = ("space", "metric", "require", "strategy", "seed", "reproducible")


def check_same(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], allow: Collection[str], place: str
) -> None:
    """Raise StudyMismatch, with the differences, if the decisive parts differ.

    allow  the parts that may differ
    """
    found = [
        line
        for key in DECISIVE
        if key not in allow
        for line in differences(stored.get(key), wanted.get(key), key)
    ]
    if found:
        raise StudyMismatch(
            f"study {place}: this is not the search that is stored there:\n  "
            + "\n  ".join(found)
            + "\nuse the stored settings, or another study folder"
        )


def differences(stored: Any, wanted: Any, path: str) -> Iterator[str]:
    """What differs between two JSON values, a line each.

    >>> list(differences({"a": 1, "b": 2}, {"a": 1, "b": 3}, "space"))
    ['space.b: stored 2, now 3']
    """
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for key in dict.fromkeys([*stored, *wanted]):
            if key not in wanted:
                yield f"{path}.{key}: stored {stored[key]!r}, now absent"
            elif key not in stored:
                yield f"{path}.{key}: not stored, now {wanted[key]!r}"
            else:
                yield from differences(stored[key], wanted[key], f"{path}.{key}")
    elif stored != wanted or type(stored) is not type(wanted):
        yield f"{path}: stored {stored!r}, now {wanted!r}"
