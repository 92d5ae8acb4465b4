"""``raysearch export``: a study's trials for other programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .command import Command, study_argument
from .console import data, say, to_json
from .exits import OutputError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 10_000  # at a time

#: The beginning of what spreadsheets would run as a formula, and the cure for it.
_FORMULA, _HARMLESS = r"^([=+\-@\t\r\x00])", r"'\1"


def _csv(table: pa.Table, sink: pa.NativeFile) -> None:
    """Comma-separated values, in which no text can pass for a formula."""
    import re

    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    columns = []
    for column in table.columns:
        if pa.types.is_list(column.type):  # as JSON, which begins with a bracket
            texts = [None if row is None else json.dumps(row) for row in column.to_pylist()]
            column = pa.chunked_array([pa.array(texts, pa.string())])
        elif pa.types.is_string(column.type):
            column = pc.replace_substring_regex(column, _FORMULA, _HARMLESS)
        columns.append(column)
    names = [re.sub(_FORMULA, _HARMLESS, name) for name in table.column_names]
    csv.write_csv(pa.table(columns, names=names), sink)


def _json(table: pa.Table, sink: pa.NativeFile) -> None:
    """JSON lines: one object a trial; null for what is missing or not finite."""
    import pyarrow as pa

    # Times as texts, to the nanosecond, which Python's own do not know
    schema = [
        (f.name, pa.string() if pa.types.is_timestamp(f.type) else f.type) for f in table.schema
    ]
    for batch in table.cast(pa.schema(schema)).to_batches(max_chunksize=_ROWS):
        sink.write("".join(to_json(row) + "\n" for row in batch.to_pylist()).encode())


def _parquet(table: pa.Table, sink: pa.NativeFile) -> None:
    from pyarrow import parquet

    parquet.write_table(table, sink)


def _arrow(table: pa.Table, sink: pa.NativeFile) -> None:
    """The Arrow IPC file format."""
    import pyarrow as pa

    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS)


FORMATS: dict[str, Callable[[pa.Table, pa.NativeFile], None]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
}


@click.command(cls=Command)
@study_argument
@click.option("-f", "--format", "form", type=click.Choice(list(FORMATS)), help="Else by FILE.")
@click.option("-o", "--output", default="-", metavar="FILE", show_default=True, help="Where to.")
def command(path: str, form: str | None, output: str) -> None:
    """Write all trials as CSV, JSON lines, Parquet or Arrow."""
    import pyarrow as pa

    from ..report.text import plural
    from ..study import Study

    form = form or {"jsonl": "json"}.get(suffix := Path(output).suffix.lstrip("."), suffix)
    if form not in FORMATS:
        raise click.UsageError(f"name a format with -f: {', '.join(FORMATS)}")
    write = FORMATS[form]
    binary = form in ("parquet", "arrow")
    if output == "-" and binary and sys.stdout.isatty():
        raise click.UsageError(f"{form} is not for terminals: name a file with -o")
    table = Study.load(path).trials
    if output != "-":
        _write(Path(output), lambda sink: write(table, sink))
        say(f"{plural(table.num_rows, 'trial')} written to {output}")
        return
    buffer = pa.BufferOutputStream()
    write(table, buffer)
    content = buffer.getvalue().to_pybytes()
    if sys.stdout.isatty():
        data(content.decode())  # without what could steer the terminal
    else:
        sys.stdout.buffer.write(content)


def _write(target: Path, write: Callable[[pa.NativeFile], None]) -> None:
    """Write a file that is there as a whole or not at all."""
    import pyarrow as pa

    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.open("xb").close()
    except OSError as error:
        raise OutputError(f"--output: cannot create {target}: {error.strerror}") from None
    try:
        with pa.OSFile(str(partial), "wb") as sink:
            write(sink)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
