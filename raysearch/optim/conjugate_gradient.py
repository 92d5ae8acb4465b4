"""Nonlinear conjugate gradients: directions from two gradients; memory O(n).

Hager & Zhang (2005), "A new conjugate gradient method with guaranteed descent and an
efficient line search", SIAM J. Optim. 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .descent import Descent, LineSearchSolver
from .line_search import LineSearch, StrongWolfe
from .machine import Floats, Steps


@dataclass(frozen=True, kw_only=True)
class ConjugateGradient(LineSearchSolver):
    """Hager and Zhang's conjugate gradient method.

    p = -g + beta p_,  beta = (y - 2 p_ y^T y / p_^T y)^T g / p_^T y    (1.3), y = g - g_
    with beta at least -1 / (norm(p_) min(eta, norm(g_)))               (1.5), (1.6)

    eta  bound on negative beta

    Other options as in `LineSearchSolver`.
    """

    eta: float = 0.01
    search: LineSearch = StrongWolfe(c2=0.1)  # conjugacy needs exacter steps

    def direction(self, at: Descent) -> Steps[Floats]:
        yield from ()
        return at.memory[0] if at.memory else -at.jac

    def learn(self, at: Descent, new: Descent) -> tuple[Floats, ...]:
        p = new.x - at.x  # any multiple of the direction will do for the first term
        y = new.jac - at.jac
        py = p @ y
        if not py > 0:
            return ()
        length = np.linalg.norm(p)
        previous = at.memory[0] if at.memory else -at.jac
        stretch = np.linalg.norm(previous) / length  # back to the direction's own length
        beta = float((y - 2 * p * (y @ y) / py) @ new.jac / py / stretch)
        norm = float(np.linalg.norm(previous))
        lowest = -1 / (norm * min(self.eta, float(np.linalg.norm(at.jac))))
        return (-new.jac + max(beta, lowest) * previous,)

    def first_length(self, at: Descent, slope: float) -> float:
        """What would repeat the last decrease."""
        if np.isfinite(at.before) and at.before > at.fun:
            return float(2.02 * (at.fun - at.before) / slope)
        return 1 / float(np.linalg.norm(at.jac))
