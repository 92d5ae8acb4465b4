"""Problems whose derivatives jax, torch or autograd takes, when one is installed.

The one product that hypergradients need, H (v, u) with the Hessian H of L in (w, h), is the
gradient of dL . (v, u): a derivative of a derivative, exact to rounding.

Pearlmutter (1994), "Fast exact multiplication by the Hessian".
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import UsageError
from .problem import Problem

Loss = Callable[[Any, Any], Any]
BACKENDS = ("jax", "torch", "autograd")


def differentiated(train: Loss, valid: Loss, backend: str) -> Problem:
    """A problem from losses alone: train(w, h) and valid(w, h), each an array to a number.

    train, valid  functions of two arrays of the backend, in double precision
    backend       "jax", "torch" or "autograd": who differentiates them

    Returns a `Problem` of numpy arrays. UsageError if the backend is not known or not installed.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend: expected one of {list(BACKENDS)}, found {backend!r}")
    try:
        import_module(backend)
    except ImportError:
        raise UsageError(
            f"backend: expected an installed package, found no {backend!r}; pip install {backend}, "
            "or write gradients in numpy: hypergrad.Problem"
        ) from None
    return {"jax": _jax, "torch": _torch, "autograd": _autograd}[backend](train, valid)


def _torch(train: Loss, valid: Loss) -> Problem:
    import torch

    def variables(w: Any, h: Any) -> list[Any]:
        arrays = (np.asarray(x, dtype=np.float64) for x in (w, h))
        return [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in arrays]

    def grad(value: Any, of: list[Any], graph: bool = False) -> list[Any]:
        return [
            torch.zeros_like(x) if found is None else found
            for x, found in zip(
                of,
                torch.autograd.grad(value, of, create_graph=graph, allow_unused=True),
                strict=True,
            )
        ]

    def first(loss: Loss) -> Any:
        def function(w: Any, h: Any) -> Any:
            of = variables(w, h)
            value = loss(*of)
            return value.item(), *(g.detach().numpy() for g in grad(value, of))

        return function

    def product(w: Any, h: Any, v: Any, u: Any) -> Any:
        of = variables(w, h)
        gradients = grad(train(*of), of, graph=True)
        slope = sum(
            (g * torch.tensor(np.asarray(d, dtype=np.float64))).sum()
            for g, d in zip(gradients, (v, u), strict=True)
        )
        return tuple(g.detach().numpy() for g in grad(slope, of))

    return Problem(first(train), first(valid), product)


def _jax(train: Loss, valid: Loss) -> Problem:
    import jax

    jax.config.update("jax_enable_x64", True)

    def numpy_of(tree: Any) -> Any:
        return tuple(np.asarray(x, dtype=np.float64) for x in tree)

    def doubles(*arrays: Any) -> Any:
        return tuple(jax.numpy.asarray(np.asarray(x, dtype=np.float64)) for x in arrays)

    def first(loss: Loss) -> Any:
        both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

        def function(w: Any, h: Any) -> Any:
            value, gradients = both(*doubles(w, h))
            return float(value), *numpy_of(gradients)

        return function

    gradient = jax.grad(train, argnums=(0, 1))

    along = jax.jit(lambda w, h, v, u: jax.jvp(gradient, (w, h), (v, u))[1])

    def product(w: Any, h: Any, v: Any, u: Any) -> Any:
        return numpy_of(along(*doubles(w, h, v, u)))

    return Problem(first(train), first(valid), product)


def _autograd(train: Loss, valid: Loss) -> Problem:
    import autograd
    import autograd.numpy as anp

    def first(loss: Loss) -> Any:
        gradient = autograd.grad(loss, (0, 1))
        return lambda w, h: (float(loss(w, h)), *gradient(w, h))

    gradient = autograd.grad(train, (0, 1))

    def slope(w: Any, h: Any, v: Any, u: Any) -> Any:
        dw, dh = gradient(w, h)
        return anp.sum(dw * v) + anp.sum(dh * u)

    return Problem(first(train), first(valid), autograd.grad(slope, (0, 1)))
