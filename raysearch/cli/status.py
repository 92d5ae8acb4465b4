"""``raysearch status``: how a study stands, once or again and again."""

from __future__ import annotations

import sys
import time

import click

from .command import Command, json_option, study_argument
from .console import data, emit, say
from .overview import lines, next_step, overview

_SECONDS = 2.0  # between two looks


@click.command(cls=Command)
@study_argument
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@json_option
def command(path: str, watch: bool, as_json: bool) -> None:
    """Print how a study stands, while it runs or after."""
    if watch:
        _watch(path, as_json)
        return
    seen = overview(path)
    if as_json:
        emit("status", seen)
    else:
        data("\n".join(lines(seen)))
        say(next_step(path, "complete" in seen["counts"]))


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
