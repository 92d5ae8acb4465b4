"""Train every configuration of quality_tables.py once, and keep the losses.

    OMP_NUM_THREADS=1 python scripts/bench/quality_training.py [--only "svm wine"]

Data sets are those that ship with scikit-learn. The loss is a mean over three folds of the
validation data: of classes the logarithmic loss (of neighbours, whose probabilities may be 0,
Brier's), of numbers the root mean squared error in standard deviations. Needs scikit-learn and
lightgbm; takes about six minutes of one core. It only replaces the tables that are named.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from quality_tables import LOSSES, TRAINING, Config, configurations
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold

Fold = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x and y to train, to validate


def folds(name: str) -> list[Fold]:
    """Three folds of a data set."""
    load = {
        "wine": datasets.load_wine,
        "cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
    }[name]
    x, y = load(return_X_y=True)
    if name == "diabetes":
        y = (y - y.mean()) / y.std()
    kind = KFold if name == "diabetes" else StratifiedKFold
    parts = kind(3, shuffle=True, random_state=0).split(x, y)
    return [(x[train], y[train], x[test], y[test]) for train, test in parts]


def standard(fold: Fold) -> Fold:
    """The fold with features of mean 0 and variance 1."""
    x, y, x_test, y_test = fold
    mean, spread = x.mean(axis=0), x.std(axis=0)
    return (x - mean) / spread, y, (x_test - mean) / spread, y_test


def log_loss(scores: np.ndarray, y: np.ndarray) -> float:
    """-log of the softmax of scores (n, classes) at y (n,)."""
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    scores = scores - scores.max(axis=1, keepdims=True)
    own = scores[np.arange(len(y)), y]
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - own))


def brier(p: np.ndarray, y: np.ndarray) -> float:
    """Squared error of probabilities (n, classes)."""
    return float(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean())


def svm(config: Config, fold: Fold) -> float:
    from sklearn.svm import SVC

    x, y, x_test, y_test = standard(fold)
    model = SVC(
        kernel=config["kernel"],
        C=config["c"],
        gamma=config.get("gamma", 1.0),
        degree=int(config.get("degree", 3)),
        coef0=config.get("shift", 0.0),
        max_iter=20_000,
    )
    return log_loss(model.fit(x, y).decision_function(x_test), y_test)


def neighbours(config: Config, fold: Fold) -> float:
    from sklearn.decomposition import PCA
    from sklearn.feature_selection import SelectKBest
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    x, y, x_test, y_test = fold
    scalers = {"none": None, "standard": StandardScaler, "range": MinMaxScaler}
    scaler = scalers.get(config["scaler"], RobustScaler)
    steps: list[Any] = [scaler()] if scaler else []
    if config["reduction"] == "components":
        steps.append(PCA(config["features"], random_state=0))
    if config["reduction"] == "best":
        steps.append(SelectKBest(k=config["features"]))
    model = KNeighborsClassifier(config["neighbours"], weights=config["weights"], p=config["power"])
    return brier(make_pipeline(*steps, model).fit(x, y).predict_proba(x_test), y_test)


def forest(config: Config, fold: Fold) -> float:
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    x, y, x_test, y_test = fold
    kind = RandomForestClassifier if config["kind"] == "random" else ExtraTreesClassifier
    model = kind(
        50,
        criterion=config["criterion"],
        max_features=config["features"],
        max_depth=int(config["depth"]),
        min_samples_leaf=int(config["leaf"]),
        random_state=0,
    )
    p = model.fit(x, y).predict_proba(x_test)
    return log_loss(np.log(np.maximum(p, 1e-3)), y_test)


def perceptron(config: Config, fold: Fold) -> float:
    from sklearn.neural_network import MLPClassifier

    x, y, x_test, y_test = standard(fold)
    model = MLPClassifier(
        (int(config["hidden"]),),
        activation=config["activation"],
        learning_rate_init=config["rate"],
        alpha=config["decay"],
        batch_size=int(config["batch"]),
        max_iter=15,
        random_state=0,
    )
    p = model.fit(x, y).predict_proba(x_test)
    return log_loss(np.log(np.maximum(p, 1e-6)), y_test)


def boosting(configs: list[Config], fold: Fold) -> list[float]:
    """Losses of many configurations; those that differ in their rounds alone share a model."""
    import lightgbm

    x, y, x_test, y_test = fold
    classes = y.dtype.kind == "i"
    kinds = {
        "plain": {},
        "one-sided": {"data_sample_strategy": "goss"},
        "random-splits": {"extra_trees": True},
    }
    models: dict[Any, Any] = {}
    found = []
    for config in configs:
        own = tuple(value for name, value in config.items() if name != "rounds")
        if own not in models:
            options = {
                "objective": "binary" if classes else "regression",
                "learning_rate": config["rate"],
                "num_leaves": int(config["leaves"]),
                "min_data_in_leaf": int(config["least"]),
                "feature_fraction": config["features"],
                "verbose": -1,
                "num_threads": 1,
                "seed": 0,
                **kinds[config["kind"]],
            }
            models[own] = lightgbm.train(options, lightgbm.Dataset(x, y), 80)
        rounds = int(config["rounds"])
        if classes:
            scores = models[own].predict(x_test, num_iteration=rounds, raw_score=True)
            found.append(log_loss(scores, y_test))
        else:
            error = models[own].predict(x_test, num_iteration=rounds) - y_test
            found.append(float(np.sqrt((error**2).mean())))
    return found


ONE: dict[str, Callable[[Config, Fold], float]] = {
    "svm": svm,
    "neighbours": neighbours,
    "forest": forest,
    "perceptron": perceptron,
}


def trained(name: str) -> np.ndarray:
    """The losses of a task, in the order of its configurations."""
    data, space = TRAINING[name]
    model, configs = name.split()[0], configurations(space)
    if model == "boosting":
        parts = [boosting(configs, fold) for fold in folds(data)]
    else:
        parts = [[ONE[model](config, fold) for config in configs] for fold in folds(data)]
    return np.mean(parts, axis=0).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=list(TRAINING))
    warnings.simplefilter("ignore")
    for name in parser.parse_args().only:
        start = time.process_time()
        losses = trained(name)
        tables = dict(np.load(LOSSES)) if LOSSES.exists() else {}
        LOSSES.parent.mkdir(exist_ok=True)
        np.savez_compressed(LOSSES, **{**tables, name: losses})
        least, median = losses.min(), np.median(losses)
        print(
            f"{name:20}{len(losses):7d} configurations, loss {least:.4f} at least, "
            f"{median:.4f} median, {time.process_time() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
