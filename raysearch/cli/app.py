"""The command `raysearch`: finds a command's file, and turns errors into exit codes.

A command is one file in this folder, with a `click` command named `command`, and its name
in `COMMANDS`. Files are imported only when they are needed, and import what is heavy only
when they run, so that help comes at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from .. import __version__, errors
from ..report.text import clean
from . import console
from .command import common_options
from .exits import BUG, USAGE, exit_code

#: heading -> commands under it
COMMANDS = {
    "Search": ("run", "retry", "stop"),
    "Cluster": ("submit", "jobs"),
    "Studies": ("status", "show", "best", "ls", "export", "doctor"),
    "Other": ("simulate", "strategies", "completion"),
}


class App(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which help shows them."""
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or an error that names the nearest one."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands under their headings."""
        for heading, names in COMMANDS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, c.get_short_help_str(70)) for name, c in commands if c is not None]
                )

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command line, and exit with the code that says how it went."""
        manners = options["obj"] = console.Manners()
        options["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **options)
        except click.exceptions.Abort as abort:  # that is how click passes Ctrl-C on
            code = _report(abort.__cause__ or KeyboardInterrupt(), manners)
        except Exception as error:
            code = _report(error, manners)
        sys.exit(code if isinstance(code, int) else 0)


def _report(error: BaseException, manners: console.Manners) -> int:
    """Say what went wrong, and return the exit code for it."""
    if manners.debug and not isinstance(error, click.ClickException):
        console.show_traceback(error)
    if isinstance(error, click.ClickException):
        message = error.format_message()
        console.complain("error", message[:1].lower() + message[1:])
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(f"see: {error.ctx.command_path} --help", err=True)
        return USAGE
    code = exit_code(error)
    if isinstance(error, errors.Interrupted):
        click.echo(clean(str(error)), err=True)
    elif isinstance(error, KeyboardInterrupt):
        console.complain("interrupted", "nothing is left half done")
    elif code == BUG:
        console.complain("internal error", f"{type(error).__name__}: {error}")
        click.echo("This is a bug in raysearch; --debug shows where it is.", err=True)
    elif isinstance(error, errors.StudyStorage) and error.strerror:
        console.complain("error", error.strerror)  # without the number, which it names itself
    else:
        console.complain("error", str(error))
    return code


_HELP = """Parallel hyperparameter search on Ray. Studies survive crashes.

\b
raysearch run search.py     start, or go on where the study left off
raysearch status PATH       progress and best (--watch)

Every option can be given as a variable too, as in RAYSEARCH_RUN_TRIALS=64.
"""


@click.group(
    cls=App,
    help=_HELP,
    invoke_without_command=True,
    name="raysearch",
    params=common_options(),
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "RAYSEARCH",
        "max_content_width": 96,
    },
)
@click.version_option(__version__, message="raysearch %(version)s")
@click.pass_context
def app(context: click.Context, /) -> None:
    """The command `raysearch`; on its own it shows its help."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line of this process."""
    try:
        app.main(prog_name="raysearch")
    except SystemExit as end:
        if not {"ray", "pyarrow"} & sys.modules.keys():
            raise
        # Threads of Ray's core and of Arrow, once started, abort one in a hundred interpreters
        # on their way out, and with them the exit code. All is written; so go at once.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else BUG)
