"""Which executor runs the trials: chosen by the address that a search is given.

To add one: write a context manager like those below, and its line in EXECUTORS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .executor import Executor
from .inline import Inline
from .objective import examine
from .packing import is_auto
from .records import Job


@dataclass(frozen=True)
class Where:
    """Where trials run.

    address      as of `raysearch.search`
    ray_options  for each task
    concurrency  at most so many tasks at once; None: as many as fit
    """

    address: str | None = None
    ray_options: Mapping[str, Any] | None = None
    concurrency: int | None = None


@contextmanager
def _inline(job: Job, where: Where, log: Path | None) -> Iterator[Executor]:
    yield Inline(job)


@contextmanager
def _ray(job: Job, where: Where, log: Path | None) -> Iterator[Executor]:
    from .ray_actors import in_actors
    from .ray_packing import RayPacked
    from .ray_session import connect
    from .ray_tasks import RayTasks

    run: Callable[..., RayTasks] = in_actors if examine(job.objective).is_class else RayTasks
    if is_auto(where.ray_options):
        run = RayPacked
    with connect(where.address, log):
        executor = run(job, where.ray_options, where.concurrency)
        try:
            yield executor
        finally:
            executor.close()


#: address -> what runs trials there; all others are addresses of Ray
EXECUTORS: dict[str | None, Callable[..., AbstractContextManager[Executor]]] = {"inline": _inline}


def open_executor(job: Job, where: Where, log: Path | None) -> AbstractContextManager[Executor]:
    """The executor for an address, for as long as it is needed.

    log  file for what trials print and Ray says; None: it is dropped
    """
    return EXECUTORS.get(where.address, _ray)(job, where, log)
