"""``raysearch stop``: a search is ended in order, here or on a cluster."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import suppress
from pathlib import Path

import click

from ..errors import UsageError
from .command import Command
from .console import say
from .submit import address_option, cluster_option, jobs_of


@click.command(cls=Command)
@click.argument("target", metavar="PATH|JOB")
@address_option
@cluster_option
def command(target: str, address: str | None, cluster: Path | None) -> None:
    """End a search in order, so that it can go on later.

    PATH is the study of a search that runs on this machine; or, with --address or --cluster,
    JOB is one on a cluster.
    """
    if address is None and cluster is None:
        _stop_here(target)
        return
    with jobs_of(address, cluster) as jobs:
        job = jobs.stop(target)
    say(f"job {job.id}: {job.status}   study {shlex.quote(job.study)}")


def _stop_here(path: str) -> None:
    """SIGTERM for the process that writes to a study in a folder here."""
    from ..log import Reader
    from ..log.lease import LOCK, parse

    reader = Reader(path)
    who = reader.holder()
    if who is None:
        say(f"{path}: no search is writing to it")
        return
    lease = parse(reader.storage.read(LOCK))
    pid = lease["pid"] if lease else 0
    folder = reader.storage.folder
    if folder is None or not _has_open(pid, folder / LOCK):
        raise UsageError(f"PATH: {path} is written to by {who}, which cannot be ended from here")
    os.kill(pid, signal.SIGTERM)
    say(f"asked {who} to end in order   see: raysearch status {shlex.quote(path)}")


def _has_open(pid: int, file: Path) -> bool:
    """Whether a process of ours has a file open: what a study says of its writer is no proof."""
    with suppress(OSError):
        opened = [os.readlink(entry) for entry in Path(f"/proc/{pid:d}/fd").iterdir()]
        return str(file.resolve()) in opened
    return False
