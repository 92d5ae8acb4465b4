"""``raysearch simulate``: what so many workers would take, found out in virtual time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Duration, StudyPath, json_option
from .console import data, emit, say
from .run import StrategyName, choose

if TYPE_CHECKING:
    from ..simulate import Simulation
    from ..study import Study

_FROM_SEARCH = ("metric", "mode", "require", "seed", "retries", "max_failures", "reproducible")


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
@click.option(
    "--target", type=float, help="Objective to be reached; left out: the best that all reach."
)
@click.option("--strategy", type=StrategyName(), help="Search with this one instead.")
@click.option("--set", "sets", multiple=True, metavar="OPTION=VALUE", help="Of the strategy.")
@click.option("--trials", type=int, help="How many, of a FILE or with another strategy.")
@click.option(
    "--duration", type=Duration(), help="Of a FILE: how long a trial, or a step, takes, as in 10m."
)
@click.option(
    "--spread",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Of a FILE: standard deviation of the durations' logarithm.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it, into a .png, .svg or .pdf.")
@json_option
def command(
    path: str,
    workers: tuple[int, ...],
    target: float | None,
    strategy: str | None,
    sets: tuple[str, ...],
    trials: int | None,
    duration: float | None,
    spread: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Print what other numbers of workers would take.

    PATH is a study, whose trials are run again as they were: each for as long, with the same
    result; or an experiment FILE (.py or .toml), whose strategy searches with its objective
    called in this process, while a trial, or each step of a generator, is said to take
    --duration. With another strategy, or other options, a study answers for any configuration
    with its nearest trial.
    """
    from .picture import draw, matplotlib_figure

    if plot is not None:
        matplotlib_figure()  # rather now than after an hour
    with_workers: Callable[[int], Simulation]
    if path.endswith((".py", ".toml")):
        with_workers = _experiment(Path(path), strategy, sets, trials, duration, spread)
    elif duration is not None or spread:
        raise click.UsageError("--duration and --spread are for an experiment FILE")
    elif strategy is not None or sets:
        with_workers = _what_if(path, strategy, sets, trials)
    elif trials is not None:
        raise click.UsageError("--trials is for an experiment FILE, or goes with --strategy")
    else:
        with_workers = _study(path)
    found = [with_workers(n) for n in workers]
    if target is None:
        target = _common(found)
    rows = [_row(simulation, target) for simulation in found]
    if plot is not None:
        draw(rows, path, plot)
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


def _what_if(
    path: str, name: str | None, sets: Sequence[str], trials: int | None
) -> Callable[[int], Simulation]:
    from ..simulate import Lookup
    from ..strategies import from_json
    from ..study import Study

    study = Study.load(path)
    own = from_json(study.spec["strategy"]) if name is None else None
    strategy, past = choose(own, name, sets), Lookup.of_study(study)
    wanted = len(study) if trials is None else trials
    return lambda workers: past.run(
        strategy, workers=workers, trials=wanted, seed=study.spec["seed"]
    )


def _experiment(
    path: Path,
    name: str | None,
    sets: Sequence[str],
    trials: int | None,
    duration: float | None,
    spread: float,
) -> Callable[[int], Simulation]:
    from ..simulate import LogNormal, run
    from .experiment import load

    if duration is None:
        raise click.UsageError("say how long a trial takes: --duration 10m")
    experiment = load(path)
    settings = {k: v for k, v in experiment.settings.items() if k in _FROM_SEARCH}
    strategy = choose(experiment.strategy, name, sets)
    wanted = trials if trials is not None else experiment.settings.get("trials")
    return lambda workers: run(
        experiment.objective,
        experiment.space,
        strategy,
        workers=workers,
        trials=wanted,
        duration=LogNormal(duration, spread),
        **settings,
    )


def _common(found: Sequence[Simulation]) -> float | None:
    """The best result that all of them have reached, if there is one objective."""
    studies = [simulation.study for simulation in found]
    objectives = studies[0].objectives
    if not all(_has_best(study) for study in studies):
        return None
    best: list[float] = [study.best.metrics[objectives.names[0]] for study in studies]
    return min(best) if objectives.maximize[0] else max(best)


def _has_best(study: Study) -> bool:
    """Whether there is one objective, and a trial to be compared by it."""
    return len(study.objectives.names) == 1 and bool((study.losses < math.inf).any())


def _row(simulation: Simulation, target: float | None) -> dict[str, Any]:
    """What is said about one number of workers."""
    study = simulation.study
    single = _has_best(study)
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

    table = [("WORKERS", "MAKESPAN", "IN USE", "TARGET", "REACHED AFTER", "WORKER-HOURS")]
    for row in rows:
        table.append(
            (
                f"{row['workers']:,}",
                duration(row["makespan"]),
                f"{100 * row['utilisation']:.1f} %",
                "" if row["target"] is None else number(row["target"]),
                _when(row),
                f"{row['worker_seconds'] / 3600:,.2f}",
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
