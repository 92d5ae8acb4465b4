"""Ray's workers: what they do with a task, and who of them gets it.

The job lies in the object store, and is taken out once by every worker process.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import ray
from numpy.typing import NDArray

from ..errors import UsageError
from ..space import Columns
from ..trial import Floats, Ints
from .evaluate import evaluate
from .objective import Signature, examine, ready
from .passage import Passed, Stretch
from .ray_wake import awake
from .records import Elsewhere, Job, Reports, Results, Task, Trials
from .saved import Packed
from .stream import stream
from .stretch import go

Arrays = Mapping[str, NDArray[Any]]
T = TypeVar("T", bound=Reports | Results)

_OURS = ("max_retries", "num_returns", "retry_exceptions")  # options that are not the user's

# --- in the worker ----------------------------------------------------------------------------

_opened: dict[str, tuple[Job, Signature]] = {}  # the last job of this process


def opened(job: ray.ObjectRef[Any]) -> tuple[Job, Signature]:
    """The job with its data and its objective, ready to be called, and how that is called."""
    key = job.hex()
    if key not in _opened:
        _opened.clear()
        _hear_interrupts()
        sent: Job = ray.get(job)
        data = MappingProxyType({name: ray.get(value) for name, value in sent.data.items()})
        device = "cuda:0" if ray.get_gpu_ids() else "cpu"  # which sees no others
        signature, objective = examine(sent.objective), ready(sent.objective, data, device)
        _opened[key] = replace(sent, objective=objective, data=data, device=device), signature
    return _opened[key]


def _hear_interrupts() -> None:
    """Have Python handle SIGINT, by which Ray cancels tasks.

    Whatever a script starts in the background ignores it, and so do all processes beneath.
    """
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


Sent = tuple[ray.ObjectRef[Any], Ints, Arrays, Arrays, Floats | None, Stretch | None]


def run(sent: Sent) -> Results | Passed:
    """The Ray task. All in one, since each argument of a task costs Ray 0.1 ms.

    The reference is in a tuple, so that Ray does not fetch the job each time.
    """
    reference, numbers, values, active, budget, stretch = sent
    job, signature = opened(reference)
    if stretch is not None:
        return go(job, signature, stretch, kill=True)
    columns = Columns(job.space.parameters, values, active, len(numbers))
    return _measured(job, evaluate(job, signature, Trials(numbers, columns, budget), kill=True))


def _measured(job: Job, part: T) -> T:
    """With what has been taken of the GPU, if that is asked."""
    return part if job.probe is None else replace(part, memory=job.probe())


def stream_task(
    sent: tuple[ray.ObjectRef[Any], Task],
    put: Callable[[Packed], bytes | Elsewhere] = Packed.tobytes,
) -> Iterator[tuple[str, Reports | Results]]:
    """What a Ray task of generators does.

    It yields Reports, and at the end Results, each with the machine that it is on; put is as of
    `stream`.
    """
    reference, task = sent
    job, signature = opened(reference)
    columns = replace(task.trials.columns, parameters=job.space.parameters)
    trials = replace(task.trials, columns=columns)
    node = ray.get_runtime_context().get_node_id()
    task = replace(task, trials=trials)
    with closing(stream(job, signature, task, kill=True, put=put)) as parts:
        for part in parts:
            yield node, _measured(job, part)


def _stream(sent: tuple[ray.ObjectRef[Any], Task]) -> Iterator[tuple[str, Reports | Results]]:
    """The Ray task of generators, which sleep and can be woken."""
    with awake():
        yield from stream_task(sent)


# --- in the driver ----------------------------------------------------------------------------


class Workers(Protocol):
    """Who runs tasks: the workers that Ray picks, or actors of our own."""

    def room(self, slots: int) -> bool:
        """Whether one task more may be handed over, if so many can run at once."""

    def begin(self, task: int, sent: Any) -> Any:
        """Hand it over; a reference to its results, or a generator of such."""

    def force(self, task: int, ref: Any) -> None:
        """End it at once, and the process with it."""

    def over(self, task: int, error: Exception | None) -> None:
        """It has come back, or is lost by this error."""

    def close(self) -> None:
        """Nothing runs any more."""


class Picked:
    """The workers that Ray picks; it queues what is too much for them.

    ray_options  for each task
    streams      whether tasks are generators
    """

    def __init__(self, ray_options: Mapping[str, Any], streams: bool) -> None:
        self._remote = remote(ray_options, streams)

    def room(self, slots: int) -> bool:
        """Always."""
        return True

    def begin(self, task: int, sent: Any) -> Any:
        """A Ray task."""
        return self._remote.remote(sent)

    def force(self, task: int, ref: Any) -> None:
        """By Ray."""
        ray.cancel(ref, force=True)

    def over(self, task: int, error: Exception | None) -> None:
        """Ray sees to its worker."""

    def close(self) -> None:
        """Ray sees to its workers."""


def remote(options: Mapping[str, Any], streams: bool = False) -> Any:
    """The remote function, of a generator or not.

    Options go through `.options`: num_gpus in the decorator means a new process each task.
    """
    ours = [name for name in options if name in _OURS]
    if ours:
        raise UsageError(f"ray_options: {ours[0]} is raysearch's own; leave it out")
    fixed: dict[str, Any] = {"max_retries": 0, "enable_task_events": False}
    if streams:
        fixed["num_returns"] = "streaming"
    try:
        return ray.remote(_stream if streams else run).options(**{**fixed, **options})
    except (ValueError, TypeError) as error:
        raise UsageError(f"ray_options: {error}") from error
