"""``raysearch show``: one trial with all that is known of it, or where the time went."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from .best import described
from .command import Command, json_option, study_argument
from .console import data, emit
from .overview import microseconds

if TYPE_CHECKING:
    from ..study import Study


@click.command(cls=Command)
@study_argument
@click.argument("number", type=int, required=False)
@click.option("--overhead", is_flag=True, help="Where the time of the search went.")
@json_option
def command(path: str, number: int | None, overhead: bool, as_json: bool) -> None:
    """Print all about one trial, or where the time went.

    NUMBER is that of the trial; --overhead adds up where the time of the search went.
    """
    if (number is None) != overhead:
        raise click.UsageError("give either the NUMBER of a trial, or --overhead")
    from ..study import Study

    study = Study.load(path)
    if number is None:
        _show_overhead(study, path, as_json)
    else:
        _show_trial(study, number, as_json)


def _show_trial(study: Study, number: int, as_json: bool) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    from ..report.overhead import LEDGER
    from ..report.text import duration, line
    from ..report.text import number as six_digits

    trial = study.trial(number)
    ledger = study.columns("number", *LEDGER)
    row = ledger.filter(pc.equal(ledger["number"], pa.scalar(number)))
    times = {step: microseconds(row[step])[0].as_py() for step in LEDGER}
    if as_json:
        emit("trial", {**described(trial), "worker": trial.worker, **times})
        return
    table: list[tuple[str, str]] = [("trial", f"#{trial.number}"), ("state", trial.state)]
    table += [(line(name), six_digits(value)) for name, value in trial.metrics.items()]
    table += [
        ("took", "unknown" if math.isnan(trial.seconds) else duration(trial.seconds)),
        ("attempts", str(trial.attempts)),
        ("worker", line(trial.worker or "unknown")),
        *((step, "never" if time is None else _clock(time)) for step, time in times.items()),
        ("config", repr(dict(trial.config))),
    ]
    width = max(len(name) for name, _ in table)
    data("\n".join(f"{name.ljust(width)}  {value}" for name, value in table))
    if trial.error:
        data(f"\n{trial.error.rstrip()}")


def _clock(time: datetime) -> str:
    """A time to the millisecond, in UTC as all times of a study."""
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03} UTC"


def _show_overhead(study: Study, path: str, as_json: bool) -> None:
    from ..report.overhead import LEDGER, overhead
    from ..report.text import columns, duration, plural

    found = overhead(study.columns(*LEDGER))
    if found is None:
        raise click.ClickException(f"{path}: no trial has run yet, so there is nothing to add up")
    if as_json:
        derived = {"utilisation": found.utilisation, "per_trial": found.per_trial}
        emit("overhead", asdict(found) | derived)
        return
    rows = [("", "median", "95 %", "share")]
    rows += [
        (s.name, duration(s.median), duration(s.p95), f"{100 * s.share:.1f} %")
        for s in found.stages
    ]
    data("\n".join(columns(rows, right=(1, 2, 3))))
    data(
        f"\n{plural(found.trials, 'trial')} in {duration(found.span)}, "
        f"at most {found.slots} at once\n"
        f"slots in use {100 * found.utilisation:.1f} % of the time; "
        f"overhead {duration(found.per_trial)} of slot time a trial"
    )
    if found.missed:
        data(
            f"asked for ahead: {found.missed:.2f} results came in before a trial began, on average"
        )
