"""Hypergradients: how exact, and how far they get, beside black boxes at equal cost.

    python scripts/bench/hypergrad.py accuracy | tuning [CASE...] | cleaning | schedule

Costs are counted in training equivalents (TE): the gradients of one cold L-BFGS training at
weights of 1e-4 (cleaning: at equal weights), or of one unrolled training. A product with the
curvature counts as one gradient. Black boxes are charged 1 TE a trial. `tuning` runs Optuna's
samplers where optuna is installed, and CMA-ES where cmaes is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from hyper_problems import Softmax, corrupted, digits, regularised

from raysearch import optim
from raysearch.hypergrad import Problem, check, forward, implicit, reverse, tune

# --- accuracy -------------------------------------------------------------------------------


def accuracy() -> None:
    """Relative errors: implicit ones against differences; forward against reverse mode."""
    print("hyperparameters   implicit - differences   forward - reverse")
    for number in (1, 10, 100, 640, 500):
        softmax = corrupted()[0] if number == 500 else regularised(number)
        middle = 0.0 if number == 500 else np.log(1e-2)
        h = middle + 0.5 * np.sin(np.arange(number))
        problem = softmax.problem()
        w = implicit(problem, softmax.w, h, inner=1e-11).w

        def run(h: Any, problem: Problem = problem, w: Any = w) -> Any:
            return implicit(problem, w, h, inner=1e-12, adjoint=1e-10)

        largest = np.argsort(-np.abs(run(h).gradient))[:3].tolist()
        step = 4e-2 if number == 500 else 3e-3
        off = check(run, h, step=step, entries=largest, rtol=1.0).error
        options = {"rule": optim.SGD(momentum=0.9), "steps": 30, "options": {"lr": 0.5}}
        some = min(number, 10)
        back = reverse(problem, softmax.w, h, **options)
        if number > some:  # forward mode along a few hyperparameters: those of a coarser problem
            print(f"{number:15}   {off:22.1e}   {back.error:17.1e}")
            continue
        ahead = forward(problem, softmax.w, h, **options)
        both = np.linalg.norm(ahead.gradient - back.gradient) / np.linalg.norm(back.gradient)
        print(f"{number:15}   {off:22.1e}   {both:17.1e}")


# --- tuning ---------------------------------------------------------------------------------


def black_box(
    softmax: Softmax, low: float, high: float, size: int, sampler: str, trials: int
) -> list[float]:
    """Best values so far of an Optuna study whose first trial is the start."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds: dict[str, Callable[[], Any]] = {
        "random": lambda: optuna.samplers.RandomSampler(seed=0),
        "TPE": lambda: optuna.samplers.TPESampler(seed=0, multivariate=size <= 10),
        "CMA-ES": lambda: optuna.samplers.CmaEsSampler(seed=0),
    }

    def objective(trial: Any) -> float:
        h = np.array([trial.suggest_float(f"h{i}", low, high) for i in range(size)])
        return float(value_at(softmax, h))

    study = optuna.create_study(sampler=kinds[sampler]())
    study.optimize(objective, n_trials=trials)
    return np.minimum.accumulate([t.value for t in study.trials]).tolist()


def value_at(softmax: Softmax, h: Any) -> float:
    """V after a cold training."""
    found = implicit(softmax.problem(), softmax.w, h, inner=1e-4, adjoint=0.9, limit=20_000)
    return found.value


