"""A picture of what numbers of workers would take, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UsageError
from .exits import OutputError


def matplotlib_figure() -> ModuleType:
    """The module of matplotlib that draws without a screen; UsageError if it is missing."""
    try:
        import matplotlib.figure
    except ImportError:
        raise UsageError(
            "--plot: matplotlib draws it, and is not installed; "
            'pip install "raysearch[plot]", or leave --plot out'
        ) from None
    module: ModuleType = matplotlib.figure
    return module


def draw(rows: Sequence[dict[str, Any]], title: str, file: Path) -> None:
    """Utilisation, hours, and worker-hours, each against the number of workers.

    rows  as `raysearch simulate --json` prints them
    file  whose suffix says what kind it is, as .png, .svg or .pdf

    Raises OutputError if it cannot be written.
    """
    figure = matplotlib_figure().Figure(figsize=(9, 3), dpi=120, layout="constrained")
    busy, hours, cost = figure.subplots(1, 3)
    figure.suptitle(title)
    rows = sorted(rows, key=lambda row: float(row["workers"]))
    workers = [row["workers"] for row in rows]
    busy.plot(workers, [100 * row["utilisation"] for row in rows], "o-")
    busy.set(title="in use", ylabel="% of their time", ylim=(0, 105))
    hours.plot(workers, [row["makespan"] / 3600 for row in rows], "o-", label="all trials")
    reached = [row for row in rows if row["time_to_target"] is not None]
    if reached:
        times = [row["time_to_target"] / 3600 for row in reached]
        label = f"{reached[0]['target']:.4g} reached"
        hours.plot([row["workers"] for row in reached], times, "s--", label=label)
    hours.set(title="time", ylabel="hours", yscale="log")
    hours.legend(fontsize=8)
    cost.plot(workers, [row["worker_seconds"] / 3600 for row in rows], "o-")
    cost.set(title="cost", ylabel="worker-hours")
    cost.set_ylim(bottom=0)
    for panel in (busy, hours, cost):
        panel.set(xlabel="workers", xscale="log", xticks=workers)
        panel.set_xticklabels([f"{n:,}" for n in workers], fontsize=8)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise OutputError(f"--plot: {file} cannot be written: {error}") from None
