"""What is searched with: a choice in place of each `Auto`, a warm start; or what the study has.

A study stores what was chosen, and what it began with. It then goes on with just that, also
where the choice would be another one today (with more trials, on another cluster, by a later
table), and where the earlier studies have grown or are gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .arguments import check_strategy
from .engine.records import Objectives
from .errors import StudyNotFound
from .log.reader import Reader
from .space import Space
from .strategies import from_json, get, to_json
from .strategies.auto import spelled
from .strategies.base import AnyStrategy
from .strategies.warm_start import warmed

_WARM = "warm-start"


def settled(
    strategy: Any,
    space: Space,
    objectives: Objectives,
    place: str | Path | None = None,
    warm_start: Any = None,
    **known: int | float | None,
) -> tuple[AnyStrategy, tuple[str, ...]]:
    """The strategy that is searched with, and what is to be said about it.

    strategy    as it was given; None: Auto()
    place       of the study, if there is to be one
    warm_start  what is good of earlier searches, as for `WarmStart`; None: nothing
    known       options of Auto that it has left out

    Raises UsageError if it is none, does not take so many objectives, or cannot begin so.
    """
    strategy = get("auto")() if strategy is None else strategy
    check_strategy(strategy, objectives)
    warm = strategy if warm_start is None else warmed(strategy, warm_start)
    chosen, why = warm.settled(space, objectives=len(objectives.names), **known)
    stored: Any = None if place is None else _stored(place, space, objectives)
    found = None
    if stored is not None and (warm_start is None or _begins_warm(stored)):
        found = _choices(to_json(strategy), stored)
    if found is None:
        return chosen, tuple(why.splitlines())
    chosen = chosen if to_json(chosen) == stored else from_json(stored)
    return chosen, tuple(f"Auto: {spelled(from_json(c))}, as in the study so far" for c in found)


def _stored(place: str | Path, space: Space, objectives: Objectives) -> Any:
    """The strategy of the study that is there, in JSON, if it searches the same."""
    try:
        spec = Reader(place).spec
    except StudyNotFound:
        return None
    same = spec and spec["space"] == space.to_json() and spec["metric"] == objectives.to_json()
    return spec["strategy"] if same else None


def _begins_warm(stored: Any) -> bool:
    """Whether the strategy, or its sampler, begins with what was good; in JSON."""
    inner = stored["options"].get("sampler")
    return _WARM in (stored["strategy"], isinstance(inner, dict) and inner["strategy"])


def _choices(given: Any, stored: Any) -> list[Any] | None:
    """What is stored in place of each Auto; None if it is not what was given, all in JSON."""
    if isinstance(given, dict) and isinstance(stored, dict):
        if stored.get("strategy") == _WARM != given.get("strategy"):
            return _choices(given, stored["options"]["outer"])
        if given.get("strategy") == "auto":
            return [stored]
        if given.keys() != stored.keys():
            return None
        pairs = [(given[key], stored[key]) for key in given]
    elif isinstance(given, list) and isinstance(stored, list) and len(given) == len(stored):
        pairs = list(zip(given, stored, strict=True))
    else:
        return [] if given == stored else None
    found: list[Any] = []
    for pair in pairs:
        if (choices := _choices(*pair)) is None:
            return None
        found += choices
    return found
