"""``raysearch best``: the winner, or the first few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .command import Command, json_option, study_argument
from .console import data, emit

if TYPE_CHECKING:
    from ..finished import FinishedTrial
    from ..study import Study


@click.command(cls=Command)
@study_argument
@click.option("-k", type=click.IntRange(min=1), default=1, show_default=True, help="How many.")
@json_option
def command(path: str, k: int, as_json: bool) -> None:
    """Print the best trial, or the best few.

    Their configurations are printed in full, as Python has them, to be copied.
    """
    from ..study import Study

    show_best(Study.load(path), k, as_json)


def show_best(study: Study, k: int, as_json: bool) -> None:
    """Print the k best trials, best first."""
    trials = best_trials(study, k)
    if as_json:
        emit("best", {"trials": [described(trial) for trial in trials]})
        return
    for trial in trials:
        data("\n".join(lines(trial, study.objectives.names)))


def best_trials(study: Study, k: int) -> list[FinishedTrial]:
    """The k best trials, best first; of several objectives, the Pareto front's first k."""
    if len(study.objectives.names) > 1:
        return [study.trial(number) for number in study.pareto["number"].to_numpy().tolist()[:k]]
    return [study.best, *(study.trial(number) for number in study.ranking[1:k].tolist())]


def lines(trial: FinishedTrial, objectives: tuple[str, ...]) -> list[str]:
    """Head line, configuration, and the other metrics."""
    from ..report.text import line, number, settings

    values = "  ".join(f"{line(name)} {number(trial.metrics.get(name))}" for name in objectives)
    others = {n: v for n, v in trial.metrics.items() if n not in objectives}
    return [
        f"#{trial.number}  {values}" + (f"  ({settings(others)})" if others else ""),
        f"  {dict(trial.config)!r}",
    ]


def described(trial: FinishedTrial) -> dict[str, Any]:
    """A trial for JSON."""
    return {
        "number": trial.number,
        "state": trial.state,
        "config": dict(trial.config),
        "metrics": dict(trial.metrics),
        "seconds": trial.seconds,
        "attempts": trial.attempts,
        "error": trial.error,
    }
