"""From the metrics of trials to what a strategy is told of them."""

from __future__ import annotations

import numpy as np

from ..space import Columns, Space
from ..trial import Floats, Outcome
from .gradients import gradient_of
from .objectives import SECONDS, Objectives, as_numbers
from .records import Finished, Results


def outcome_of(
    objectives: Objectives, found: Results | Finished, columns: Columns, space: Space
) -> Outcome:
    """Losses, gradients, constraints and costs of trials; budgets and curves are not in them."""
    gradient = gradient_of(found.metrics, columns, space)
    if gradient is not None and objectives.maximize[0]:
        gradient = -gradient
    constraint = objectives.constraint(columns.k, found.metrics) if objectives.bounds else None
    return Outcome(
        objectives.losses(found.state, found.metrics),
        constraint=constraint,
        gradient=gradient,
        cost=_cost(objectives.cost, found, columns.k),
    )


def _cost(name: str | None, found: Results | Finished, k: int) -> Floats | None:
    """(k,) what the trials have cost, if that matters."""
    if name is None:
        return None
    if name == SECONDS:
        return found.seconds
    return as_numbers(found.metrics.get(name, np.full(k, np.nan)))
