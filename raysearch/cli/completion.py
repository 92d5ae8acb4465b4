"""``raysearch completion``: a script that makes the shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .command import Command
from .console import data, say

_WHERE = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/config.fish"}


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands.

    SHELL is bash, zsh or fish.
    """
    completer = get_completion_class(shell)
    assert completer is not None  # the choice allows only what click knows
    data(completer(context.find_root().command, {}, "raysearch", "_RAYSEARCH_COMPLETE").source())
    line = f"raysearch completion {shell}"
    line = f"{line} | source" if shell == "fish" else f'eval "$({line})"'
    say(f"# put this into {_WHERE[shell]}: {line}")
