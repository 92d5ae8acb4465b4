"""Wrong labels in a training set, found by a weight for every image that follows its gradient.

With images x (n, p), labels, weights W (p, c) of a softmax regression, and h (n,):

    L = mean_i sigmoid(h_i) l_i + 1e-3 / 2 ||W||^2     training: images may count less
    V = mean of l over 300 images with right labels    what h is to make small

l_i is the cross-entropy of image i. 300 numbers h are tuned by implicit differentiation, for the
price of a few trainings. Run it with `python examples/cleaning.py`.

Franceschi et al. (2017), "Forward and reverse gradient-based hyperparameter optimization", sec. 5.
"""

import numpy as np
from mlp import CLASSES, digits

from raysearch import hypergrad

IMAGES = 300


def losses(w, x, label):
    """l (n,), and its derivative (n, c) with respect to the scores x W."""
    z = x @ w
    e, rows = np.exp(z - z.max(axis=1, keepdims=True).real), np.arange(len(x))
    q = e / e.sum(axis=1, keepdims=True)
    dz = q.copy()
    dz[rows, label] -= 1
    return -np.log(q[rows, label]), dz


def cleaning(x, label, x_valid, label_valid):
    """The problem above; `complex`: the product of second derivatives is taken by numpy, too."""

    def train(w, h):
        weight = 1 / (1 + np.exp(-h)) / len(x)
        each, dz = losses(w, x, label)
        loss = weight @ each + 1e-3 / 2 * np.sum(w**2)
        return loss, x.T @ (weight[:, None] * dz) + 1e-3 * w, weight * (1 - len(x) * weight) * each

    def valid(w, h):
        each, dz = losses(w, x_valid, label_valid)
        return each.mean(), x_valid.T @ dz / len(dz), None

    return hypergrad.Problem(train, valid, scheme="complex")


def noisy(share=0.3):
    """Images and labels, some of them wrong; which ones; right ones to validate and to test."""
    train, valid, test = digits()
    rng = np.random.default_rng(0)
    wrong = rng.random(IMAGES) < share
    label = train.label[:IMAGES].copy()
    label[wrong] = (label[wrong] + rng.integers(1, CLASSES, wrong.sum())) % CLASSES
    return (
        train.x[:IMAGES].astype(float),
        label,
        wrong,
        (valid.x[:IMAGES], valid.label[:IMAGES]),
        test,
    )


if __name__ == "__main__":
    x, label, wrong, valid, test = noisy()
    problem, w = cleaning(x, label, *valid), np.zeros((x.shape[1], CLASSES))
    for gradients in (1, 300, 1000):
        found = hypergrad.tune(problem, w, np.zeros(IMAGES), bounds=(-8, 8), gradients=gradients)
        right = np.mean((test.x @ found.best.w).argmax(axis=1) == test.label)
        caught = np.mean(found.h[wrong] < -1)
        blamed = np.mean(found.h[~wrong] < -1)
        print(
            f"{found.gradients[-1]:5} gradients: loss {found.best.value:.3f}, right {right:.1%}; "
            f"wrong labels found {caught:.0%}, right ones suspected {blamed:.0%}"
        )
