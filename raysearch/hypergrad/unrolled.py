"""Unrolled differentiation: the hypergradient of training as it was done, step by step.

    z_t = (w_t, slots of the rule)     z_{t+1} = F_t(z_t, g(w_t, h), options_t),   t < T

`forward` carries the tangents dz/dh along: no memory, but a product with the curvature for each
hyperparameter and step. `reverse` carries the adjoint dV/dz back: one product a step, however
many hyperparameters there are. It needs the states in reverse order; it keeps every s-th one,
s = sqrt(T), and computes those between again, so that 2 sqrt(T) are held at any time.

Franceschi et al. (2017), "Forward and reverse gradient-based hyperparameter optimization";
Shaban et al. (2019), "Truncated back-propagation for bilevel optimization"; Griewank (1992),
"Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
differentiation".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from ..optim import Elementwise
from ..optim.rules_base import State
from .problem import Problem
from .result import Hypergradient
from .training import EXPLODED, Batches, Training


def forward(
    problem: Problem,
    w: Any,
    h: Any = None,
    *,
    rule: Elementwise,
    steps: int,
    options: Mapping[str, ArrayLike] | None = None,
    batches: Batches | None = None,
    after: State | None = None,
) -> Hypergradient:
    """dV/dh and dV/doptions through training, by tangents: for few hyperparameters.

    problem  losses and derivatives
    w        parameters that training starts from
    h        hyperparameters of the losses; None: there are none
    rule     of the optimizer core, such as ``optim.SGD(momentum=0.9)``: one that moves every
             parameter by itself
    steps    how many
    options  hyperparameters of the rule, by their names in its formula: "lr", "momentum",
             "weight_decay", "beta1", ...; each a number, or (steps,): a schedule
    batches  batches(t) is the problem whose training loss step t sees; None: always `problem`
    after    the rule's state where earlier steps have left training at w, which is kept as given;
             steps are then counted on from ``after.steps``, for `batches` too; None: from 0

    Returns a `Hypergradient`. HypergradientError if training or a tangent diverges.

    >>> from raysearch.optim import SGD
    >>> bowl = Problem(  # L = V = w^2 / 2, so that w_1 = (1 - lr) w_0
    ...     lambda w, h: (w**2 / 2, w, None), lambda w, h: (w**2 / 2, w, None), scheme="complex"
    ... )
    >>> found = forward(bowl, 1.0, rule=SGD(), steps=1, options={"lr": 0.1})
    >>> found.options  # dV/dlr = -(1 - lr)
    {'lr': -0.9}

    Reference: Franceschi et al. (2017), alg. 2.
    """
    run = Training(problem, w, h, rule, steps, options or {}, batches, after)
    value, final, slopes = run.tangents(np.eye(run.size))

    def estimate() -> float:
        """How far the slope along the gradient is from what differences of V say."""
        found, expected = run.afresh().slope_by_differences(slopes)
        return abs(found - expected) / max(abs(expected), 1e-300)

    return run.result(value, final, slopes, estimate, stored=1)


def reverse(
    problem: Problem,
    w: Any,
    h: Any = None,
    *,
    rule: Elementwise,
    steps: int,
    options: Mapping[str, ArrayLike] | None = None,
    batches: Batches | None = None,
    after: State | None = None,
    segment: int | None = None,
    truncate: int | None = None,
    exploded: float = EXPLODED,
) -> Hypergradient:
    """dV/dh and dV/doptions through training, by adjoints: for any number of hyperparameters.

    segment   steps between the states that are kept; None: sqrt(steps), which holds fewest;
              `steps`: all are held, and none is computed twice
    truncate  go back over the last so many steps only, and take what came before as given
    exploded  growth of the adjoint's norm that is an error

    Other arguments, and what is returned, as of `forward`. HypergradientError if training
    diverges or the adjoint explodes, naming the step.

    >>> from raysearch.optim import SGD
    >>> bowl = Problem(
    ...     lambda w, h: (w**2 / 2, w, None), lambda w, h: (w**2 / 2, w, None), scheme="complex"
    ... )
    >>> found = reverse(bowl, 1.0, rule=SGD(), steps=2, options={"lr": [0.1, 0.5]})
    >>> found.options["lr"].round(3)  # -(1 - lr_1)^2 (1 - lr_2)^2 / (1 - lr_i)
    array([-0.225, -0.405])

    Reference: Franceschi et al. (2017), alg. 1; truncated: Shaban et al. (2019).
    """
    run = Training(problem, w, h, rule, steps, options or {}, batches, after)
    back = steps if truncate is None else min(truncate, steps)
    size = math.isqrt(max(back - 1, 0)) + 1 if segment is None else segment
    if back < 1 or size < 1:
        raise UsageError(
            f"segment, truncate: expected at least 1, found {segment!r} and {truncate!r}"
        )
    marks = range(steps - back, steps, size)
    kept, passed = [], []  # states at the marks; all moments since the last mark
    state, most = run.start(), 0
    for t in range(steps):
        if t in marks:
            kept.append(state)
        moment = run.meet(t, state)
        if t >= marks[-1]:
            passed.append(moment)
        state, most = run.advance(t, moment), max(most, len(kept) + len(passed))
    final = state["p"]
    value, v_w, v_h = run.functions.valid(state["p"], run.h)

    adjoint = run.adjoint(v_w, v_h, exploded)
    for mark in reversed(marks):
        state = kept.pop()
        for t in range(mark, min(mark + size, steps) if not passed else mark):
            passed.append(run.meet(t, state))
            state, most = run.advance(t, passed[-1]), max(most, len(kept) + len(passed))
        while passed:
            adjoint.back(mark + len(passed) - 1, passed.pop())
    slopes = adjoint.slopes()

    def estimate() -> float:
        """How far the slope along the gradient, by tangents, is from the gradient's norm."""
        norm = max(float(np.linalg.norm(slopes)), 1e-300)
        slope = float(run.afresh().tangents(slopes[None] / norm)[2][0])
        return abs(slope - norm) / norm

    return run.result(value, final, slopes, estimate, stored=most, growth=adjoint.growth)
