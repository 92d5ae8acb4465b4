"""Schedules: black box, gradient, and both, at equal cost.

    python scripts/bench/hyper_schedule.py SEED...

A perceptron with 32 hidden units on 1,000 of scikit-learn's digits: 150 steps of SGD with momentum
on batches of 100; 400 images judge, 397 test. Hyperparameters are 150 learning rates, momentum and
weight decay. 1 TE (training equivalent) is 150 gradients; a product counts as one. Steps that
training has passed with the same hyperparameters count once: a program that keeps the states of
its best few trainings (6 MB each here) need not repeat them, though this one does, for brevity.

    black box  TPE on 5 numbers: peak, warm-up, end, momentum, decay of a cosine
    gradient   reverse mode (2 TE) from a constant rate of 0.05, Adam on the logarithms
    both       that gradient first; then TPE, for a while on 5 multipliers of the learned schedule,
               later on shapes too, in turn with descents of the last k rates of the best, by
               reverse mode that goes on from a kept state of training (2 k / 150 TE)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hyper_problems import digits
from hypergrad import network

import raysearch as rs
from raysearch import optim
from raysearch.errors import HypergradientError
from raysearch.hypergrad import Problem, reverse

STEPS, HIDDEN, BATCH = 150, 32, 100
BUDGETS = (10, 20, 50, 100, 200, 400)
CONSTANT = np.concatenate([np.full(STEPS, np.log(0.05)), [np.log(9.0), np.log(1e-4)]])
LINE = np.arange(STEPS) / STEPS
#: where descents may begin, and states are kept
MARKS = (0, 50, 90)
#: descents of a schedule: from which step, evaluations, rate; the last two in turn
PLAN = ((50, 5, 0.15), (90, 5, 0.15), (50, 8, 0.15), (0, 8, 0.15))


def curved(x: Any, label: Any) -> Any:
    """The product of `network`'s curvature with a direction."""

    def product(w: Any, h: Any, v: Any, u: Any) -> tuple[Any, None]:
        a = x @ w["W1"] + w["b1"]
        on = a > 0
        hidden, hidden_dot = a * on, (x @ v["W1"] + v["b1"]) * on
        z = hidden @ w["W2"] + w["b2"]
        z_dot = hidden_dot @ w["W2"] + hidden @ v["W2"] + v["b2"]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        q = e / e.sum(axis=1, keepdims=True)
        dz_dot = q * (z_dot - (q * z_dot).sum(axis=1, keepdims=True)) / len(x)
        dz = q.copy()
        dz[np.arange(len(x)), label] -= 1
        dz /= len(x)
        da_dot = (dz_dot @ w["W2"].T + dz @ v["W2"].T) * on
        return {
            "W1": x.T @ da_dot, "b1": da_dot.sum(axis=0),
            "W2": hidden_dot.T @ dz + hidden.T @ dz_dot, "b2": dz_dot.sum(axis=0),
        }, None  # fmt: skip

    return product


