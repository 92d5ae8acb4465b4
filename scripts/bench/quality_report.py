"""Tables and pictures of quality.py."""

from __future__ import annotations

from typing import Any

import numpy as np

MARKS = (25, 50, 100, 200)
Floats = np.ndarray[Any, np.dtype[np.float64]]
Search = dict[str, Any]  # regret, seconds, duplicates: as quality.py keeps them
Found = dict[tuple[str, str, int], dict[str, Search]]  # (task, family, seed) -> name -> search


def interval(values: Floats, rng: np.random.Generator) -> str:
    """Mean of (n,) with its interval by bootstrap."""
    means = values[rng.integers(len(values), size=(1000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def ranks(regret: Floats) -> Floats:
    """Ranks along the first axis, from 1; equals share the mean of theirs."""
    less = (regret[:, None] > regret[None]).sum(axis=1)
    same = (regret[:, None] == regret[None]).sum(axis=1)
    return 1 + less + (same - 1) / 2


def print_report(found: Found, names: list[str], trials: int, plot: str | None) -> None:
    """Regret, ranks, ranks by family, and seconds, over the searches that all names have."""
    whole = {
        key: searches
        for key, searches in found.items()
        if all(name in searches and len(searches[name]["regret"]) >= trials for name in names)
    }
    if not whole:
        print("no search that all of these have:", ", ".join(names))
        return
    curves = np.array(
        [[searches[name]["regret"][:trials] for searches in whole.values()] for name in names]
    )
    marks = [mark for mark in MARKS if mark <= trials]
    at = np.array(marks) - 1
    print(f"{len(whole)} searches each, {len({task for task, _, _ in whole})} tasks")
    rng, rank = np.random.default_rng(0), ranks(curves)
    for title, values in (("rank", rank), ("regret", curves)):
        header(title, [f"{mark} trials" for mark in marks])
        for c in np.argsort(rank[:, :, min(99, trials - 1)].mean(axis=1)):
            row(names[c], [interval(values[c, :, m], rng) for m in at])
    families = list(dict.fromkeys(family for _, family, _ in whole))
    mark = min(100, trials)
    header(f"rank at {mark}, by family", families)
    of = np.array([family for _, family, _ in whole])
    for c, name in enumerate(names):
        row(name, [f"{rank[c, of == family, mark - 1].mean():.2f}" for family in families])
    header("", ["ms at 100 told", "duplicates"])
    for name in names:
        searches = [searches[name] for searches in whole.values()]
        near = [search["seconds"][max(0, mark - 10) : mark + 10] for search in searches]
        ms = 1000 * float(np.mean(np.concatenate(near)))
        row(name, [f"{ms:.1f}", str(sum(search["duplicates"] for search in searches))])
    tasks = list(dict.fromkeys(task for task, _, _ in whole))
    header(f"mean regret at {trials}, by task", tasks)
    of = np.array([task for task, _, _ in whole])
    for c, name in enumerate(names):
        row(name, [f"{curves[c, of == task, -1].mean():.4f}" for task in tasks])
    if plot:
        draw(curves, names, whole, plot)


def header(title: str, columns: list[str]) -> None:
    print(f"\n| {title} |", " | ".join(columns), "|")
    print("|---|" + "---:|" * len(columns))


def row(name: str, cells: list[str]) -> None:
    print(f"| {name} |", " | ".join(cells), "|")


def draw(curves: Floats, names: list[str], whole: Found, plot: str) -> None:
    """Geometric means of the regret, by family and over all; the best-so-far of each trial."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    of = np.array([family for _, family, _ in whole])
    panels = {"all": of == of, **{family: of == family for family in dict.fromkeys(of)}}
    figure, axes = plt.subplots(2, 4, figsize=(14, 7), layout="constrained")
    trials = np.arange(1, curves.shape[2] + 1)
    for axis, (title, there) in zip(axes.ravel(), panels.items(), strict=True):
        for c, name in enumerate(names):
            mean = np.exp(np.log(np.maximum(curves[c, there], 1e-4)).mean(axis=0))
            style = {"linestyle": "-" if c < 10 else "--", "color": f"C{c % 10}"}
            axis.plot(trials, mean, label=name, linewidth=1.4, **style)
        axis.set(title=f"{title}, searches: {there.sum()}", yscale="log", xlabel="trials")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("regret, geometric mean")
    axes[1, 0].set_ylabel("regret, geometric mean")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(plot, dpi=110)
