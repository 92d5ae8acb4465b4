"""Derivatives with respect to parameters' values, carried over to the unit cube."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import UsageError
from .scalars import real
from .space import Columns, Float, Space
from .space.names import nearest
from .trial import Floats


def unit_gradient(
    space: Space, columns: Columns, gradients: Sequence[Mapping[str, Any] | None]
) -> Floats:
    """dL/du (k, d), from dL/dvalue: dL/du = dL/dvalue dvalue/du, by each parameter's scale.

    columns    (k) the configurations
    gradients  (k,) name -> dL/dvalue, of continuous parameters that are active; None: unknown

    NaN where nothing is known. UsageError for a name that is none, or a parameter without a
    derivative.

    >>> space = Space({"lr": Float(1.0, math.e, log=True)})  # value = exp(u)
    >>> unit_gradient(space, space.columns([{"lr": 2.0}]), [{"lr": 3.0}]).round(6)
    array([[6.]])
    """
    found = np.full((columns.k, space.dim), np.nan)
    for i, gradient in enumerate(gradients):
        for name, slope in (gradient or {}).items():
            parameter = space.parameters.get(name)
            if parameter is None:
                raise UsageError(
                    f"gradient: found the unknown parameter {name!r}; "
                    + nearest(str(name), list(space.parameters))
                )
            if not isinstance(parameter, Float) or not math.isinf(parameter.size):
                raise UsageError(
                    f"gradient[{name!r}]: expected a continuous parameter, a Float, found "
                    f"{parameter!r}"
                )
            if name in columns.active and not columns.active[name][i]:
                raise UsageError(f"gradient[{name!r}]: the parameter is not active here")
            number = real(slope)
            if number is None:
                raise UsageError(f"gradient[{name!r}]: expected a number, found {slope!r}")
            value = float(columns.numbers[name][i])
            span = parameter.high - parameter.low
            scale = value * math.log(parameter.high / parameter.low) if parameter.log else span
            found[i, space.places[name].start] = number * scale
    return found
