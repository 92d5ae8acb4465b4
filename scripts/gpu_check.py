"""Proves on a machine with GPUs that members of a population share and use them.

First, members with a quarter of a GPU each say which device they see, by its UUID, and when they
were on it; then members do that take a seventh of the memory, and whose share the search finds out.
Last, the population of examples/gpu_population.py is trained by four actors a GPU, and by this
process alone on one GPU; both in evaluations a second, without starting.

Exit codes: 0 as it should be; 1 members do not share devices as they should; 69 no GPU, or no
torch that sees one.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

import raysearch as rs

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from gpu_population import Population, gpus, space

SHARE = 4  # members a GPU
NO_GPU = 69
SECONDS = 20.0  # of each measurement


class Member:
    """Multiplies on its device for a while, and says which one that was."""

    def __init__(self, device):
        import torch

        self.square = torch.ones(512, 512, device=device) / 512
        self.uuid = str(torch.cuda.get_device_properties(0).uuid)
        self.seen = torch.cuda.device_count()

    def __call__(self, config, trial):
        began = time.time()
        while time.time() < began + 1:
            self.square = self.square @ self.square
        return {
            "loss": config["lr"],
            "total": float(self.square.sum()),
            "uuid": self.uuid,
            "seen": self.seen,
            "began": began,
            "ended": time.time(),
        }


def sharing(count):
    """What is wrong with how members share the devices; and how many were on one at once."""
    options = {"num_cpus": 0.1, "num_gpus": 1 / SHARE}
    trials = 4 * SHARE * count
    study = rs.search(Member, space, rs.RandomSearch(), trials=trials, ray_options=options)
    rows = study.trials.to_pydict()
    most = at_once(rows)
    wrong = [
        *([f"only {len(most)} of {count} devices were used"] if len(most) < count else []),
        *(f"{n} members at once on {uuid}" for uuid, n in most.items() if n != SHARE),
        *(["a member saw more than one device"] if set(rows["metrics.seen"]) != {1} else []),
    ]
    return wrong, most


def at_once(rows):
    """How many members were on each device at once, at most."""
    spans = defaultdict(list)
    for uuid, began, ended in zip(
        rows["metrics.uuid"], rows["metrics.began"], rows["metrics.ended"], strict=True
    ):
        spans[uuid].append((began, ended))
    return {
        uuid: max(sum(b <= began < e for b, e in on) for began, _ in on)
        for uuid, on in spans.items()
    }


def takes_a_seventh(config):
    """Holds a seventh of its device's memory for a while."""
    import torch

    began, memory = time.time(), torch.cuda.mem_get_info()[1]
    held = torch.zeros(memory // 7, dtype=torch.uint8, device="cuda")
    time.sleep(1)
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    return {"loss": float(held[0]), "uuid": uuid, "began": began, "ended": time.time()}


def packing(count):
    """What is wrong with shares that are left to the search: with headroom, four fit on a GPU."""
    options = {"num_cpus": 0.1, "num_gpus": "auto"}
    study = rs.search(
        takes_a_seventh, space, rs.RandomSearch(), trials=16 * count, ray_options=options
    )
    rows = study.trials.to_pydict()
    lost = len(rows["state"]) - rows["state"].count("complete")
    return [
        *([f"{lost} members failed that were packed"] if lost else []),
        *(f"{n} packed members at once on {u}" for u, n in at_once(rows).items() if n != 4),
    ]


def in_actors(count):
    """Evaluations a second by the ledger, from the first trial's begin to the last one's end."""
    study = rs.search(
        Population,
        space,
        rs.RandomSearch(),
        metric="accuracy",
        mode="max",
        time_limit=3 * SECONDS,
        ray_options={"num_cpus": 0.25, "num_gpus": 1 / SHARE},
    )
    rows = study.trials
    began = rows["started"].to_numpy().astype(np.int64) / 1e9
    ended = rows["finished"].to_numpy().astype(np.int64) / 1e9
    middle = began.min() + SECONDS  # by then all have started, and batches have grown
    counted = (began > middle) & (ended < middle + SECONDS)
    return counted.sum() / SECONDS


def in_one_process():
    """The best that this process does on one GPU with populations of any size."""
    population, best = Population("cuda:0"), 0.0
    for k in (64, 256, 1024):
        columns = space.decode(np.random.default_rng(0).random((k, space.dim)))
        population(columns)
        begin, done = time.perf_counter(), 0
        while time.perf_counter() < begin + SECONDS / 3:
            population(columns)
            done += k
        best = max(best, done / (time.perf_counter() - begin))
    return best


def main():
    count = gpus()
    if not count:
        print("no GPU here, or no torch that sees one: nothing to check", file=sys.stderr)
        return NO_GPU
    wrong, most = sharing(count)
    for uuid, n in most.items():
        print(f"{uuid}: {n} members at once")
    wrong += packing(count)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    many, one = in_actors(count), in_one_process()
    print(f"{many:,.0f} evaluations/s by {SHARE} actors on each of {count} GPUs")
    print(f"{one:,.0f} evaluations/s by one process on one GPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
