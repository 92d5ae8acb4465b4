"""Rules for matrices: steps shaped by singular vectors instead of single elements.

p  a matrix of parameters (m, n)   g  its gradient   t  number of the step, from 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UsageError
from .rules_adam import adam_step, moments
from .rules_base import Leafwise
from .rules_layerwise import norm
from .schedule import Rate, check
from .tree import Array, namespace


def orthogonalized(x: Array, coefficients: tuple[float, ...], steps: int, eps: float) -> Array:
    """U V' of x = U S V', roughly: a quintic Newton-Schulz iteration on the singular values.

    With x scaled to norm 1, x <- a x + (b x x' + c (x x')^2) x takes every singular value
    close to 1 in a few steps of matrix products alone (Jordan et al., 2024).
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x  # the smaller Gram matrix
    x = x / max(norm(x), eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


@dataclass(frozen=True)
class Muon(Leafwise):
    """Momentum whose every singular value is made (nearly) one; for matrices only.

    m <- mu m + (1 - mu) g,  u = (1 - mu) g + mu m (Nesterov; else m),
    p <- (1 - lr lambda) p - lr s orthogonalized(u).

    lr               step length
    weight_decay     lambda, decoupled
    momentum         mu, [0, 1]
    nesterov         look ahead
    ns_coefficients  a, b, c of the Newton-Schulz iteration
    eps              floor of the norm before the iteration
    ns_steps         iterations
    adjust_lr_fn     "original": s = sqrt(max(1, m / n)); "match_rms_adamw": 0.2 sqrt(max(m, n))

    Computes in the dtype of the parameters (torch: always in bfloat16). Train vectors,
    embeddings and the last layer with another rule, as its authors do.

    Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks.
    """

    lr: Rate = 1e-3
    weight_decay: Rate = 0.1
    momentum: Rate = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = "original"

    def __post_init__(self) -> None:
        super().__post_init__()
        good = self.adjust_lr_fn in ("original", "match_rms_adamw")
        check(good, self, "adjust_lr_fn", "'original' or 'match_rms_adamw'")

    def accept(self, name: str, p: Array) -> None:
        """Only matrices have singular vectors."""
        if p.ndim != 2:
            raise UsageError(
                f"{name}: Muon expected a matrix, found shape {tuple(p.shape)}; "
                "move other arrays with a rule of their own"
            )

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, *,
        lr: Any, weight_decay: Any, momentum: Any, nesterov: bool,
        ns_coefficient1: Any, ns_coefficient2: Any, ns_coefficient3: Any,
        eps: Any, ns_steps: int, adjust_lr_fn: str,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Jordan et al., with the scale of Liu et al. (2025) as an option."""
        m = momentum * m + (1 - momentum) * g
        u = (1 - momentum) * g + momentum * m if nesterov else m
        coefficients = (ns_coefficient1, ns_coefficient2, ns_coefficient3)
        u = orthogonalized(u, coefficients, ns_steps, eps)
        rows, columns = p.shape
        if adjust_lr_fn == "original":
            scale = math.sqrt(max(1, rows / columns))
        else:
            scale = 0.2 * math.sqrt(max(rows, columns))
        return p * (1 - lr * weight_decay) - u * (lr * scale), m


@dataclass(frozen=True)
class SOAP(Leafwise):
    """Adam in the eigenbasis of Shampoo's preconditioner; plain Adam for what is no matrix.

    L <- beta L + (1 - beta) g g',  R <- beta R + (1 - beta) g' g with beta = shampoo_beta;
    every precondition_frequency steps (and at the first) their eigenvectors QL, QR are
    renewed. The moments: m of g, and v of the square of QL' g QR;
    p <- (1 - lr lambda) p - QL [Adam's step of QL' m QR and v] QR'.

    lr                        step length
    betas                     memory of m and v, [0, 1)
    shampoo_beta              memory of L and R, [0, 1]
    eps                       floor of the root
    weight_decay              lambda, decoupled
    precondition_frequency    steps between two eigendecompositions

    The eigenvectors come from a full decomposition each time (the authors take one step of
    a power iteration); costs O(m^3 + n^3) then.

    Vyas et al. (2024), SOAP: improving and stabilizing Shampoo using Adam, Alg. 3.
    """

    lr: Rate = 3e-3
    betas: tuple[float, float] = (0.95, 0.95)
    shampoo_beta: float = 0.95
    eps: float = 1e-8
    weight_decay: Rate = 1e-2
    precondition_frequency: int = 10

    def begin(self, slot: str, p: Array) -> Array:
        """L and QL are (m, m), R and QR (n, n); without elements where p is no matrix."""
        xp = namespace(p)
        if slot in ("m", "v"):
            return xp.zeros_like(p)
        n = 0 if p.ndim != 2 else p.shape[0] if slot in ("left", "q_left") else p.shape[1]
        return xp.zeros_like(xp.broadcast_to(xp.sum(p), (n, n)))

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, v: Any, left: Any, right: Any, q_left: Any, q_right: Any, *,
        t: int, lr: Any, beta1: Any, beta2: Any, shampoo_beta: Any, eps: Any,
        weight_decay: Any, precondition_frequency: int,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Vyas et al., Alg. 3."""
        p = p * (1 - lr * weight_decay)
        if p.ndim != 2:
            m, v = moments(g, m, v, beta1, beta2)
            p = p - adam_step(m, v, t, lr, beta1, beta2, eps)
            return p, m, v, left, right, q_left, q_right
        left = shampoo_beta * left + (1 - shampoo_beta) * (g @ g.T)
        right = shampoo_beta * right + (1 - shampoo_beta) * (g.T @ g)
        if (t - 1) % precondition_frequency == 0:
            eigh = namespace(p).linalg.eigh
            q_left, q_right = eigh(left)[1], eigh(right)[1]
        m = beta1 * m + (1 - beta1) * g
        g_rotated, m_rotated = (q_left.T @ x @ q_right for x in (g, m))
        v = beta2 * v + (1 - beta2) * g_rotated * g_rotated
        step = adam_step(m_rotated, v, t, lr, beta1, beta2, eps)
        return p - q_left @ step @ q_right.T, m, v, left, right, q_left, q_right
