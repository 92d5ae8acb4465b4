"""One optimizer step beside torch's fused and foreach kernels, and the limit of memory.

    python scripts/bench/optim_step.py [--sizes 1e4 1e6 3e7] [--threads 1 2] [--rounds 15]

float32, one flat array. All candidates take turns within each round, so that a noisy machine
hits all alike; the figure of each is its fastest round, and a ratio above 1 means that ours is
faster. The limit is the fastest in-place update ``a += s b`` (12 bytes a parameter) of that run;
a step of Adam must move 28 bytes a parameter, the other rules 20.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from raysearch import optim
from raysearch.optim import compiled, fused

NEVER = 1 << 60
RULES: dict[str, tuple[type[optim.Rule], Any, dict[str, Any], int]] = {
    "Adam": (optim.Adam, torch.optim.Adam, {"lr": 1e-3}, 28),
    "SGD": (optim.SGD, torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}, 20),
    "RMSProp": (optim.RMSProp, torch.optim.RMSprop, {"lr": 1e-3}, 20),
    "Adagrad": (optim.Adagrad, torch.optim.Adagrad, {"lr": 1e-3}, 20),
}
Steps = dict[str, Callable[[], Any]]


def theirs(cls: Any, options: dict[str, Any], p: np.ndarray, g: np.ndarray) -> Steps:
    steps: Steps = {}
    for kind in ("fused", "foreach"):
        x = torch.tensor(p, requires_grad=True)
        x.grad = torch.tensor(g)
        try:
            optimizer = cls([x], **options, **{kind: True})
        except TypeError:  # torch has no fused RMSprop
            continue
        steps[f"torch {kind}"] = optimizer.step
    return steps


def ours(rule: optim.Rule, p: np.ndarray, g: np.ndarray) -> Steps:
    def prepared(compile_from: int) -> Callable[[], None]:
        x = p.copy()
        state = rule.init(x)

        def step() -> None:
            fused.COMPILE_FROM = compile_from
            rule.step(x, g, state)

        return step

    steps = {"numpy": prepared(NEVER)}
    return steps | {"compiled": prepared(0)} if compiled.AVAILABLE else steps


def limits(p: np.ndarray, g: np.ndarray) -> Steps:
    """The in-place update, by torch and by ours."""
    a, b = torch.tensor(p), torch.tensor(g)
    plain = ours(optim.SGD(lr=1e-3), p, g)
    last = list(plain)[-1]
    return {"limit torch": lambda: a.add_(b, alpha=-1e-3), "limit ours": plain[last]}


def fastest(steps: Steps, rounds: int, n: int) -> dict[str, float]:
    """Seconds of the fastest round of each; small arrays are stepped several times a round."""
    repeats = max(1, 200_000 // n)
    best = dict.fromkeys(steps, np.inf)
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(repeats):
                step()
            best[name] = min(best[name], (time.perf_counter() - start) / repeats)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", nargs="+", type=lambda s: int(float(s)), default=[10**4, 10**6, 3 * 10**7]
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rules", nargs="+", choices=list(RULES), default=list(RULES))
    args = parser.parse_args()

    print(
        "| parameters | threads | rule | torch fused µs | foreach µs | numpy µs | compiled µs "
        "| compiled / best torch | numpy / foreach | % of limit |"
    )
    print("|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    rng = np.random.default_rng(0)
    for n in args.sizes:
        p, g = (rng.standard_normal(n, dtype=np.float32) for _ in range(2))
        for threads in args.threads:
            torch.set_num_threads(threads)
            optim.set_num_threads(threads)
            for name in args.rules:
                ours_cls, torch_cls, options, traffic = RULES[name]
                steps = theirs(torch_cls, options, p, g) | ours(ours_cls(**options), p, g)
                best = fastest(steps | limits(p, g), args.rounds, n)
                bandwidth = 12 / min(best["limit torch"], best["limit ours"])
                torchs = [t for k, t in best.items() if k.startswith("torch ")]
                best_ours = best.get("compiled", best["numpy"])
                cells = [
                    f"{best[k] * 1e6:.0f}" if k in best else "-"
                    for k in ("torch fused", "torch foreach", "numpy", "compiled")
                ]
                print(
                    f"| {n:.0e} | {threads} | {name} | {' | '.join(cells)} "
                    f"| {min(torchs) / best_ours:.2f} "
                    f"| {best['torch foreach'] / best['numpy']:.2f} "
                    f"| {100 * traffic / best_ours / bandwidth:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
