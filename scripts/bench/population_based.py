"""Population-based training: epochs until random search's accuracy, and what an exploit costs.

`digits`: ten seeds; a network of 32 hidden units, trained for 20 epochs. Random search trains 40
configurations in full, the population has 20 members and a chance to exploit every 2 epochs.

`bandit`: the same network and seeds, a smaller population of 8 and 2 epochs a stretch: `perturb`
against `bandit`.

`drift`: a made-up training of 20 stretches, in which the best learning rate moves from one end of
its range to the other: what is left of the loss, by `perturb` and by `bandit`.

`overhead`: a model of 10 MB whose steps cost nothing; 2 members at once, 20 stretches of one step
each, of which the worse one exploits. All that takes time is what belongs to stretches: to save, to
move, to load, to log. With Ray Tune installed, the same there, both members in step (`synch`): else
one has ended before the other begins. The middle half of all results counts, so that the
start of workers does not: its time, over its number of stretches. An exploit: from the end of a
step to the beginning of the next one in the same process, with other weights; the median. Here
there are twice as many members as slots for that, so that weights come from elsewhere as a rule.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import raysearch as rs
from raysearch import optim

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

EPOCHS, HIDDEN, BATCH = 20, 32, 128
MEMBERS, STRETCHES, TURNS = 2, 20, 200
SPACE = {
    "lr": rs.Float(1e-4, 1.0, log=True),
    "momentum": rs.Float(0.0, 0.99),
    "dropout": rs.Float(0.0, 0.9),
}


def network(config: Any, trial: Any) -> Any:
    """Trains on digits; everything but the configuration is the same each time."""
    import mlp

    images, valid, _ = mlp.digits()
    rule = optim.SGD(config["lr"], config["momentum"])
    params = mlp.initial(np.random.default_rng(0), images.x.shape[1], HIDDEN)
    state, epoch = rule.init(params), 0
    if trial.checkpoint:
        params, epoch = trial.checkpoint["params"], trial.checkpoint["epoch"]
        state.restore(trial.checkpoint["rule"])
    keep = np.float32(1 - config["dropout"])
    while epoch < EPOCHS:
        rng = np.random.default_rng(epoch)
        order = rng.permutation(len(images.x))
        for rows in np.split(order, range(BATCH, len(order), BATCH)):
            mask = (rng.random((len(rows), HIDDEN), dtype=np.float32) < keep) / keep
            batch = mlp.Part(images.x[rows], images.label[rows])
            rule.step(params, mlp.loss_and_gradient(params, batch, mask)[1], state)
        epoch += 1
        saved = {"params": params, "rule": state.arrays(), "epoch": epoch}
        yield {"accuracy": mlp.accuracy(params, valid)}, saved


def digits(seeds: int = 10) -> None:
    """A row for each seed."""
    print("seed   epochs: PBT  random    accuracy: PBT  random")
    for seed in range(seeds):
        how: Any = {"metric": "accuracy", "mode": "max", "seed": seed, "progress": False}
        pbt = rs.PopulationBased(population=20, max_budget=EPOCHS, interval=2)
        ours = rs.search(network, SPACE, pbt, address="inline", **how)
        random = rs.search(network, SPACE, rs.RandomSearch(), trials=40, address="inline", **how)
        epochs = [len(study.reports) for study in (ours, random)]
        found = [study.best.metrics["accuracy"] for study in (ours, random)]
        print(f"{seed:4} {epochs[0]:13} {epochs[1]:7} {found[0]:16.2%} {found[1]:7.2%}", flush=True)


def bandit(seeds: int = 10) -> None:
    """A row for each seed."""
    print("seed   accuracy: perturb  bandit")
    for seed in range(seeds):
        how: Any = {"metric": "accuracy", "mode": "max", "seed": seed, "progress": False}
        found = []
        for explore in ("perturb", "bandit"):
            pbt = rs.PopulationBased(
                population=8, max_budget=EPOCHS, interval=2, fraction=0.25, explore=explore
            )
            study = rs.search(network, SPACE, pbt, address="inline", **how)
            found.append(study.best.metrics["accuracy"])
        print(f"{seed:4} {found[0]:18.2%} {found[1]:7.2%}", flush=True)


def drifting(config: Any, trial: Any) -> Any:
    """A loss of 1 that each stretch takes up to 30 % off: as the learning rate is near the best."""
    left, step = 1.0, 0
    if trial.checkpoint:
        left, step = trial.checkpoint["left"], trial.checkpoint["step"]
    while True:
        place = np.log10(config["lr"]) / 4 + 1  # in [0, 1], as is the best one
        left *= 1 - 0.3 * np.exp(-(((place - step / (STRETCHES - 1)) / 0.1) ** 2))
        step += 1
        yield {"loss": left}, {"left": left, "step": step}


def drift(seeds: int = 12) -> None:
    """A row for each seed, and the medians."""
    print("seed   loss left: perturb  bandit")
    left = np.empty((seeds, 2))
    for seed in range(seeds):
        for i, explore in enumerate(("perturb", "bandit")):
            pbt = rs.PopulationBased(
                population=20, max_budget=STRETCHES, interval=1, explore=explore
            )
            space = {"lr": rs.Float(1e-4, 1.0, log=True)}
            how: Any = {"seed": seed, "address": "inline", "progress": False}
            left[seed, i] = rs.search(drifting, space, pbt, **how).best.metrics["loss"]
        print(f"{seed:4} {left[seed, 0]:19.4f} {left[seed, 1]:7.4f}", flush=True)
    print("median {:17.4f} {:7.4f}".format(*np.median(left, axis=0)))


class Model:
    """10 MB that are never trained."""

    ended = loaded = np.nan

    def load(self, state: Any, trial: Any) -> None:
        self.w = np.zeros(2_500_000, np.float32) if state is None else state["w"]
        self.loaded = np.nan if state is None else self.ended

    def step(self, config: Any) -> Any:
        now = time.perf_counter()
        spent, self.loaded, self.ended = now - self.loaded, np.nan, now
        return {"loss": float(config["lr"]), "spent": spent}

    def save(self) -> Any:
        return {"w": self.w}


def ours(members: int = MEMBERS) -> tuple[float, float]:
    """Seconds a stretch, and an exploit."""
    pbt = rs.PopulationBased(population=members, max_budget=TURNS, interval=1, exploit="tournament")
    with tempfile.TemporaryDirectory() as folder:
        study = rs.search(
            Model, SPACE, pbt, study=f"{folder}/pbt", concurrency=MEMBERS, progress=False
        )
        times = study.trials["finished"].cast("int64").to_numpy() / 1e9
        spent = study.trials["metrics.spent"].to_numpy()
    return _each(times), float(np.nanmedian(spent))


def theirs() -> tuple[float, float]:
    """Seconds a stretch, and an exploit, in Ray Tune."""
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    times: list[float] = []
    exploits: list[float] = []

    class Heard(tune.Callback):
        def on_trial_result(self, *_: Any, result: Any, **__: Any) -> None:
            times.append(time.time())
            exploits.append(result["spent"])

    class Tuned(tune.Trainable):
        ended = loaded = np.nan

        def setup(self, config: Any) -> None:
            self.lr, self.w = config["lr"], np.zeros(2_500_000, np.float32)

        def step(self) -> Any:
            now = time.perf_counter()
            spent, self.loaded, self.ended = now - self.loaded, np.nan, now
            return {"loss": self.lr, "spent": spent}

        def save_checkpoint(self, folder: str) -> None:
            np.save(f"{folder}/w.npy", self.w)

        def load_checkpoint(self, folder: Any) -> None:
            self.w, self.loaded = np.load(f"{folder}/w.npy"), self.ended

        def reset_config(self, config: Any) -> bool:
            self.lr = config["lr"]
            return True

    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        synch=True,
        quantile_fraction=0.5,
        hyperparam_mutations={"lr": tune.loguniform(1e-4, 1.0)},
    )
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            Tuned,
            param_space={"lr": tune.loguniform(1e-4, 1.0)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                scheduler=scheduler,
                num_samples=MEMBERS,
                max_concurrent_trials=MEMBERS,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                stop={"training_iteration": TURNS},
                callbacks=[Heard()],
                verbose=0,
            ),
        ).fit()
    return _each(times), float(np.nanmedian(exploits))


def _each(times: Any) -> float:
    """Seconds from one result to the next, in the middle half."""
    quarter = len(times) // 4
    middle = np.sort(times)[quarter:-quarter]
    return float(np.ptp(middle) / (len(middle) - 1))


def overhead() -> None:
    """What a stretch costs here and there."""
    print(f"raysearch: {ours()[0] * 1e3:.0f} ms a stretch, {ours(4)[1] * 1e3:.0f} ms an exploit")
    try:
        import ray.tune  # noqa: F401
    except ImportError:
        return
    stretch, exploit = theirs()
    print(f"Ray Tune: {stretch * 1e3:.0f} ms a stretch, {exploit * 1e3:.0f} ms an exploit")


if __name__ == "__main__":
    {"digits": digits, "bandit": bandit, "drift": drift, "overhead": overhead}[sys.argv[1]]()
