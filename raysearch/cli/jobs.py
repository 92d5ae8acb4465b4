"""``raysearch jobs``: the searches on a cluster."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .command import Command, json_option
from .console import data, emit, say
from .submit import address_option, cluster_option, jobs_of

if TYPE_CHECKING:
    from ..cluster.jobs import Job


@click.command(cls=Command)
@address_option
@cluster_option
@json_option
def command(address: str | None, cluster: Path | None, as_json: bool) -> None:
    """List the searches on a cluster, the latest first."""
    with jobs_of(address, cluster) as jobs:
        found = jobs.list()
    if as_json:
        emit("jobs", {"jobs": [asdict(job) for job in found]})
    elif not found:
        say("no searches on this cluster")
    else:
        data("\n".join(table(found)))


def table(jobs: list[Job]) -> list[str]:
    """Jobs for a terminal."""
    from ..report.text import columns, duration, line

    rows = [("JOB", "STATUS", "EXIT", "FOR", "FILE", "STUDY")]
    for job in jobs:
        took = (job.end or time.time()) - job.start if job.start else float("nan")
        code = "" if job.exit_code is None else str(job.exit_code)
        rows.append((job.id, job.status, code, duration(took), line(job.file), line(job.study)))
    return columns(rows, right=(2, 3))
