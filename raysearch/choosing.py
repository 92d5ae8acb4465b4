"""What `Auto` becomes when a search begins: a strategy of its choice, or what the study has.

A study stores what was chosen. It then goes on with just that, also where the choice would be
another one today: with more trials, on another cluster, by a later table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .arguments import check_strategy
from .engine.records import Objectives
from .errors import StudyNotFound
from .log.reader import Reader
from .space import Space
from .strategies import from_json, get
from .strategies.base import AnyStrategy


def settled(
    strategy: Any,
    space: Space,
    objectives: Objectives,
    place: str | Path | None = None,
    **known: int | float | None,
) -> tuple[AnyStrategy, tuple[str, ...]]:
    """The strategy that is searched with, and what is to be said about it.

    strategy  as it was given; None: Auto()
    place     of the study, if there is to be one
    known     options of Auto that it has left out

    Raises UsageError if it is none, or does not take so many objectives.
    """
    strategy = get("auto")() if strategy is None else strategy
    check_strategy(strategy, objectives)
    chosen, why = strategy.settled(space, objectives=len(objectives.names), **known)
    if why and place is not None and (stored := _stored(place, space, objectives)) is not None:
        chosen, why = stored, f"Auto: {type(stored).__name__}, as in the study so far"
    return chosen, (why,) if why else ()


def _stored(place: str | Path, space: Space, objectives: Objectives) -> AnyStrategy | None:
    """The strategy of the study that is there, if it searches the same."""
    try:
        spec = Reader(place).spec
    except StudyNotFound:
        return None
    same = spec["space"] == space.to_json() and spec["metric"] == objectives.to_json()
    return from_json(spec["strategy"]) if same else None
