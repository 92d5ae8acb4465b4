"""What is made of a space once, and remembered for as long as that space lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..space import Space

P = ParamSpec("P")
T = TypeVar("T")


def per_space(
    build: Callable[Concatenate[Space, P], T],
) -> Callable[Concatenate[Space, P], T]:
    """Remember what a function makes of a space, for as long as that very space lives.

    The result must not refer to the space; further arguments must be hashable.
    """
    memo: dict[int, tuple[weakref.ref[Space], dict[Any, T]]] = {}

    def look_up(space: Space, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = id(space)
        if key not in memo or memo[key][0]() is not space:
            memo[key] = (weakref.ref(space, lambda _: memo.pop(key, None)), {})
        made = memo[key][1]
        which = (args, tuple(sorted(kwargs.items())))
        if which not in made:
            made[which] = build(space, *args, **kwargs)
        return made[which]

    return look_up
