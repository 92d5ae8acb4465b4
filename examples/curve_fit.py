"""A hard curve fit by Levenberg-Marquardt from 32 starts, fanned out over Ray.

A least-squares solver finds the minimum of the valley that it starts in. So it starts in many
places: a trial of this search is a whole fit, and its configuration is where the fit begins.

The data are MGH17 of the NIST Statistical Reference Datasets (public domain; from Osborne,
1972), "of average difficulty", with parameters certified to 11 digits:

    y = b1 + b2 exp(-b4 x) + b3 exp(-b5 x)

Starts lie between zero and the far start that NIST gives: 50, 150, -100, 1, 2.

Run it as `python examples/curve_fit.py`, or `raysearch run examples/curve_fit.py`.
"""

from collections import Counter

import numpy as np

import raysearch as rs
from raysearch import optim

X = np.arange(0.0, 330.0, 10.0)
Y = np.array([
    844, 908, 932, 936, 925, 908, 881, 850, 818, 784, 751, 718, 685, 658, 628, 603, 580,
    558, 538, 522, 506, 490, 478, 467, 457, 448, 438, 431, 424, 420, 414, 411, 406,
]) / 1000  # fmt: skip
NAMES = ["b1", "b2", "b3", "b4", "b5"]
CERTIFIED = [0.37541005211, 1.9358469127, -1.4646871366, 0.01286753464, 0.022122699662]
CERTIFIED_COST = 5.4648946975e-5 / 2  # half the sum of squared residuals

space = rs.Space(
    {
        "b1": rs.Float(0, 50),
        "b2": rs.Float(0, 150),
        "b3": rs.Float(-100, 0),
        "b4": rs.Float(0, 1),
        "b5": rs.Float(0, 2),
    }
)
strategy = rs.QuasiRandom()
settings = {"trials": 32, "metric": "cost", "study": "runs/curve_fit"}


def residuals(b):
    with np.errstate(over="ignore", invalid="ignore"):  # a rate below zero; the fit turns back
        return b[0] + b[1] * np.exp(-b[3] * X) + b[2] * np.exp(-b[4] * X) - Y


def objective(config):
    fit = optim.least_squares(residuals, [config[name] for name in NAMES], jac="complex")
    b1, b2, b3, b4, b5 = fit.x.tolist()
    (b4, b2), (b5, b3) = sorted([(b4, b2), (b5, b3)])  # the terms may have changed places
    return {"cost": fit.cost, "b1": b1, "b2": b2, "b3": b3, "b4": b4, "b5": b5}


if __name__ == "__main__":
    study = rs.search(objective, space, strategy, **settings)
    costs = study.trials["metrics.cost"].to_pylist()
    found = sum(abs(cost / CERTIFIED_COST - 1) < 1e-6 for cost in costs)
    print(f"{found} of {len(costs)} starts led to the certified minimum.")
    print("\n    cost at the end    starts")
    for cost, starts in sorted(Counter(float(f"{cost:.4g}") for cost in costs).items()):
        print(f"{cost:19} {starts:9}")
    print("\n           best fit       certified")
    for name, value in zip(NAMES, CERTIFIED, strict=True):
        print(f"{name} {study.best.metrics[name]:16.11g} {value:15.11g}")
