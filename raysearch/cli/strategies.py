"""``raysearch strategies``: what there is to search with."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

import click

from .command import Command, json_option
from .console import data, emit


@click.command(cls=Command)
@json_option
def command(as_json: bool) -> None:
    """List the strategies with their options."""
    from .. import strategies

    kinds = {name: strategies.get(name) for name in strategies.names()}
    if as_json:
        found = [
            {
                "name": name,
                "class": kind.__name__,
                "summary": strategies.summary(name),
                "options": [
                    {"name": f.name, "type": str(f.type), "default": _default(f)}
                    for f in fields(kind)
                ],
            }
            for name, kind in kinds.items()
        ]
        emit("strategies", {"strategies": found})
        return
    width = max(map(len, kinds))
    for name, kind in kinds.items():
        data(f"{name.ljust(width)}  {strategies.summary(name)}")
        for f in fields(kind):
            data(f"{' ' * width}    --set {f.name}={_default(f)}  ({f.type})")


def _default(field: Field[Any]) -> Any:
    """As it would be typed: of a strategy, its name."""
    if field.default_factory is not MISSING:
        from ..strategies import to_json

        return to_json(field.default_factory())["strategy"]
    return None if field.default is MISSING else field.default
