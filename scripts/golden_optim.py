"""Record the trajectories of torch.optim and optax that raysearch.optim must reproduce.

    python scripts/golden_optim.py        # needs torch and optax; writes tests/golden/optim.npz

Gradients are recorded numbers, the same for all ("open loop"): with gradients of a
function, adaptive methods end in a chaotic cycle that turns 1e-16 into 1e-3. Everything is
computed in float64, also what torch's Muon does in bfloat16.
"""
# ruff: noqa: E501  (the tables read better with one case a line)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import torch
from optax import contrib

jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)
torch.Tensor.bfloat16 = torch.Tensor.clone  # Muon's iteration, in the dtype it is given

STEPS = 500
AT = [1, 2, 3, 5, 10, 50, 100, 200, 350, 500]  # steps whose parameters are kept
SHAPES = [(4, 3), (5,)]

rng = np.random.default_rng(20240607)
PARAMS = [rng.standard_normal(shape) for shape in SHAPES]
SCALES = [10.0 ** rng.uniform(-3, 1, shape) for shape in SHAPES]
GRADS = [  # with a trend, noise, and scales that differ; exact in float32, to be small on disk
    (scale * (rng.standard_normal((STEPS, *scale.shape)) + 0.5)).astype(np.float32)
    for scale in SCALES
]

# name of ours, its options, which are also those of the class of torch
TORCH: list[tuple[str, dict[str, Any], Any]] = [
    ("SGD", {"lr": 0.01}, torch.optim.SGD),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.2}, torch.optim.SGD),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, torch.optim.SGD),
    ("Adagrad", {}, torch.optim.Adagrad),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.5}, torch.optim.Adagrad),
    ("RMSProp", {}, torch.optim.RMSprop),
    ("RMSProp", {"momentum": 0.8, "centered": True, "weight_decay": 0.1}, torch.optim.RMSprop),
    ("Adadelta", {}, torch.optim.Adadelta),
    ("Adadelta", {"lr": 0.5, "rho": 0.95, "weight_decay": 0.1}, torch.optim.Adadelta),
    ("Rprop", {}, torch.optim.Rprop),
    ("Rprop", {"lr": 0.1, "etas": (0.4, 1.3), "step_sizes": (1e-4, 0.5)}, torch.optim.Rprop),
    ("Adam", {}, torch.optim.Adam),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}, torch.optim.Adam),
    ("Adam", {"amsgrad": True}, torch.optim.Adam),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}, torch.optim.AdamW),
    ("AdamW", {"amsgrad": True}, torch.optim.AdamW),
    ("Adamax", {"weight_decay": 0.1}, torch.optim.Adamax),
    ("NAdam", {"weight_decay": 0.1}, torch.optim.NAdam),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}, torch.optim.NAdam),
    ("RAdam", {"weight_decay": 0.1}, torch.optim.RAdam),
    ("RAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}, torch.optim.RAdam),
    ("Adafactor", {"weight_decay": 0.1}, torch.optim.Adafactor),
    ("Adafactor", {"lr": 0.1, "beta2_decay": -0.6, "d": 2.0}, torch.optim.Adafactor),
    ("Muon", {}, torch.optim.Muon),
    ("Muon", {"lr": 0.01, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}, torch.optim.Muon),
]  # fmt: skip

OPTAX: list[tuple[str, dict[str, Any], Any]] = [
    ("AdaBelief", {"weight_decay": 0.0}, optax.adabelief(1e-3)),
    ("AdaBelief", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6}, optax.adabelief(0.01, 0.8, 0.99, 1e-6)),
    ("Lion", {}, optax.lion(1e-4)),
    ("Lion", {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1}, optax.lion(0.01, 0.8, 0.95, weight_decay=0.1)),
    ("LAMB", {}, optax.lamb(1e-3)),
    ("LAMB", {"lr": 0.01, "weight_decay": 0.1}, optax.lamb(0.01, weight_decay=0.1)),
    ("LARS", {"lr": 0.1}, optax.lars(0.1)),
    ("LARS", {"lr": 0.1, "weight_decay": 0.1, "nesterov": True, "eps": 0.1}, optax.lars(0.1, 0.1, nesterov=True, eps=0.1)),
    ("Prodigy", {}, contrib.prodigy()),
    ("Prodigy", {"lr": 0.5, "weight_decay": 0.1, "d0": 1e-4}, contrib.prodigy(0.5, weight_decay=0.1, estim_lr0=1e-4)),
    ("ScheduleFree", {"rule": {"SGD": {"lr": 0.01}}}, contrib.schedule_free(optax.sgd(0.01), 0.01)),
    ("ScheduleFree", {"rule": {"Adam": {"lr": 0.01, "betas": (0.0, 0.99)}}, "beta": 0.95},
     contrib.schedule_free(optax.adam(0.01, 0.0, 0.99), 0.01, b1=0.95)),
    ("Adam", {"lr": {"Cosine": {"initial": 0.01, "steps": 400}}}, optax.adam(optax.cosine_decay_schedule(0.01, 400))),
]  # fmt: skip

