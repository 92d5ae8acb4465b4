"""``raysearch retry``: failed trials, once more."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import click

from .command import Command, Duration, StudyPath, json_option
from .run import conclude, place, watching


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--study", type=StudyPath(), help="The study; runs/NAME if left out.")
@click.option("--failed", is_flag=True, help="All trials without a result, whatever the reason.")
@click.option("--state", "states", multiple=True, help="Only those of this state, as in timeout.")
@click.option("--concurrency", type=int, help="How many trials at once, at most.")
@click.option("--address", help="Of Ray: auto, local, host:port; inline: without Ray.")
@click.option("--timeout", type=Duration(), help="How long a trial may take.")
@click.option("--retries", type=int, help="How often a trial is begun again if its worker dies.")
@click.option("--no-progress", is_flag=True, help="No live view.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    file: Path,
    study: str | None,
    failed: bool,
    states: tuple[str, ...],
    no_progress: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Run failed trials again.

    FILE is the experiment that the study belongs to, with its objective as it is now.
    """
    if failed == bool(states):
        raise click.UsageError("give either --failed, or --state for each state to retry")
    with watching(no_progress) as show:
        from ..search import retry
        from .experiment import load

        experiment = load(file)
        where = place(experiment, study, fresh=False)
        settings = {
            **{k: v for k, v in experiment.settings.items() if k in signature(retry).parameters},
            **{k: v for k, v in flags.items() if v is not None},
            "study": where,
            **({"states": states} if states else {}),
            "space": experiment.space,
            "progress": show,
        }
        result = retry(experiment.objective, **settings)
    conclude(context, result, where, as_json)
