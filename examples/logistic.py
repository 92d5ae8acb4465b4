"""Multinomial logistic regression on handwritten digits, trained in two ways.

With inputs x (n, p), one-hot labels y (n, c), weights W (p, c) and offsets b (c,),

    q = softmax(x W + b)                                        probabilities    (n, c)
    L = -mean(sum(y log q)) + l2 / 2 sum(W^2)                   loss             ()
    dL/dW = x^T (q - y) / n + l2 W,  dL/db = mean(q - y)        its gradient

(Bishop, 2006, Pattern Recognition and Machine Learning, sec. 4.3.4). L is convex. `python
examples/logistic.py` shows how close to its minimum L-BFGS and an update rule come, at the same
number of evaluations.
"""

import numpy as np
from mlp import CLASSES, Part, digits

from raysearch import optim

L2 = 1e-3


def scores(params, x):
    """x W + b; the parameters are one vector, as solvers want them: W row by row, then b."""
    w, b = np.split(params.reshape(-1, CLASSES), [-1])
    return x @ w + b


def loss_and_gradient(params, data):
    x, label = data
    rows, w = np.arange(len(x)), params.reshape(-1, CLASSES)[:-1]
    z = scores(params, x)
    z -= z.max(axis=1, keepdims=True)  # softmax is the same, and exp does not overflow
    q = np.exp(z)
    total = q.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - z[rows, label]) + L2 / 2 * np.sum(w**2)
    dz = q / total
    dz[rows, label] -= 1
    dz /= len(x)
    return float(loss), np.vstack([x.T @ dz + L2 * w, dz.sum(axis=0)]).ravel()


def by_solver(start, data, evaluations):
    """L-BFGS calls the function itself, chooses its step lengths, and knows when to stop."""
    return optim.minimize(
        loss_and_gradient, start, jac=True, args=(data,), max_evaluations=evaluations
    ).x


def by_rule(start, data, evaluations):
    """An update rule is handed one gradient after the other, and changes params in place."""
    params = start.copy()
    rule = optim.SGD(lr=2.0, momentum=0.9, nesterov=True)
    state = rule.init(params)
    for _ in range(evaluations):
        _, gradient = loss_and_gradient(params, data)
        rule.step(params, gradient, state)
    return params


def accuracy(params, data):
    return float(np.mean(scores(params, data.x).argmax(axis=1) == data.label))


if __name__ == "__main__":
    train, _, test = (Part(part.x.astype(float), part.label) for part in digits())
    start = np.zeros((train.x.shape[1] + 1) * CLASSES)
    least, _ = loss_and_gradient(by_solver(start, train, 10_000), train)
    print("                     loss above minimum    accuracy on test")
    print("evaluations          L-BFGS         SGD    L-BFGS       SGD")
    for evaluations in (10, 30, 100, 300):
        ends = [method(start, train, evaluations) for method in (by_solver, by_rule)]
        above = [loss_and_gradient(end, train)[0] - least for end in ends]
        right = [accuracy(end, test) for end in ends]
        print(f"{evaluations:11} {above[0]:15.1e} {above[1]:11.1e} {right[0]:9.1%} {right[1]:9.1%}")
