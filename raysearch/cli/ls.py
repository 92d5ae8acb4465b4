"""``raysearch ls``: the studies in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import RaysearchError, UsageError
from .command import Command, StudyPath, json_option
from .console import data, emit, say
from .overview import age, overview


@click.command(cls=Command)
@click.argument("folder", type=StudyPath(), default="runs")
@json_option
def command(folder: str, as_json: bool) -> None:
    """List the studies in a folder.

    FOLDER is "runs" if left out.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"FOLDER: there is no folder {folder}")
    places = sorted(p.parent for p in root.glob("*/study.json"))
    seen = [_look(place) for place in places]
    if as_json:
        emit("studies", {"studies": seen})
    elif not seen:
        say(f"no studies in {folder}")
    else:
        _print_table(seen)


def _look(place: Path) -> dict[str, Any]:
    """Its overview; or, for a study that cannot be read, why."""
    try:
        return overview(str(place))
    except RaysearchError as error:
        return {"path": str(place), "error": str(error)}


def _print_table(seen: list[dict[str, Any]]) -> None:
    from ..report.text import columns, duration, line, number

    rows = [("STUDY", "TRIALS", "COMPLETE", "BEST", "", "LAST RESULT")]
    for study in seen:
        if "error" in study:
            rows.append((line(study["path"]), "", "", "unreadable:", line(study["error"], 60), ""))
            continue
        metric = next(iter(study["objectives"]))
        best = study["best"]
        rows.append(
            (
                line(study["path"]),
                f"{study['trials']:,}",
                f"{study['counts'].get('complete', 0):,}",
                line(metric) if best else "",
                number(best["metrics"][metric]) if best else "",
                f"{duration(age(study['last']))} ago" if study["last"] else "never",
            )
        )
    data("\n".join(columns(rows, right=(1, 2))))
