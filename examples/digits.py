"""Tune a multi-layer perceptron on scikit-learn's handwritten digits.

From Python: `python examples/digits.py`. From the command line:
`raysearch run examples/digits.py --strategy random --trials 64 --study runs/digits`.
"""

import mlp

import raysearch as rs
from raysearch import optim

space = rs.Space(
    {
        "lr": rs.Float(1e-3, 1.0, log=True, default=0.01),
        "batch_size": rs.Choice([16, 32, 64, 128, 256], ordered=True),
        "hidden": rs.Int(16, 256, log=True, default=64),
        "dropout": rs.Float(0.0, 0.5, step=0.1, default=0.2),
        "momentum": rs.Float(0.0, 0.99, default=0.9),
    }
)
settings = {"trials": 64, "metric": "accuracy", "mode": "max", "study": "runs/digits"}


def train(config, images):
    momentum = config["momentum"]
    rule = optim.SGD(config["lr"], momentum, nesterov=momentum > 0)
    return mlp.train(config, images, rule)


def objective(config):
    images, valid, _ = mlp.digits()
    return {"accuracy": mlp.accuracy(train(config, images), valid)}


if __name__ == "__main__":
    study = rs.search(objective, space, **settings)
    print(study.best)
