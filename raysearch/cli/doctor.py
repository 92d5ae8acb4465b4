"""``raysearch doctor``: is every byte of a study what was written?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .command import Command, StudyPath, json_option, study_argument
from .console import data, emit, say
from .exits import CORRUPT

if TYPE_CHECKING:
    from ..log.doctor import Finding


@click.command(cls=Command)
@study_argument
@click.option("--salvage", "target", type=StudyPath(), help="Copy what is intact to a new study.")
@json_option
@click.pass_context
def command(context: click.Context, /, path: str, target: str | None, as_json: bool) -> None:
    """Check every stored byte, and save what is intact.

    The exit code is 65 if the study is damaged. The study itself is never changed, not
    with --salvage either.
    """
    from ..log.doctor import check, salvage
    from ..report.text import plural

    findings = check(path)
    damaged = any(finding.kind == "corrupt" for finding in findings)
    if as_json:
        emit("findings", {"damaged": damaged, "findings": [asdict(f) for f in findings]})
    else:
        _print_table(findings)
    if target is not None:
        say(f"{plural(salvage(path, target), 'row')} saved to {target}")
    elif damaged:
        say(f"next: raysearch doctor {path} --salvage NEW_STUDY")
        context.exit(CORRUPT)


def _print_table(findings: list[Finding]) -> None:
    from ..report.text import columns, line

    rows = [("FILE", "STATE", "ROWS", "")]
    rows += [
        (line(f.file) or "the whole", f.kind, f"{f.rows:,}", line(f.message)) for f in findings
    ]
    data("\n".join(columns(rows, right=(2,))))
