"""Gradients on their way from an objective to its strategy.

An objective returns ``{"loss": ..., "gradient": {name: derivative}}``: of the first objective, with
respect to the value of each continuous parameter that is active. In the log they are metrics like
others, named ``gradient.<name>``, so that a resumed search tells them again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..slopes import unit_gradient
from ..space import Columns, Float, Space
from ..space.names import nearest
from ..trial import Floats
from .metrics import Invalid
from .records import Metrics

GRADIENT = "gradient"


def flattened(value: Any, space: Space) -> Any:
    """What an objective returned, with ``gradient.<name>`` in place of a mapping "gradient".

    Raises Invalid if a name is not that of a continuous parameter.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get(GRADIENT), Mapping):
        return value
    flat = {name: metric for name, metric in value.items() if name != GRADIENT}
    for name, slope in value[GRADIENT].items():
        parameter = space.parameters.get(name)
        if parameter is None:
            known = nearest(str(name), list(space.parameters))
            raise Invalid(f"gradient: found the unknown parameter {name!r}; {known}")
        if not isinstance(parameter, Float) or not math.isinf(parameter.size):
            raise Invalid(
                f"gradient[{name!r}]: expected a continuous parameter, a Float, found {parameter}"
            )
        flat[f"{GRADIENT}.{name}"] = slope
    return flat


def gradient_of(metrics: Metrics, columns: Columns, space: Space) -> Floats | None:
    """(k, d) of the first objective in the unit cube, NaN where unknown; None: nowhere known."""
    known = {
        name: np.asarray(metrics[f"{GRADIENT}.{name}"], dtype=np.float64)  # None becomes NaN
        for name in space.parameters
        if f"{GRADIENT}.{name}" in metrics
    }
    if not known:
        return None
    rows = [
        {
            name: float(slopes[i])
            for name, slopes in known.items()
            if np.isfinite(slopes[i]) and (name not in columns.active or columns.active[name][i])
        }
        for i in range(columns.k)
    ]
    return unit_gradient(space, columns, rows)