class Task:
    """Training with given hyperparameters h (152,); counts the cost, keeps the best."""

    def __init__(self, seed: int) -> None:
        x, label = digits()
        rng = np.random.default_rng(seed)
        self.w = {
            "W1": rng.standard_normal((64, HIDDEN)) * np.sqrt(2 / 64), "b1": np.zeros(HIDDEN),
            "W2": rng.standard_normal((HIDDEN, 10)) * np.sqrt(2 / HIDDEN), "b2": np.zeros(10),
        }  # fmt: skip
        epochs = [rng.permutation(1000) for _ in range(STEPS * BATCH // 1000)]
        self.valid = network((x[1000:1400], label[1000:1400]))
        self.test = network((x[1400:], label[1400:]))
        self.problems = [
            Problem(network((x[i], label[i])), self.valid, curved(x[i], label[i]))
            for i in np.concatenate(epochs).reshape(STEPS, BATCH)
        ]
        self.cost, self.best = 0.0, (np.inf, np.inf)
        self.curve: list[tuple[float, float, float]] = []

    def note(self, value: float, w: Any, gradients: int) -> None:
        """A validation loss, and what it cost."""
        self.cost += gradients / STEPS
        if value < self.best[0]:
            self.best = value, float(self.test(w, None)[0])
        self.curve.append((self.cost, *self.best))

    def run(self, h: Any, first: int = 0, kept: Any = None) -> tuple[float, dict[int, Any]]:
        """V after training; and the states at the marks. From a kept state: passed before."""
        momentum, decay = 1 / (1 + np.exp(-h[-2])), np.exp(h[-1])
        rule = optim.SGD(momentum=float(momentum), weight_decay=float(decay))
        w = {k: a.copy() for k, a in self.w.items()}
        state, marks = rule.init(w), {}
        if kept is not None:
            w, state = {k: a.copy() for k, a in kept[0].items()}, state.restore(kept[1].arrays())
        with np.errstate(all="ignore"):
            for t in range(first, STEPS):
                if t in MARKS:
                    same = {k: a.copy() for k, a in w.items()}
                    marks[t] = same, rule.init(w).restore(state.arrays())
                rule.step(w, self.problems[t].train(w, None)[1], state, lr=float(np.exp(h[t])))
            value = float(self.valid(w, None)[0])
        value = value if np.isfinite(value) else np.inf
        self.note(value, w, STEPS if kept is None else 0)
        return value, marks

    def slope(self, h: Any, first: int, kept: Any, passed: bool = False) -> tuple[float, Any]:
        """V and its derivatives (152,), those of earlier steps zero; momentum, decay only whole."""
        momentum, decay = 1 / (1 + np.exp(-h[-2])), np.exp(h[-1])
        options = {"lr": np.exp(h[first:STEPS]), "momentum": momentum, "weight_decay": decay}
        w, state = kept
        rule, k = optim.SGD(momentum=float(momentum), weight_decay=float(decay)), STEPS - first
        found = reverse(
            self.problems[0], w, rule=rule, steps=k, options=options, after=state,
            batches=self.problems.__getitem__, segment=k,
        )  # fmt: skip
        self.note(found.value, found.w, k if passed else 2 * k)
        g = np.zeros(STEPS + 2)
        g[first:STEPS] = found.options["lr"] * options["lr"]
        if first == 0:
            g[-2] = found.options["momentum"] * momentum * (1 - momentum)
            g[-1] = found.options["weight_decay"] * decay
        return found.value, g


@dataclass
class Lane:
    """A schedule h with loss v, states on its way, how often it has descended, and its rates."""

    h: Any
    v: float
    marks: dict[int, Any]
    turn: int = 0
    rates: dict[int, float] = field(default_factory=dict)

    def descend(self, task: Task, first: int, evaluations: int, rate: float) -> None:
        """Adam on the learning rates from step `first` on; shorter steps after one in vain.

        Momentum and decay are the black box's: V is rough in them, and its slope of little use.
        """
        rate, start, h = self.rates.get(first, rate), self.v, self.h.copy()
        rule = optim.Adam(lr=rate)
        state = rule.init(h)
        with np.errstate(all="ignore"):
            for i in range(evaluations):
                try:
                    value, g = task.slope(h, first, self.marks[first], passed=i == 0)
                except HypergradientError:
                    break
                if value < self.v:
                    self.v, self.h = value, h.copy()
                if value > 1.5 * self.v + 0.02:
                    break
                g[-2:] = 0
                rule.step(h, g, state)
        if self.v < start:
            _, marks = task.run(self.h, first, self.marks[first])
            self.marks.update(marks)
        self.rates[first] = rate if self.v < start else rate / 2


def cosine(u: Any) -> Any:
    """Hyperparameters of a shape u (5,) in the unit cube."""
    rate = 10 ** (-3 + 3.3 * u[0]) * np.minimum(1, (LINE + 1 / STEPS) / (1e-9 + 0.3 * u[1]))
    rate = rate * (u[2] + (1 - u[2]) * (1 + np.cos(np.pi * LINE)) / 2)
    momentum = 0.5 + 0.49 * u[3]
    ends = [np.log(momentum / (1 - momentum)), np.log(10 ** (-6 + 4 * u[4]))]
    return np.concatenate([np.log(np.maximum(rate, 1e-5)), ends])


def multiplied(h: Any, u: Any) -> Any:
    """A schedule times level, tilt and end; momentum and decay moved; 0.5: as it is."""
    level, tilt, end, momentum, decay = 2 * u - 1
    rates = level + tilt * (2 * LINE - 1) + 1.5 * end * np.clip((LINE - 0.7) / 0.3, 0, 1)
    return h + np.concatenate([rates, [momentum, 2 * decay]])


def tpe(seed: int) -> rs.AskTell:
    """TPE in the unit cube."""
    return rs.AskTell({f"u{i}": rs.Float(0, 1) for i in range(5)}, rs.TPE(), seed=seed)


def tried(task: Task, outer: rs.AskTell, shape: Any) -> Lane:
    """One trial of the black box."""
    (trial,) = outer.ask(1)
    h = shape(np.array(list(trial.config.values())))
    value, marks = task.run(h)
    outer.tell(trial, value)
    return Lane(h, value, marks)


def black_box(task: Task, seed: int) -> None:
    """TPE alone."""
    outer = tpe(seed)
    while task.cost < BUDGETS[-1]:
        tried(task, outer, cosine)


def gradient(task: Task, seed: int, rate: float = 0.1) -> None:
    """Reverse mode alone; back to the best with shorter steps after 15 in vain, or divergence."""
    lane, rule = Lane(CONSTANT, *task.run(CONSTANT)), optim.Adam(lr=rate)
    h, state, vain, at_best = lane.h.copy(), rule.init(lane.h), 0, None
    while task.cost < BUDGETS[-1]:
        try:
            value, g = task.slope(h, 0, lane.marks[0], passed=at_best is None)
        except HypergradientError:
            value, g = np.inf, None
        vain = vain + 1
        if value < lane.v or at_best is None:
            lane.v, lane.h, vain, at_best = value, h.copy(), 0, g
        if vain >= 15 or value > 1.5 * lane.v + 0.02:
            h, g, state, vain, rate = lane.h.copy(), at_best, rule.init(h), 0, max(0.7 * rate, 0.01)
        rule.step(h, g / max(1.0, float(np.linalg.norm(g))), state, lr=rate)


def both(task: Task, seed: int) -> None:
    """A gradient, a black box around what it has learned and on shapes, and more gradients."""
    lanes = [Lane(CONSTANT, *task.run(CONSTANT))]
    lanes[0].descend(task, 0, 5, 0.5)
    lanes[0].descend(task, 50, 4, 0.3)
    lanes[0].turn, learned = 2, lanes[0].h.copy()
    near, far = tpe(seed), tpe(seed + 50)
    trials, descents = -8.0, 0.0  # costs; the black box begins with 8 TE
    while task.cost < BUDGETS[-1]:
        while trials <= descents:
            if task.cost < 60 or int(trials) % 2:
                lanes.append(tried(task, near, lambda u: multiplied(learned, u)))
            else:
                lanes.append(tried(task, far, cosine))
            trials += 1
        lanes = sorted(lanes, key=lambda lane: lane.v)[:6]
        lane = min(lanes[:2], key=lambda lane: (min(lane.turn, 2), lane.v))
        before = task.cost
        lane.descend(task, *PLAN[lane.turn if lane.turn < 4 else 2 + lane.turn % 2])
        lane.turn, descents = lane.turn + 1, descents + task.cost - before
        if all(rate < 0.01 for rate in lane.rates.values()):
            lane.rates = {}


def main() -> None:
    """A table for each seed, and means."""
    methods = {
        "black box": black_box,
        "gradient, 0.1": gradient,
        "gradient, 0.3": lambda task, seed: gradient(task, seed, 0.3),
        "both": both,
    }
    rows: dict[str, list[list[float]]] = {name: [] for name in methods}
    print("seed  method         " + "".join(f"{b:>8}" for b in BUDGETS) + "    test")
    for seed in map(int, sys.argv[1:]):
        for name, method in methods.items():
            task = Task(seed)
            method(task, seed)
            curve = np.array(task.curve)
            row = [curve[curve[:, 0] <= b][-1, 1] for b in BUDGETS]
            rows[name].append([*row, curve[curve[:, 0] <= BUDGETS[-1]][-1, 2]])
            print(f"{seed:4}  {name:14}" + "".join(f"{v:8.4f}" for v in rows[name][-1]), flush=True)
    for name, found in rows.items():
        print(f"mean  {name:14}" + "".join(f"{v:8.4f}" for v in np.mean(found, axis=0)))


if __name__ == "__main__":
    main()
