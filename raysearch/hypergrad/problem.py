"""A training problem as hypergradients see it: two losses, their gradients, and one product.

    w  parameters that training moves      L(w, h)  loss that it makes small
    h  hyperparameters                     V(w, h)  loss that judges the result

Everything beyond first derivatives goes through one linear map, the derivative of
(dL/dw, dL/dh) along a direction (v, u) of (w, h):

    along(v, u) = (L_ww v + L_wh u,  L_hw v + L_hh u)

which is a product with the Hessian of L in (w, h) together. Who does not supply it gets it by
differences of gradients. Arrays have any shape, and may be lists and nested dicts of arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import HypergradientError, UsageError
from ..optim.derivatives import STEPS
from ..optim.tree import Tree, rebuilt, walk

Floats = NDArray[np.float64]
Vector = NDArray[Any]  # float64; complex128 within a complex step

#: (w, h) -> (loss, gradient like w, gradient like h or None: it does not depend on h)
Loss = Callable[[Any, Any], tuple[Any, Any, Any]]
Scheme = Literal["central", "complex"]


@dataclass(frozen=True, eq=False)
class Problem:
    """The training loss L and the validation loss V of parameters w and hyperparameters h.

    train         train(w, h) -> (L, dL/dw, dL/dh); None for dL/dh if L does not depend on h
    valid         valid(w, h) -> (V, dV/dw, dV/dh), likewise
    product       product(w, h, v, u) -> (L_ww v + L_wh u, L_hw v + L_hh u), each like w and h;
                  None: by differences of `train`
    gauss_newton  gauss_newton(w, h, v) -> G v, an approximation of L_ww that has no negative
                  curvature; for ``curvature="gauss-newton"``
    scheme        of the differences: "central" (two gradients, error about 1e-10), or "complex"
                  (one complex gradient, exact), if `train` is made of analytic functions of numpy

    w and h are what the user likes: arrays of any shape, numbers, lists and dicts of these.

    >>> ridge = Problem(  # L = (w - 1)^2 / 2 + h w^2 / 2,  V = w^2 / 2
    ...     train=lambda w, h: ((w - 1) ** 2 / 2 + h * w**2 / 2, w - 1 + h * w, w**2 / 2),
    ...     valid=lambda w, h: (w**2 / 2, w, None),
    ...     scheme="complex",
    ... )
    >>> from raysearch.hypergrad import implicit
    >>> found = implicit(ridge, w=0.0, h=1.0)  # w = 1 / (1 + h), dV/dh = -1 / (1 + h)^3
    >>> round(float(found.gradient), 6)
    -0.125
    """

    train: Loss
    valid: Loss
    product: Callable[[Any, Any, Any, Any], tuple[Any, Any]] | None = None
    gauss_newton: Callable[[Any, Any, Any], Any] | None = None
    scheme: Scheme = "central"

    def __post_init__(self) -> None:
        for name, optional in (
            ("train", False), ("valid", False), ("product", True), ("gauss_newton", True),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (callable(value) or (optional and value is None)):
                raise UsageError(f"Problem({name}=...): expected a function, found {value!r}")
        if self.scheme not in ("central", "complex"):
            raise UsageError(
                f"Problem(scheme=...): expected 'central' or 'complex', found {self.scheme!r}"
            )


@dataclass
class Cost:
    """What was evaluated.

    train     gradients of the training loss, those of differences included
    valid     gradients of the validation loss
    products  calls of `Problem.product` and `Problem.gauss_newton`
    """

    train: int = 0
    valid: int = 0
    products: int = 0

    @property
    def gradients(self) -> int:
        """All of it, a product counted as one gradient."""
        return self.train + self.valid + self.products


class Shape:
    """How a tree of arrays is laid out as one vector."""

    def __init__(self, name: str, tree: Tree) -> None:
        self.tree, self.names, self.shapes = tree, list[str](), list[tuple[int, ...]]()
        parts = []
        for leaf_name, leaf in walk(tree, name) if tree is not None else ():
            array = np.asarray(leaf)
            if array.dtype.kind not in "iuf":
                raise UsageError(f"{leaf_name}: expected real numbers, found {leaf!r:.80}")
            if not np.isfinite(array).all():
                raise UsageError(f"{leaf_name}: expected finite numbers, found {leaf!r:.80}")
            self.names.append(leaf_name)
            self.shapes.append(array.shape)
            parts.append(array.ravel())
        self.vector: Floats = np.concatenate([np.empty(0), *parts]).astype(np.float64)
        self.ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])

    def build(self, vector: Vector) -> Tree:
        """The tree with the entries of a vector."""
        if self.tree is None:
            return None
        parts = np.split(vector, self.ends[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return rebuilt(self.tree, leaves)

    def flat(self, what: str, tree: Tree) -> Vector:
        """The vector of a tree that should be laid out alike; UsageError if it is not."""
        found = [np.asarray(leaf) for _, leaf in walk(tree, what)]
        shapes = [leaf.shape for leaf in found]
        if shapes != self.shapes:
            raise UsageError(f"{what}: expected arrays of shapes {self.shapes}, found {shapes}")
        return np.concatenate([leaf.ravel() for leaf in found])

    def name(self, entry: int) -> str:
        """What an entry of the vector is called, such as h['l2'][3]."""
        leaf = int(np.searchsorted(self.ends, entry, side="right"))
        shape = self.shapes[leaf]
        if not shape:
            return self.names[leaf]
        first = self.ends[leaf] - int(np.prod(shape))
        index = ", ".join(str(int(i)) for i in np.unravel_index(entry - first, shape))
        return f"{self.names[leaf]}[{index}]"


@dataclass(eq=False)
class Functions:
    """A problem's functions on vectors: called, counted and checked.

    w, h  how parameters and hyperparameters are laid out
    """

    problem: Problem
    w: Shape
    h: Shape
    cost: Cost = field(default_factory=Cost)

    def at(self, problem: Problem) -> Functions:
        """The functions of another problem of the same parameters, counted together."""
        return Functions(problem, self.w, self.h, self.cost)

    def train(self, w: Vector, h: Vector) -> tuple[Any, Vector, Vector | None]:
        """L, dL/dw (n,), dL/dh (m,) or None."""
        self.cost.train += 1
        return self._called("train", self.problem.train, w, h)

    def valid(self, w: Floats, h: Floats) -> tuple[float, Floats, Floats]:
        """V, dV/dw (n,), dV/dh (m,)."""
        self.cost.valid += 1
        value, dw, dh = self._called("valid", self.problem.valid, w, h)
        if not (np.isfinite(value) and np.isfinite(dw).all()):
            raise HypergradientError(
                f"valid: expected a finite loss and gradient at the trained parameters, found the "
                f"loss {float(value):g}; training has diverged: lower the learning rate"
            )
        return float(value), dw, np.zeros_like(self.h.vector) if dh is None else dh

    def along(self, w: Floats, h: Floats, v: Floats, u: Floats) -> tuple[Floats, Floats | None]:
        """The derivative of (dL/dw, dL/dh) along (v, u); None where dL/dh is not known."""
        if self.problem.product is not None:
            self.cost.products += 1
            build_w, build_h = self.w.build, self.h.build
            dw, dh = self.problem.product(build_w(w), build_h(h), build_w(v), build_h(u))
            return self.w.flat("product", dw), None if dh is None else self.h.flat("product", dh)
        length = float(np.hypot(np.linalg.norm(v), np.linalg.norm(u)))
        if length == 0:
            return np.zeros_like(w), np.zeros_like(h)
        size = max(1.0, float(np.hypot(np.linalg.norm(w), np.linalg.norm(h))))
        e = STEPS[self.problem.scheme] * size / length
        if self.problem.scheme == "complex":
            _, dw, dh = self.train(w + 1j * e * v, h + 1j * e * u)
            return dw.imag / e, None if dh is None else dh.imag / e
        _, dw, dh = self.train(w + e * v, h + e * u)
        _, dw_behind, dh_behind = self.train(w - e * v, h - e * u)
        both = None if dh is None or dh_behind is None else (dh - dh_behind) / (2 * e)
        return (dw - dw_behind) / (2 * e), both

    def curvature(self, kind: str, w: Floats, h: Floats, v: Floats) -> Floats:
        """L_ww v, exact or by Gauss-Newton."""
        if kind == "exact":
            return self.along(w, h, v, np.zeros_like(h))[0]
        if self.problem.gauss_newton is None:
            raise HypergradientError(
                'gauss_newton: expected a function, as curvature="gauss-newton" needs one, found '
                "None; pass Problem(gauss_newton=...)"
            )
        self.cost.products += 1
        product = self.problem.gauss_newton(self.w.build(w), self.h.build(h), self.w.build(v))
        return self.w.flat("gauss_newton", product)

    def mixed(self, w: Floats, h: Floats, v: Floats) -> Floats:
        """L_hw v (m,): how the gradient's component along v depends on the hyperparameters."""
        dh = self.along(w, h, v, np.zeros_like(h))[1]
        if dh is None:
            raise missing_derivative()
        return dh

    def _called(
        self, name: str, loss: Loss, w: Vector, h: Vector
    ) -> tuple[Any, Vector, Vector | None]:
        found = loss(self.w.build(w.copy()), self.h.build(h.copy()))
        if not isinstance(found, tuple) or len(found) != 3:
            raise UsageError(
                f"{name}: expected (loss, gradient in w, gradient in h), found {found!r:.80}; "
                "give None for a gradient in h if there is none"
            )
        value, dw, dh = found
        if dw is None:
            raise HypergradientError(
                f"{name}: expected the gradient in w, found None; return it, or let jax, torch or "
                "autograd take it: hypergrad.differentiated"
            )
        if np.size(value) != 1:
            raise UsageError(f"{name}: expected a number as loss, found shape {np.shape(value)}")
        flat_h = None if dh is None else self.h.flat(f"{name}: gradient in h", dh)
        return np.reshape(value, ())[()], self.w.flat(f"{name}: gradient in w", dw), flat_h


def missing_derivative() -> HypergradientError:
    """What is said where the training loss has no derivative in h."""
    return HypergradientError(
        "train: expected the gradient in h, found None, so that its effect on training is not "
        "known; return it as the third value, pass Problem(product=...), or let jax, torch or "
        "autograd take it: hypergrad.differentiated"
    )
