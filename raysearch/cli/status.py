"""``raysearch status``: how a study stands, once or again and again."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from .command import Command, StudyPath, json_option
from .console import data, emit, say
from .overview import lines, next_step, overview
from .submit import address_option, cluster_option, follow, jobs_of, where

_SECONDS = 2.0  # between two looks


@click.command(cls=Command)
@click.argument("path", metavar="PATH|JOB", type=StudyPath())
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@address_option
@cluster_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    path: str,
    watch: bool,
    address: str | None,
    cluster: Path | None,
    as_json: bool,
) -> None:
    """Print how a study stands, while it runs or after.

    With --address or --cluster, JOB is a search on a cluster; --watch then shows what it says.
    """
    if address is not None or cluster is not None:
        context.exit(_job(path, watch, address, cluster, as_json))
    if watch:
        _watch(path, as_json)
        return
    seen = overview(path)
    if as_json:
        emit("status", seen)
    else:
        data("\n".join(lines(seen)))
        say(next_step(path, "complete" in seen["counts"]))


def _job(name: str, watch: bool, address: str | None, cluster: Path | None, as_json: bool) -> int:
    """Print how a job stands, or attach to it; returns the exit code."""
    from .jobs import table

    with jobs_of(address, cluster) as jobs:
        if watch:
            return follow(jobs, name, where(address, cluster))
        job = jobs.get(name)
    if as_json:
        emit("job", asdict(job))
    else:
        data("\n".join(table([job])))
    return 0


def _watch(path: str, as_json: bool) -> None:
    """One block that is drawn in place; for pipes, one more entry for every change."""
    if not as_json and sys.stdout.isatty():
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(highlight=False, markup=False, emoji=False)
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as region:
            while True:
                region.update(Text("\n".join(lines(overview(path)))), refresh=True)
                time.sleep(_SECONDS)
    before = None
    while True:
        seen = overview(path)
        if seen != before and as_json:
            emit("status", seen, stream=True)
        elif seen != before:
            data("\n".join(lines(seen)) + "\n")
        before = seen
        time.sleep(_SECONDS)
