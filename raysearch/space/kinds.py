"""The kinds of parameter, by their keys in JSON and TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..errors import SpaceError
from .array import Array
from .choice import Choice
from .names import listing, nearest
from .numeric import Float, Int
from .parameters import Parameter

KINDS: dict[str, type[Parameter]] = {kind.kind: kind for kind in (Float, Int, Choice, Array)}


def parameter_from_json(description: Any) -> Parameter:
    """The parameter that `Parameter.to_json` describes; SpaceError names what is wrong.

    >>> parameter_from_json({"float": [0.8, 0.99], "when": {"optimizer": "sgd"}})
    Float(0.8, 0.99).when(optimizer='sgd')
    """
    if not isinstance(description, Mapping):
        raise SpaceError(f"expected a table such as {{'float': [0, 1]}}, found {description!r}")
    options = dict(description)
    kind = next((name for name in KINDS if name in options), None)
    if kind is None:
        raise SpaceError(f"expected one of the keys {listing(KINDS)}, found {listing(options)}")
    body, when = options.pop(kind), options.pop("when", [])
    known = [f.name for f in fields(KINDS[kind]) if f.kw_only and f.init and f.name != "conditions"]
    for name in options:
        if name not in known:
            raise SpaceError(f"{kind}: there is no option {name!r}; {nearest(name, known)}")
    if not isinstance(body, Sequence) or isinstance(body, str):
        raise SpaceError(f"{kind}: expected a list, found {body!r}")
    if kind == Choice.kind:
        parameter: Parameter = Choice(body, **options)
    elif kind == Array.kind and 1 <= len(body) <= 3:
        parameter = Array(*body, **options)
    elif kind != Array.kind and len(body) == 2:
        parameter = KINDS[kind](*body, **options)
    else:
        expected = "[shape] or [shape, low, high]" if kind == Array.kind else "[low, high]"
        raise SpaceError(f"{kind}: expected {expected}, found {body!r}")
    for parent, values in _conditions(when):
        parameter = parameter.when({parent: values})
    return parameter


def _conditions(when: Any) -> list[tuple[str, Any]]:
    """Pairs of parent and value: [["optimizer", ["sgd"]]], or {"optimizer": "sgd"} by hand."""
    pairs = list(when.items()) if isinstance(when, Mapping) else when
    if not isinstance(pairs, list) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in pairs
    ):
        raise SpaceError(f"when: expected a table such as {{'optimizer': 'sgd'}}, found {when!r}")
    return [(parent, values) for parent, values in pairs]