def tuning() -> None:
    """The best value at several costs."""
    wrong, bad = corrupted()
    x, label = digits()
    clean = Softmax((x[:500], label[:500]), wrong.valid, wrong.test, None, ridge=1e-3)
    cases = {
        "10": (regularised(10), np.full(10, np.log(1e-2)), np.log(1e-5), 0.0, 40, 60),
        "100": (regularised(100), np.full(100, np.log(1e-2)), np.log(1e-5), 0.0, 60, 60),
        "640": (regularised(640), np.full(640, np.log(1e-2)), np.log(1e-5), 0.0, 60, 40),
        "cleaning": (wrong, np.zeros(500), -8.0, 8.0, 15, 40),
    }
    for name in sys.argv[2:] or cases:
        softmax, h, low, high, budget, trials = cases[name]
        middle = h if name == "cleaning" else np.full_like(h, np.log(1e-4))
        one = implicit(softmax.problem(), softmax.w, middle, inner=1e-5, adjoint=0.9).cost.train
        found = tune(softmax.problem(), softmax.w, h, bounds=(low, high), gradients=budget * one)
        spent, values = np.array(found.gradients) / one, np.minimum.accumulate(found.values)
        start = value_at(softmax, h)
        goal = value_at(clean, h) if name == "cleaning" else values[-1]
        print(f"\n{name}: 1 TE = {one} gradients; start {start:.4f}, best {values[-1]:.4f}")
        for share in (0.9, 0.99):
            there = np.flatnonzero(values <= start - share * (start - goal))
            cost = f"{spent[there[0]]:.1f} TE" if len(there) else "not reached"
            print(f"  {share:.0%} of the gap to {goal:.4f}: {cost}")
        print("  test accuracy", softmax.accuracy(found.best.w))
        if name == "cleaning":
            flag = found.h < 0
            hits = (flag & bad).sum()
            print(f"  F1 of wrong labels {2 * hits / (flag.sum() + bad.sum()):.3f}")
        marks = [m for m in (3, 7, 10, 20, 40, 60) if m <= max(budget, trials)]
        rows = {"tune": [values[spent <= m][-1] if (spent <= m).any() else np.nan for m in marks]}
        for sampler in ("random", "TPE", "CMA-ES"):
            try:
                best = black_box(softmax, low, high, h.size, sampler, trials)
            except ImportError as error:
                print(f"  {sampler}: {error}")
                continue
            rows[sampler] = [best[m - 1] if m <= len(best) else np.nan for m in marks]
        print("  TE       " + "".join(f"{m:>9}" for m in marks))
        for row, cells in rows.items():
            print(f"  {row:9}" + "".join(f"{c:9.4f}" for c in cells), flush=True)


# --- cleaning -------------------------------------------------------------------------------


def cleaning() -> None:
    """Wrong labels over several corruptions: by weights, and after a last training without them.

    The last training is on the images kept and those of the validation set; a label is then
    called wrong if this model disputes it. Beside: a model of the validation images alone.
    """

    def trained(x: Any, label: Any, test: Any) -> Softmax:
        return Softmax((x, label), test, test, None, ridge=1e-3)

    def end(softmax: Softmax) -> Any:
        h = np.full(len(softmax.train[1]), 30.0)  # all weights are 1
        return implicit(softmax.problem(), softmax.w, h, inner=1e-5, adjoint=0.9).w

    def f1(flag: Any, bad: Any) -> float:
        return float(2 * (flag & bad).sum() / (flag.sum() + bad.sum()))

    print("corruption   TE   accuracy, F1: weights   last training   validation images alone")
    for seed in (1, 2, 3):
        softmax, bad = corrupted(seed=seed)
        (x, label), (x_valid, y_valid), test = softmax.train, softmax.valid, softmax.test
        h = np.zeros(500)
        one = implicit(softmax.problem(), softmax.w, h, inner=1e-5, adjoint=0.9).cost.train
        alone = end(trained(x_valid, y_valid, test))
        cells = [(softmax.accuracy(alone), f1((x @ alone).argmax(axis=1) != label, bad))]
        for budget in (3, 7):
            found = tune(softmax.problem(), softmax.w, h, bounds=(-8, 8), gradients=budget * one)
            kept = found.h >= 0
            last = end(
                trained(np.vstack([x[kept], x_valid]), np.append(label[kept], y_valid), test)
            )
            row = [
                (softmax.accuracy(found.best.w), f1(~kept, bad)),
                (softmax.accuracy(last), f1((x @ last).argmax(axis=1) != label, bad)),
                *cells,
            ]
            print(f"{seed:10} {found.gradients[-1] / one:4.1f}", end="   ")
            print("   ".join(f"{a:.4f}, {f:.3f}" for a, f in row), flush=True)


# --- schedule -------------------------------------------------------------------------------

STEPS, HIDDEN, BATCH = 50, 32, 100


def network(data: tuple[Any, Any]) -> Any:
    """Cross-entropy of a perceptron with a hidden layer, and its gradient; also for complex w."""
    x, label = data
    rows = np.arange(len(x))

    def loss(w: Any, h: Any) -> tuple[Any, Any, None]:
        a = x @ w["W1"] + w["b1"]
        on = a.real > 0
        hidden = a * on
        z = hidden @ w["W2"] + w["b2"]
        e = np.exp(z - z.max(axis=1, keepdims=True).real)
        q = e / e.sum(axis=1, keepdims=True)
        value = -np.mean(np.log(q[rows, label]))
        dz = q.copy()
        dz[rows, label] -= 1
        dz /= len(x)
        da = (dz @ w["W2"].T) * on
        return value, {
            "W1": x.T @ da, "b1": da.sum(axis=0), "W2": hidden.T @ dz, "b2": dz.sum(axis=0)
        }, None  # fmt: skip

    return loss


