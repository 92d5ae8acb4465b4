"""Promotion ASHA: train many networks a little, and only the best ones in full.

The objective is a generator: it yields the accuracy after each epoch, and beside it what is
needed to go on. ASHA pauses trials at 3, 9 and 27 epochs; one that is promoted goes on from
its checkpoint, wherever it runs. Full training of as many configurations is the comparison.
"""

from statistics import median

import mlp
import numpy as np

import raysearch as rs
from raysearch import optim

EPOCHS = 27
SEEDS = range(5)
space = rs.Space(
    {
        "lr": rs.Float(1e-3, 1.0, log=True),
        "batch_size": rs.Choice([32, 64, 128], ordered=True),
        "hidden": rs.Int(16, 128, log=True),
        "momentum": rs.Float(0.0, 0.99),
    }
)
settings = {"metric": "accuracy", "mode": "max"}


def objective(config, trial):
    images, valid, _ = mlp.digits()
    rule = optim.SGD(config["lr"], config["momentum"])
    params = mlp.initial(np.random.default_rng(0), images.x.shape[1], config["hidden"])
    state, epoch = rule.init(params), 0
    if trial.checkpoint:
        params, epoch = trial.checkpoint["params"], trial.checkpoint["epoch"]
        state.restore(trial.checkpoint["rule"])
    while epoch < EPOCHS:
        order = np.random.default_rng(epoch).permutation(len(images.x))
        for rows in np.split(order, range(config["batch_size"], len(order), config["batch_size"])):
            batch = mlp.Part(images.x[rows], images.label[rows])
            rule.step(params, mlp.loss_and_gradient(params, batch)[1], state)
        epoch += 1
        saved = {"params": params, "rule": state.arrays(), "epoch": epoch}
        yield {"accuracy": mlp.accuracy(params, valid)}, saved


def compare(seed, trials=64):
    """How many configurations; epochs of ASHA and of all in full; accuracy of both."""
    asha = rs.ASHA(min_budget=3, max_budget=EPOCHS)
    asha = rs.search(objective, space, asha, trials=trials, seed=seed, **settings)
    begun = asha.trials["parent"].null_count
    full = rs.search(objective, space, rs.RandomSearch(), trials=begun, seed=seed, **settings)
    epochs = [len(study.reports) for study in (asha, full)]
    return begun, *epochs, *(study.best.metrics["accuracy"] for study in (asha, full))


if __name__ == "__main__":
    rows = {seed: compare(seed) for seed in SEEDS}
    rows["median"] = map(median, zip(*rows.values(), strict=True))
    print("seed    configurations  epochs: ASHA  in full  accuracy: ASHA  in full")
    for name, (n, few, many, ours, theirs) in rows.items():
        print(f"{name:<8}{n:14.0f}{few:14.0f}{many:9.0f}{ours:16.1%}{theirs:9.1%}")
