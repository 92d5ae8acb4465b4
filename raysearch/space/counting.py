"""How many configurations a space has, without making any."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from .conditions import Conditions
from .parameters import Parameter

_OTHER = math.nan  # any value of a parent that no condition names


def count(parameters: Mapping[str, Parameter], conditions: Conditions) -> float:
    """The number of configurations: an integer, or infinity. Constraints are disregarded.

    Parameters are placed one after the other, parents before children. All that matters
    of those placed is the value of each parent that still has children to come (None if
    it is not active); ways with the same values are counted together. As children follow
    their parents at once, few parents are open at any time.
    """
    children: dict[str, list[str]] = defaultdict(list)
    named: dict[str, set[float]] = defaultdict(set)  # values of a parent that conditions name
    for child, pairs in conditions.items():
        for parent, values in pairs:
            children[parent].append(child)
            named[parent] |= set(values.tolist())
    order = _order(parameters, conditions, children)
    place = {name: i for i, name in enumerate(order)}
    last = {parent: max(place[child] for child in those) for parent, those in children.items()}

    ways: dict[tuple[tuple[str, float | None], ...], float] = {(): 1}
    for i, name in enumerate(order):
        after: dict[tuple[tuple[str, float | None], ...], float] = defaultdict(int)
        for open_parents, number in ways.items():
            values_of = dict(open_parents)
            active = all(
                values_of[parent] in values.tolist() for parent, values in conditions.get(name, ())
            )
            others = parameters[name].size - len(named[name])
            options = {value: 1 for value in named[name]} | ({_OTHER: others} if others else {})
            for value, times in options.items() if active else [(None, 1)]:
                still_open = [
                    (parent, v)
                    for parent, v in {**values_of, name: value}.items()
                    if last.get(parent, -1) > i
                ]
                after[tuple(still_open)] += number * times
        ways = after
    return sum(ways.values())


def _order(
    parameters: Mapping[str, Parameter], conditions: Conditions, children: Mapping[str, list[str]]
) -> list[str]:
    """Parents before children, and children as soon as all their parents are there."""
    order: dict[str, None] = {}
    stack = [name for name in reversed(list(parameters)) if name not in conditions]
    while stack:
        name = stack.pop()
        if name in order:
            continue
        order[name] = None
        stack += [
            child
            for child in children.get(name, ())
            if all(parent in order for parent, _ in conditions[child])
        ]
    return list(order)
