"""``raysearch simulate``: what so many workers would take, found out in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Duration, StudyPath, json_option
from .console import data, emit, say

if TYPE_CHECKING:
    from ..simulate import Simulation

_FROM_SEARCH = ("metric", "mode", "seed", "retries", "max_failures", "reproducible")


class Counts(click.ParamType[tuple[int, ...]]):
    """Numbers of workers, as in 1,8,64."""

    name = "counts"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(int(text) for text in str(value).split(","))
        except ValueError:
            counts = ()
        if not counts or min(counts) < 1:
            self.fail(f"expected numbers of workers such as 1,8,64, found {value!r}", param, ctx)
        return counts


@click.command(cls=Command)
@click.argument("path", type=StudyPath())
@click.option(
    "--workers", type=Counts(), default=(1, 4, 16, 64), show_default="1,4,16,64", help="How many."
)
@click.option("--target", type=float, help="Objective to be reached; left out: the best there is.")
@click.option("--trials", type=int, help="Of a FILE: how many trials.")
@click.option("--duration", type=Duration(), help="Of a FILE: how long a trial takes, as in 10m.")
@click.option(
    "--spread",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Of a FILE: standard deviation of the durations' logarithm.",
)
@json_option
def command(
    path: str,
    workers: tuple[int, ...],
    target: float | None,
    trials: int | None,
    duration: float | None,
    spread: float,
    as_json: bool,
) -> None:
    """Print what other numbers of workers would take.

    PATH is a study, whose trials are run again as they were: each for as long, with the same
    result; or an experiment FILE (.py or .toml), whose strategy searches with its objective
    called in this process, while a trial is said to take --duration.
    """
    with_workers: Callable[[int], Simulation]
    if path.endswith((".py", ".toml")):
        with_workers = _experiment(Path(path), trials, duration, spread)
    elif trials is not None or duration is not None or spread:
        raise click.UsageError("--trials, --duration and --spread are for an experiment FILE")
    else:
        with_workers = _study(path)
    found = [with_workers(n) for n in workers]
    rows = [_row(simulation, target) for simulation in found]
    if as_json:
        emit("simulation", {"path": path, "simulations": rows})
        return
    _print_table(rows)
    if any(row["trials"] != rows[0]["trials"] for row in rows):
        say("the searches differ in their numbers of trials: " + _counts(rows))


def _study(path: str) -> Callable[[int], Simulation]:
    from ..simulate import replay
    from ..study import Study

    study = Study.load(path)
    return lambda workers: replay(study, workers=workers)


def _experiment(
    path: Path, trials: int | None, duration: float | None, spread: float
) -> Callable[[int], Simulation]:
    from ..simulate import LogNormal, run
    from .experiment import load

    if duration is None:
        raise click.UsageError("say how long a trial takes: --duration 10m")
    experiment = load(path)
    settings = {k: v for k, v in experiment.settings.items() if k in _FROM_SEARCH}
    wanted = trials if trials is not None else experiment.settings.get("trials")
    return lambda workers: run(
        experiment.objective,
        experiment.space,
        experiment.strategy,
        workers=workers,
        trials=wanted,
        duration=LogNormal(duration, spread),
        **settings,
    )


def _row(simulation: Simulation, target: float | None) -> dict[str, Any]:
    """What is said about one number of workers."""
    study = simulation.study
    single = len(study.objectives.names) == 1 and "complete" in study.counts
    if single and target is None:
        target = study.best.metrics[study.objectives.names[0]]
    return {
        "workers": simulation.workers,
        "trials": len(study),
        "makespan": simulation.makespan,
        "utilisation": simulation.utilisation,
        "target": target if single else None,
        "time_to_target": simulation.time_to(target) if single and target is not None else None,
        "worker_seconds": simulation.available,
    }


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from ..report.text import columns, duration, number

    table = [("WORKERS", "MAKESPAN", "IN USE", "TARGET", "REACHED AFTER", "WORKER TIME")]
    for row in rows:
        table.append(
            (
                f"{row['workers']:,}",
                duration(row["makespan"]),
                f"{100 * row['utilisation']:.1f} %",
                "" if row["target"] is None else number(row["target"]),
                _when(row),
                duration(row["worker_seconds"]),
            )
        )
    data("\n".join(columns(table, right=range(6))))


def _when(row: dict[str, Any]) -> str:
    """When the target was reached, if there is one."""
    from ..report.text import duration

    if row["target"] is None:
        return ""
    return "never" if row["time_to_target"] is None else duration(row["time_to_target"])


def _counts(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{row['trials']:,} with {row['workers']:,}" for row in rows)