def schedule() -> None:
    """50 free learning rates by reverse mode, against constants and cosines by random search."""
    x, label = digits()
    valid, test = (x[1000:1400], label[1000:1400]), (x[1400:], label[1400:])
    print("seed  best constant      best cosine       learned           both (loss valid / test)")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        w = {
            "W1": rng.standard_normal((64, HIDDEN)) * np.sqrt(2 / 64), "b1": np.zeros(HIDDEN),
            "W2": rng.standard_normal((HIDDEN, 10)) * np.sqrt(2 / HIDDEN), "b2": np.zeros(10),
        }  # fmt: skip
        parts = [rng.permutation(1000)[:BATCH] for _ in range(STEPS)]
        judge = network(valid)
        problems = [Problem(network((x[i], label[i])), judge, scheme="complex") for i in parts]

        def run(rates: Any, w: Any = w, problems: Any = problems) -> Any:
            return reverse(
                problems[0], w, rule=optim.SGD(momentum=0.9), steps=STEPS,
                options={"lr": rates}, batches=problems.__getitem__, segment=STEPS,
            )  # fmt: skip

        def loss(
            rates: Any, w: Any = w, problems: Any = problems, judge: Any = judge
        ) -> tuple[float, float]:
            p, rule = {k: a.copy() for k, a in w.items()}, optim.SGD(momentum=0.9)
            state = rule.init(p)
            with np.errstate(all="ignore"):
                for t in range(STEPS):
                    rule.step(p, problems[t].train(p, None)[1], state, lr=float(rates[t]))
                return float(judge(p, None)[0]), float(network(test)(p, None)[0])

        def constant(u: Any) -> Any:
            return np.full(STEPS, 10 ** (-3 + 3.5 * u[0]))

        def cosine(u: Any) -> Any:
            t = np.arange(STEPS)
            warm = np.minimum(1, (t + 1) / (1 + 20 * u[1]))
            return constant(u) * warm * (u[2] + (1 - u[2]) * (1 + np.cos(np.pi * t / STEPS)) / 2)

        def random(shape: Any, trials: int, seed: int = seed) -> tuple[Any, tuple[float, float]]:
            draws = np.random.default_rng(seed + 100).random((trials, 3))
            found = [(shape(u), loss(shape(u))) for u in draws]
            return min(found, key=lambda f: f[1][0] if np.isfinite(f[1][0]) else np.inf)

        def learn(rates: Any, trainings: int) -> tuple[float, float]:
            """Adam on the logarithms, its gradient clipped to norm 1; 2 TE a hypergradient."""
            h, rule = np.log(np.maximum(rates, 1e-4)), optim.Adam(lr=0.1)
            state, best = rule.init(h), (np.inf, np.inf)
            for _ in range(trainings // 2):
                found = run(np.exp(h))
                if found.value < best[0]:
                    best = found.value, float(network(test)(found.w, None)[0])
                g = found.options["lr"] * np.exp(h)
                rule.step(h, g / max(1.0, float(np.linalg.norm(g))), state)
            return best

        best_constant, best_cosine = random(constant, 100)[1], random(cosine, 100)[1]
        learned = learn(np.full(STEPS, 0.05), 100)
        shape, _ = random(cosine, 30)
        both = learn(shape, 70)
        cells = (best_constant, best_cosine, learned, both)
        print(f"{seed:4}  " + "  ".join(f"{v:.4f} / {t:.4f}" for v, t in cells), flush=True)
    rates = 0.1 * np.ones(STEPS)
    ahead = forward(
        problems[0], w, rule=optim.SGD(momentum=0.9), steps=STEPS,
        options={"lr": rates}, batches=problems.__getitem__,
    )  # fmt: skip
    back = run(rates)
    off = np.linalg.norm(ahead.options["lr"] - back.options["lr"])
    print(f"forward - reverse, relative: {off / np.linalg.norm(back.options['lr']):.1e}")
    print("steps, states held:", end=" ")
    print(*((t, held(t)) for t in (10, 100, 1000, 10_000)))


def held(steps: int) -> int:
    """States that reverse mode holds at once."""
    bowl = Problem(lambda w, h: (w**2 / 2, w, None), lambda w, h: (w**2 / 2, w, None))
    return reverse(bowl, 1.0, rule=optim.SGD(), steps=steps, options={"lr": 1e-4}).stored


if __name__ == "__main__":
    {"accuracy": accuracy, "tuning": tuning, "cleaning": cleaning, "schedule": schedule}[
        sys.argv[1]
    ]()
