"""Hypothesis strategies that draw arbitrary legal search spaces, edge cases included."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ..errors import SpaceError
from ..space import Array, Choice, Float, Int, Parameter, Space

P = TypeVar("P", bound=Parameter)

_AWKWARD = [
    "learning rate",
    "layer.0.units",
    'it\'s "quoted"',
    "größe",
    "学习率",
    "a=b",
    "../up",
    "<b>",
]


def names() -> st.SearchStrategy[str]:
    """Names of parameters: with spaces, dots, quotes, non-Latin letters."""
    letters = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
    return st.sampled_from(_AWKWARD) | st.text(letters, min_size=1, max_size=12)


def json_values() -> st.SearchStrategy[Any]:
    """JSON values, nested ones included."""
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    flat = st.none() | st.booleans() | numbers | texts
    return st.recursive(
        flat,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=4,
    )


@st.composite
def floats(draw: st.DrawFn) -> Float:
    """Float parameters: wide and narrow, log, with steps that divide the range or not."""
    low = draw(st.sampled_from([0.0, 1.0, -1.0, 1e-6, 0.1]) | st.floats(-1e12, 1e12))
    width = draw(st.sampled_from([1.0, 0.3, 1e-6]) | st.floats(1e-9, 1e12))
    step = draw(st.none() | st.sampled_from([0.1, 0.25, 1 / 3, 1e-3]) | st.floats(1e-9, 1e12))
    log = draw(st.booleans()) and low > 0
    return _legal(Float, low, low + width, log=log, step=step)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    """Int parameters: narrow and very wide, log, with steps that divide the range or not."""
    low = draw(st.integers(-10, 100) | st.integers(-(2**52), 2**52))
    width = draw(st.integers(1, 100) | st.integers(1, 2**40))
    step = draw(st.none() | st.integers(1, 10) | st.integers(1, 2**41))
    log = draw(st.booleans()) and low > 0
    return _legal(Int, low, low + width, log=log, step=step)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    """Choice parameters over JSON values, of one value or several, ordered or not."""
    values = draw(st.lists(json_values(), min_size=1, max_size=5))
    return _legal(Choice, values, ordered=draw(st.booleans()))


@st.composite
def array_parameters(draw: st.DrawFn) -> Array:
    """Array parameters, of one length or several, with bounds or without them."""
    shape = draw(st.integers(1, 3) | st.lists(st.integers(1, 2), min_size=1, max_size=3))
    if draw(st.booleans()):
        return Array(shape)  # type: ignore[arg-type]  # lists and lengths are taken, too
    low = draw(st.floats(-1e12, 1e12))
    return _legal(Array, shape, low, low + draw(st.floats(1e-9, 1e12)))


def parameters() -> st.SearchStrategy[Parameter]:
    """Parameters of any kind with one value."""
    return floats() | ints() | choices()


@st.composite
def spaces(draw: st.DrawFn, max_parameters: int = 6, arrays: bool = False) -> Space:
    """Spaces of up to so many parameters, in which some depend on others at any depth.

    arrays  whether an `Array` may be among them, so that configurations cannot be compared by ==
    """
    every = draw(
        st.lists(
            names(),
            min_size=1,
            max_size=max_parameters,
            unique_by=lambda name: unicodedata.normalize("NFC", name),
        )
    )
    drawn: dict[str, Parameter] = {}
    for name in every:
        parameter = draw(parameters() | array_parameters() if arrays else parameters())
        parents = [parent for parent, p in drawn.items() if not np.isinf(p.size)]
        for parent in draw(st.lists(st.sampled_from(parents), max_size=2)) if parents else ():
            values = [legal_value(draw, drawn[parent]) for _ in range(draw(st.integers(1, 2)))]
            parameter = parameter.when({parent: values})
        drawn[name] = parameter
    shuffled = draw(st.permutations(list(drawn)))  # parents need not come first
    return Space({name: drawn[name] for name in shuffled})


def legal_value(draw: st.DrawFn, parameter: Parameter) -> Any:
    """Some legal value of the parameter, ends included."""
    u = np.full((1, parameter.width), draw(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)))
    if not parameter.shape:
        u = u[:, 0]
    return parameter.to_list(parameter.decode(u))[0]


def points(space: Space, n: int) -> st.SearchStrategy[NDArray[np.float64]]:
    """Arrays of shape (n, d) of points in the unit cube of the space, corners included."""
    places = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)
    return arrays(np.float64, (n, space.dim), elements=places)


def _legal(kind: Callable[..., P], *arguments: Any, **options: Any) -> P:
    """A parameter, unless the arguments happen to be illegal."""
    try:
        return kind(*arguments, **options)
    except SpaceError:
        reject()