_lr = torch.optim.lr_scheduler
SCHEDULES: list[tuple[dict[str, Any], Any]] = [
    ({"Constant": {"initial": 0.3}}, optax.constant_schedule(0.3)),
    ({"Step": {"initial": 0.3, "every": 30, "gamma": 0.5}}, lambda o: _lr.StepLR(o, 30, 0.5)),
    ({"MultiStep": {"initial": 0.3, "milestones": [20, 70, 71]}}, lambda o: _lr.MultiStepLR(o, [20, 70, 71])),
    ({"Exponential": {"initial": 0.3, "gamma": 0.97}}, lambda o: _lr.ExponentialLR(o, 0.97)),
    ({"InverseTime": {"initial": 0.3, "decay": 0.1}}, lambda o: _lr.LambdaLR(o, lambda k: 1 / (1 + 0.1 * k))),
    ({"Polynomial": {"initial": 0.3, "final": 0.1, "steps": 60, "power": 2.0}}, optax.polynomial_schedule(0.3, 0.1, 2.0, 60)),
    ({"Linear": {"initial": 0.3, "final": 0.15, "steps": 50}}, lambda o: _lr.LinearLR(o, 1.0, 0.5, 50)),
    ({"Cosine": {"initial": 0.3, "steps": 80, "final": 0.03}}, optax.cosine_decay_schedule(0.3, 80, 0.1)),
    ({"CosineRestarts": {"initial": 0.3, "steps": 10, "factor": 2, "final": 0.01}},
     lambda o: _lr.CosineAnnealingWarmRestarts(o, 10, 2, 0.01)),
    ({"CosineRestarts": {"initial": 0.3, "steps": 30}}, lambda o: _lr.CosineAnnealingWarmRestarts(o, 30)),
    ({"OneCycle": {"peak": 0.3, "steps": 100}}, lambda o: _lr.OneCycleLR(o, 0.3, 100)),
    ({"Cyclic": {"base": 0.1, "peak": 0.3, "up": 10, "down": 15}}, lambda o: _lr.CyclicLR(o, 0.1, 0.3, 10, 15)),
    ({"Cyclic": {"base": 0.1, "peak": 0.3, "up": 10, "down": 10, "gamma": 0.5}},
     lambda o: _lr.CyclicLR(o, 0.1, 0.3, 10, mode="triangular2")),
    ({"Warmup": {"after": {"Cosine": {"initial": 0.3, "steps": 70}}, "steps": 20}},
     optax.warmup_cosine_decay_schedule(0.0, 0.3, 20, 90)),
    ({"Joined": {"schedules": [{"Constant": {"initial": 0.3}}, {"Exponential": {"initial": 0.2, "gamma": 0.9}}], "boundaries": [40]}},
     optax.join_schedules([optax.constant_schedule(0.3), optax.exponential_decay(0.2, 1, 0.9)], [40])),
    ({"Chained": {"schedules": [{"Constant": {"initial": 0.3}}, {"Linear": {"initial": 0.5, "final": 1.0, "steps": 10}},
                                {"Exponential": {"initial": 1.0, "gamma": 0.99}}]}},
     lambda o: _lr.ChainedScheduler([_lr.LinearLR(o, 0.5, 1.0, 10), _lr.ExponentialLR(o, 0.99)])),
]  # fmt: skip


def leaves(name: str) -> list[int]:
    return [0] if name == "Muon" else [0, 1]


def run_torch(name: str, options: dict[str, Any], cls: Any) -> np.ndarray:
    params = [torch.tensor(PARAMS[i]).requires_grad_() for i in leaves(name)]
    optimizer = cls(params, **options)
    kept = []
    for k in range(STEPS):
        for i, p in zip(leaves(name), params, strict=True):
            p.grad = torch.tensor(GRADS[i][k].astype(np.float64))
        optimizer.step()
        if k + 1 in AT:
            kept.append(np.concatenate([p.detach().numpy().ravel().copy() for p in params]))
    return np.array(kept)


def run_optax(transform: Any) -> np.ndarray:
    params = [jax.numpy.array(p) for p in PARAMS]
    state = transform.init(params)
    update = jax.jit(transform.update)
    kept = []
    for k in range(STEPS):
        updates, state = update(
            [jax.numpy.array(g[k].astype(np.float64)) for g in GRADS], state, params
        )
        params = optax.apply_updates(params, updates)
        if k + 1 in AT:
            kept.append(np.concatenate([np.asarray(p).ravel() for p in params]))
    return np.array(kept)


def schedule_values(reference: Any, steps: int = 100) -> np.ndarray:
    try:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
        scheduler = reference(optimizer)
        scheduler.step  # noqa: B018  (optax's schedules have none)
    except (AttributeError, TypeError):
        return np.array([float(reference(k)) for k in range(steps)])
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(values)


def plateau_values() -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    options = {"initial": 0.3, "factor": 0.5, "patience": 3, "cooldown": 2, "final": 0.01}
    losses = np.round(
        np.abs(np.random.default_rng(1).standard_normal(100)) + 1 / np.arange(1, 101), 3
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    scheduler = _lr.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=3, cooldown=2, min_lr=0.01, eps=0.0
    )
    values = []
    for loss in losses:
        scheduler.step(loss)
        values.append(optimizer.param_groups[0]["lr"])
    return options, losses, np.array(values)


def main() -> None:
    rules = [[name, options, "torch"] for name, options, _ in TORCH]
    rules += [[name, options, "optax"] for name, options, _ in OPTAX]
    trajectories = [run_torch(name, options, cls) for name, options, cls in TORCH]
    trajectories += [run_optax(transform) for _, _, transform in OPTAX]
    options, losses, rates = plateau_values()
    table = {"rules": rules, "schedules": [spec for spec, _ in SCHEDULES], "plateau": options}
    out = Path(__file__).parent.parent / "tests" / "golden" / "optim.npz"
    np.savez_compressed(
        out,
        table=np.array(json.dumps(table)),
        at=np.array(AT),
        **{f"params{i}": x for i, x in enumerate(PARAMS)},
        **{f"grads{i}": x for i, x in enumerate(GRADS)},
        **{f"rule{i}": x for i, x in enumerate(trajectories)},
        **{f"schedule{i}": schedule_values(ref) for i, (_, ref) in enumerate(SCHEDULES)},
        losses=losses,
        rates=rates,
    )
    print(f"{out}: {len(rules)} trajectories, {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
