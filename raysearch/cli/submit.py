"""``raysearch submit``: a search as a job of a cluster, which outlives this terminal."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import UsageError
from . import run
from .command import Command, StudyPath, common_options
from .console import data, say
from .exits import CLUSTER, STOPPED

if TYPE_CHECKING:
    from ..cluster.jobs import Job, Jobs

#: options of `raysearch run` that make no sense in a job
_NOT_PASSED = ("address", "fresh", "no_progress", "as_json")

address_option = click.option(
    "--address", metavar="URL", help="Of the head's dashboard, as in http://127.0.0.1:8265."
)
cluster_option = click.option(
    "--cluster",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A `ray up` file instead: its head is reached through ssh.",
)


@contextmanager
def jobs_of(address: str | None, cluster: Path | None) -> Iterator[Jobs]:
    """The jobs of the cluster that the options name."""
    from ..cluster.door import proxy_of, travels_in_clear
    from ..cluster.jobs import Jobs
    from ..cluster.tunnel import tunnel

    if (address is None) == (cluster is None):
        raise click.UsageError("say which cluster: --address http://HOST:8265, or --cluster FILE")
    if cluster is not None:
        with tunnel(cluster) as near:
            yield Jobs(near)
        return
    assert address is not None
    jobs = Jobs(address)
    if travels_in_clear(address):
        proxy = proxy_of(address)
        through = f", through the proxy that {proxy} names" if proxy else ""
        say(
            f"warning: the token travels to {address} unencrypted{through}; on a network with "
            "others, use a tunnel: ssh -L 8265:127.0.0.1:8265 HEAD, and --address "
            "http://127.0.0.1:8265"
        )
    yield jobs


def where(address: str | None, cluster: Path | None) -> str:
    """The options that name the cluster, to be typed again."""
    return f"--address {address}" if cluster is None else f"--cluster {shlex.quote(str(cluster))}"


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--study", type=StudyPath(), help="Where all nodes can reach it, as in s3://...")
@address_option
@cluster_option
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@click.option(
    "--requirements",
    type=click.Path(path_type=Path),
    help="Locked ones; requirements.txt if left out and there. What the nodes lack is installed.",
)
@click.option("--env", "names", multiple=True, metavar="NAME[=VALUE]", help="Variables to set.")
@click.option("--max-size", type=float, metavar="MB", help="Of the working directory.  [100]")
@click.option(
    "--driver-cpus",
    type=click.FloatRange(min=0),
    default=0,
    help="Run the driver where so many CPUs are free; 0: on the head.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    address: str | None,
    cluster: Path | None,
    detach: bool,
    requirements: Path | None,
    names: tuple[str, ...],
    max_size: float | None,
    driver_cpus: float,
    file: Path,
    study: str | None,
    **flags: Any,
) -> None:
    """Run a search as a job of a Ray cluster.

    Sends the working directory (what git would take, no secrets), and runs `raysearch run FILE`
    there, with these options. Ctrl-C detaches; the job goes on.
    """
    from ..cluster import pack
    from ..cluster.given import check_versions, lacking, place_of, variables_of

    place = place_of(study)
    environment = variables_of(names)
    name = _within(file)
    packing = pack.choose(Path.cwd(), pack.LIMIT if max_size is None else max_size)
    if name not in packing.files:
        raise UsageError(f"FILE: {file} is not sent: .gitignore, or its name, leaves it out")
    with jobs_of(address, cluster) as jobs, tempfile.TemporaryDirectory() as folder:
        python, packages = jobs.inventory()
        check_versions(python, packages)
        pip = lacking(packages, requirements)
        for path in packing.secret:
            say(f"left out, as it may hold a secret: {path}")
        say(f"sending {len(packing.files)} files, {pack.megabytes(packing.size)}")
        archive = Path(folder) / "working_dir.zip"
        packing.write(archive)
        job = jobs.submit(
            ["run", name, "--study", study or "", *_arguments(context), "--address", "auto"],
            file=name,
            study=place,
            archive=str(archive),
            environment=environment,
            pip=pip,
            driver_cpus=driver_cpus,
        )
        say(f"job {job}")
        if detach:
            say(f"watch it: raysearch status {job} {where(address, cluster)} --watch")
            return
        context.exit(follow(jobs, job, where(address, cluster)))


def follow(jobs: Jobs, name: str, cluster: str) -> int:
    """Show what a job says until it has ended; Ctrl-C ends only the showing."""
    try:
        job = jobs.follow(name, data)
    except KeyboardInterrupt:
        say(
            f"\ndetached; the job goes on\nwatch it: raysearch status {name} {cluster} --watch\n"
            f"stop it:  raysearch stop {name} {cluster}"
        )
        return 130
    return code_of(job)


def code_of(job: Job) -> int:
    """The exit code that a job's end calls for: that of the search, if it came to one."""
    if job.exit_code is not None:
        return job.exit_code
    if job.status == "STOPPED":
        say(f"job {job.id} was stopped; the same submission goes on from {job.study}")
        return STOPPED
    say(f"job {job.id}: {(job.message or 'ended without a word').strip()[-1000:]}")
    return CLUSTER


def _within(file: Path) -> str:
    """The file as it is called within the working directory."""
    if not file.is_file():
        raise UsageError(
            f"FILE: there is no file {file}; check the path, or see raysearch run --help"
        )
    path = Path(os.path.abspath(file))
    if not path.is_relative_to(Path.cwd()):
        raise UsageError(
            f"FILE: expected a file in the working directory, which is sent, found {file}; change "
            "to the folder of the project"
        )
    return path.relative_to(Path.cwd()).as_posix()


def _passed() -> Sequence[click.Option]:
    options = [p for p in run.command.params if isinstance(p, click.Option) and p.expose_value]
    return [option for option in options if option.name not in (*_NOT_PASSED, "study")]


def _arguments(context: click.Context) -> Iterator[str]:
    """What was said about the search, to be said again on the cluster."""
    for option in _passed():
        name = option.name or ""
        if context.get_parameter_source(name) in (ParameterSource.DEFAULT, None):
            continue
        value = context.params[name]
        if option.is_flag:
            yield from [option.opts[0]] * bool(value)
        else:
            for each in value if option.multiple else [value]:
                yield from (option.opts[0], str(each))


_OWN = len(command.params) - len(common_options())
command.params[_OWN:_OWN] = _passed()
