"""What all commands share: their common options, and frequent arguments."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .console import Manners
from .exits import PIPE_CLOSED

F = TypeVar("F", bound=Callable[..., Any])


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.ensure_object(Manners), name, True)

    return callback


def _no_color(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        os.environ["NO_COLOR"] = "1"  # as rich understands it, too


def common_options() -> list[click.Parameter]:
    """The options that stand before or after any command's name."""
    flags: dict[str, Any] = {"is_flag": True, "expose_value": False}
    return [
        click.Option(
            ["-q", "--quiet"], callback=_set("quiet"), help="Only data and errors.", **flags
        ),
        click.Option(["--no-color"], callback=_no_color, help="No colours.", **flags),
        click.Option(
            ["--debug"], callback=_set("debug"), help="Errors with their traceback.", **flags
        ),
    ]


class Command(click.Command):
    """A command of raysearch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes standard output at its end, which must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(PIPE_CLOSED) from None
        return result


class StudyPath(click.ParamType[str]):
    """A study's folder, or the URI of one."""

    name = "path"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Folders."""
        return [CompletionItem(incomplete, type="dir")]


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """A duration in seconds; ValueError says how to write one.

    >>> seconds("90"), seconds("1.5h"), seconds("2h30m")
    (90.0, 5400.0, 9000.0)
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
    whole = "".join(n + unit for n, unit in parts) == text
    clear = len(parts) == 1 or all(unit for _, unit in parts)  # 1h30: minutes, or seconds?
    if not (parts and whole and clear):
        raise ValueError(f"expected a duration such as 90, 90s, 1.5h or 2h30m, found {text!r}")
    return sum(float(n) * _UNITS[unit] for n, unit in parts)


class Duration(click.ParamType[float]):
    """Seconds, or a text such as 2h30m."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        try:
            return seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


study_argument = click.argument("path", metavar="PATH", type=StudyPath())
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
