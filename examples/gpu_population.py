"""A population of networks, trained side by side: on a GPU as one tensor, else in numpy.

The objective is a class: each actor loads the digits onto its device once, and trains its
share of the population together, each member with settings of its own. Four actors share a
GPU. With weights W1 (k, p, h) of k networks, one product of tensors serves all of them:

    a = relu(x W1),  q = softmax(a W2),  W <- W - lr m,  m <- momentum m + dL/dW

>>> python examples/gpu_population.py
"""

import mlp
import numpy as np

import raysearch as rs

HIDDEN, STEPS = 32, 60
space = rs.Space(
    {
        "lr": rs.Float(0.03, 10.0, log=True),
        "momentum": rs.Float(0.0, 0.95),
        "scale": rs.Float(0.1, 3.0, log=True),
    }
)
settings = {"metric": "accuracy", "mode": "max"}


def gpus():
    """How many there are, and torch to use them with."""
    try:
        import torch
    except ImportError:
        return 0
    return torch.cuda.device_count()


@rs.vectorized
class Population:
    """Trains a network for each configuration, all in the same steps."""

    def __init__(self, device):
        train, valid, _ = mlp.digits()
        self.xp, self.to = np, np.asarray
        if device != "cpu":
            import torch

            self.xp, self.to = torch, lambda array: torch.tensor(array, device=device)
        self.x, self.valid = self.to(train.x), self.to(valid.x)
        self.label = valid.label
        self.y = self.to(np.eye(mlp.CLASSES, dtype=np.float32)[train.label])

    def __call__(self, columns):
        xp, n = self.xp, len(self.x)
        lr, momentum, scale = (
            self.to(columns[name].astype(np.float32)[:, None, None])
            for name in ("lr", "momentum", "scale")
        )
        start = mlp.initial(np.random.default_rng(0), self.x.shape[1], HIDDEN)
        weights = [self.to(start[name])[None] * scale for name in ("W1", "W2")]
        moments = [xp.zeros_like(w) for w in weights]
        for _ in range(STEPS):
            a, scores = self.forward(self.x, *weights)
            q = xp.exp(scores - xp.amax(scores, axis=-1, keepdims=True))
            slope = (q / xp.sum(q, axis=-1, keepdims=True) - self.y) / n  # dL/dscores
            back = (slope @ xp.swapaxes(weights[1], 1, 2)) * (a > 0)
            gradients = [xp.swapaxes(self.x, 0, 1) @ back, xp.swapaxes(a, 1, 2) @ slope]
            for w, m, g in zip(weights, moments, gradients, strict=True):
                m *= momentum
                m += g
                w -= lr * m
        chosen = self.forward(self.valid, *weights)[1].argmax(-1)
        right = (chosen if xp is np else chosen.cpu().numpy()) == self.label
        return {"accuracy": right.mean(axis=1)}

    def forward(self, x, w1, w2):
        """Hidden units (k, n, h) and scores (k, n, c)."""
        a = x @ w1
        a = a * (a > 0)
        return a, a @ w2


if __name__ == "__main__":
    options = {"num_cpus": 0.25, "num_gpus": 0.25} if gpus() else {"num_cpus": 1}
    study = rs.search(
        Population, space, rs.RandomSearch(), trials=64, ray_options=options, **settings
    )
    best = study.best
    found = ", ".join(f"{name} {value:.2g}" for name, value in best.config.items())
    print(f"best of {len(study)} networks: {best.metrics['accuracy']:.1%} with {found}")
