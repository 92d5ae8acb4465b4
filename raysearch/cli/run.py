"""``raysearch run``: a search, started or taken up where it was left."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.shell_completion import CompletionItem

from .command import Command, Duration, StudyPath, json_option
from .console import say
from .exits import NO_VALID_TRIAL

if TYPE_CHECKING:
    from ..engine.progress import Progress
    from ..strategies.base import AnyStrategy
    from ..study import Study
    from .experiment import Experiment


class StrategyName(click.ParamType[str]):
    """The name of a strategy."""

    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """All that begin so."""
        from ..strategies import names

        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


def choose(own: AnyStrategy | None, name: str | None, sets: Sequence[str]) -> AnyStrategy | None:
    """The strategy that flags and file (its own one) agree upon; None: left to the search."""
    from ..strategies import build, rebuild

    options = {}
    for text in sets:
        option, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"expected OPTION=VALUE, found {text!r}", param_hint="--set")
        options[option] = value
    if name is not None:
        return build(name, options)
    if not options:
        return own
    if own is None:
        raise click.UsageError("--set sets options of a strategy: name it with --strategy")
    return rebuild(own, options)


def place(experiment: Experiment, study: str | None, fresh: bool) -> str:
    """Where the study goes: as flag or file say, or runs/NAME; for --fresh a place unused."""
    from ..log.place import open_storage

    chosen = study or experiment.settings.get("study") or f"runs/{experiment.path.stem}"
    free, k = str(chosen), 1
    while fresh and open_storage(free).exists("study.json"):
        k += 1
        free = f"{str(chosen).rstrip('/')}-{k}"
    return free


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--study", type=StudyPath(), help="Where to keep it; runs/NAME if left out.")
@click.option("--trials", type=int, help="How many trials in all, failed ones included.")
@click.option("--time", "time_limit", type=Duration(), help="How long this may take, as in 2h30m.")
@click.option("--concurrency", type=int, help="How many trials at once, at most.")
@click.option("--strategy", type=StrategyName(), help="How to search; see raysearch strategies.")
@click.option("--set", "sets", multiple=True, metavar="OPTION=VALUE", help="Of the strategy.")
@click.option("--seed", type=int, help="Of all randomness.")
@click.option("--metric", help="What is to be optimised.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether small or large is good.")
@click.option("--address", help="Of Ray: auto, local, host:port; inline: without Ray.")
@click.option("--timeout", type=Duration(), help="How long a trial may take.")
@click.option("--retries", type=int, help="How often a trial is begun again if its worker dies.")
@click.option("--max-failures", type=int, help="So many failures at the start end the search.")
@click.option("--fresh", is_flag=True, help="Start a new study beside the old one.")
@click.option("--allow-change", is_flag=True, help="Go on though space or settings changed.")
@click.option("--no-progress", is_flag=True, help="No live view.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    file: Path,
    study: str | None,
    strategy: str | None,
    sets: tuple[str, ...],
    fresh: bool,
    allow_change: bool,
    no_progress: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Start a search, or go on where its study left off.

    FILE (.py or .toml) defines objective and space, and if it likes strategy and settings.
    Flags win over RAYSEARCH_RUN_... variables, and these over the file's settings.
    """
    with watching(no_progress) as show:
        from ..search import search
        from .experiment import load

        experiment = load(file)
        given = {name: value for name, value in flags.items() if value is not None}
        where = place(experiment, study, fresh)
        settings = {
            **experiment.settings,
            **given,
            **({"resume": "changed"} if allow_change else {}),
            "study": where,
            "progress": show,
        }
        chosen = choose(experiment.strategy, strategy, sets)
        result = search(experiment.objective, experiment.space, chosen, **settings)
    conclude(context, result, where, as_json)


@contextmanager
def watching(no_progress: bool) -> Iterator[Callable[[Progress], None] | Literal[False]]:
    """What `raysearch.search` shall tell about its progress; shown before anything slow."""
    if no_progress or click.get_current_context().obj.quiet:
        yield False
        return
    from ..report.live import Live

    with Live() as live:
        yield live.update


def conclude(context: click.Context, study: Study, place: str, as_json: bool) -> None:
    """Print the best trial, and what to type next."""
    from .best import show_best
    from .overview import next_step

    found = "complete" in study.counts
    if found:
        show_best(study, 1, as_json)
    else:
        say("no trial gave a valid result")
    say(f"study {shlex.quote(place)}   {next_step(place, found)}")
    if not found:
        context.exit(NO_VALID_TRIAL)
