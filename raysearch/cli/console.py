"""How commands talk: data to standard output, everything else to standard error."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from ..report.text import clean

SCHEMA = 1  # of everything that --json prints; grows when a key changes its meaning or goes


@dataclass
class Manners:
    """How the user wants to be talked to; one for a whole command line.

    quiet  only data and errors
    debug  errors with their traceback
    """

    quiet: bool = False
    debug: bool = False


def _manners() -> Manners:
    context = click.get_current_context(silent=True)
    return context.ensure_object(Manners) if context is not None else Manners()


def data(text: str) -> None:
    """Print what was asked for."""
    click.echo(clean(text))


def say(text: str) -> None:
    """Tell the user something in passing."""
    if not _manners().quiet:
        click.echo(clean(text), err=True)


def complain(kind: str, text: str) -> None:
    """Tell the user what went wrong."""
    color = False if os.environ.get("NO_COLOR") else True if os.environ.get("FORCE_COLOR") else None
    label = click.style(f"{kind}:", fg="red", bold=True)
    click.echo(f"{label} {clean(text)}", err=True, color=color)


def show_traceback(error: BaseException) -> None:
    """Print where an error came from."""
    click.echo(clean("".join(traceback.format_exception(error))), err=True, nl=False)


def _plain(value: Any) -> Any:
    """The value as JSON has it: times in ISO 8601, null for what is not finite, arrays as lists."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value if value is None or isinstance(value, (str, int)) else str(value)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON that any reader takes; everything unusual is escaped."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def emit(kind: str, content: Mapping[str, Any], *, stream: bool = False) -> None:
    """Print data as JSON, with its kind and the version of its form.

    stream  one object a line, for data that goes on
    """
    described = {"schema": SCHEMA, "kind": kind, **content}
    click.echo(to_json(described, indent=None if stream else 2))
    sys.stdout.flush()
