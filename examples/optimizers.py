"""Which optimizer wins at an equal budget, each with the best of its own options?

The update rule is a parameter of the search, and its options are parameters that exist only
where that rule is chosen. Quasi-random points give each of the 8 rules the same 16 trials, and
each trial the same network and the same 10 passes over the images.

`python examples/optimizers.py` runs the search, or goes on with it, and prints the table.
`raysearch run examples/optimizers.py` runs the same search from the command line.
"""

import mlp

import raysearch as rs
from raysearch import optim

NETWORK = {"batch_size": 32, "hidden": 64, "dropout": 0.2}
EPOCHS = 10

large, small = rs.Float(0.01, 1.0, log=True), rs.Float(0.001, 0.1, log=True)
betas = rs.Choice([(0.8, 0.99), (0.9, 0.99), (0.9, 0.999), (0.95, 0.999)])
decay = rs.Float(0.001, 1.0, log=True)
options = {
    "SGD": {"lr": large, "momentum": rs.Float(0.5, 0.99)},
    "Adagrad": {"lr": large},
    "RMSProp": {"lr": small, "alpha": rs.Float(0.8, 0.99)},
    "Adam": {"lr": small, "betas": betas},
    "AdamW": {"lr": small, "betas": betas, "weight_decay": decay},
    "NAdam": {"lr": small, "betas": betas},
    "Lion": {"lr": small, "betas": betas, "weight_decay": decay},
    "AdaBelief": {"lr": small, "betas": betas},
}
space = rs.Space(
    {
        "rule": rs.Choice(list(options)),
        **{
            f"{rule}.{name}": parameter.when(rule=rule)
            for rule, own in options.items()
            for name, parameter in own.items()
        },
    }
)
strategy = rs.QuasiRandom()  # tries every optimizer as often
settings = {"trials": 128, "metric": "accuracy", "mode": "max", "study": "runs/optimizers"}


def options_of(config):
    return {key.partition(".")[2]: value for key, value in config.items() if key != "rule"}


def objective(config):
    rule = optim.RULES[config["rule"]](**options_of(config))
    train, valid, test = mlp.digits()
    model = mlp.train(NETWORK, train, rule, EPOCHS)
    return {"accuracy": mlp.accuracy(model, valid), "test": mlp.accuracy(model, test)}


def table(study):
    """One line for each rule: the median of its trials, and the best of them."""
    trials = {}
    order = [("metrics.accuracy", "descending"), ("number", "ascending")]
    for row in study.trials.sort_by(order).to_pylist():
        if row["state"] == "complete":
            trials.setdefault(row["config.rule"], []).append(row)
    yield "rule        trials     median       best    on test    options of the best"
    for rule, rows in trials.items():  # the best rule first, as the rows are
        median, best = rows[len(rows) // 2], rows[0]
        own = ", ".join(
            f"{key}={value:.2g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in options_of(study.trial(best["number"]).config).items()
        )
        yield (
            f"{rule:10} {len(rows):7} {median['metrics.accuracy']:10.1%} "
            f"{best['metrics.accuracy']:10.1%} {best['metrics.test']:10.1%}    {own}"
        )


if __name__ == "__main__":
    study = rs.search(objective, space, strategy, **settings)
    print(*table(study), sep="\n")
    print("On 400 images, an accuracy of 98 % has a standard error of 0.7 %.")
