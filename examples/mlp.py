"""A multi-layer perceptron that tells handwritten digits apart, in numpy.

With inputs x (n, p), one-hot labels y (n, c) and a mask m that keeps each hidden unit with
probability 1 - dropout,

    h = m * relu(x W1 + b1) / (1 - dropout)      hidden units      (n, h)
    q = softmax(h W2 + b2)                       probabilities     (n, c)
    L = -mean(sum(y log q))                      cross-entropy     ()

and the gradient flows back through the same lines in reverse order (Rumelhart, Hinton &
Williams, 1986).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raysearch import optim

Array = NDArray[np.floating[Any]]
Params = dict[str, Array]

EPOCHS = 100
CLASSES = 10


class Part(NamedTuple):
    """Images as rows of 64 grey values in [0, 1], and the digit that each one shows."""

    x: Array
    label: NDArray[np.int64]


@cache
def digits() -> tuple[Part, Part, Part]:
    """scikit-learn's 1,797 digits, shuffled: 1,000 to train, 397 to validate, 400 to test."""
    from sklearn.datasets import load_digits

    images = load_digits()
    order = np.random.default_rng(0).permutation(len(images.target))
    x = (images.data[order] / 16).astype(np.float32)
    label = images.target[order].astype(np.int64)
    first, last = Part(x[:1000], label[:1000]), Part(x[1397:], label[1397:])
    return first, Part(x[1000:1397], label[1000:1397]), last


def initial(rng: np.random.Generator, inputs: int, hidden: int, dtype: Any = np.float32) -> Params:
    """Weights that keep the variance of a signal (He et al., 2015); biases of zero."""

    def weights(n: int, m: int) -> Array:
        return (rng.standard_normal((n, m)) * np.sqrt(2 / n)).astype(dtype)

    return {
        "W1": weights(inputs, hidden),
        "b1": np.zeros(hidden, dtype),
        "W2": weights(hidden, CLASSES),
        "b2": np.zeros(CLASSES, dtype),
    }


def loss_and_gradient(
    params: Params, data: Part, mask: Array | float = 1.0
) -> tuple[float, Params]:
    """The cross-entropy L and its gradient; `mask` is m / (1 - dropout) from above."""
    x, label = data
    rows = np.arange(len(x))
    # forward
    a = x @ params["W1"] + params["b1"]
    h = mask * np.maximum(a, 0)
    z = h @ params["W2"] + params["b2"]
    z = z - z.max(axis=1, keepdims=True)  # softmax is the same, and exp does not overflow
    q = np.exp(z)
    total = q.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - z[rows, label]))
    # backward
    dz = q / total
    dz[rows, label] -= 1
    dz /= len(x)
    da = (dz @ params["W2"].T) * mask * (a > 0)
    return loss, {
        "W1": x.T @ da,
        "b1": da.sum(axis=0),
        "W2": h.T @ dz,
        "b2": dz.sum(axis=0),
    }


def train(
    config: Mapping[str, Any], data: Part, rule: Any, epochs: int = EPOCHS, seed: int = 0
) -> Params:
    """Parameters after so many passes over the data, in mini-batches.

    config  batch_size, hidden, dropout
    rule    of `raysearch.optim`, moves the parameters; its lr falls to a tenth by the end
    """
    rng = np.random.default_rng(seed)
    n, size, keep = len(data.x), config["batch_size"], np.float32(1 - config["dropout"])
    params = initial(rng, data.x.shape[1], config["hidden"])
    steps = epochs * -(-n // size)
    rule = replace(rule, lr=optim.Exponential(rule.lr, 0.1 ** (1 / steps)))
    state = rule.init(params)
    for _ in range(epochs):
        order = rng.permutation(n)
        for start in range(0, n, size):
            batch = order[start : start + size]
            kept = rng.random((len(batch), config["hidden"]), dtype=np.float32) < keep
            _, gradient = loss_and_gradient(
                params, Part(data.x[batch], data.label[batch]), kept / keep
            )
            rule.step(params, gradient, state)
    return params


def accuracy(params: Params, data: Part) -> float:
    """The share of images whose digit is told right."""
    h = np.maximum(data.x @ params["W1"] + params["b1"], 0)
    return float(np.mean((h @ params["W2"] + params["b2"]).argmax(axis=1) == data.label))
