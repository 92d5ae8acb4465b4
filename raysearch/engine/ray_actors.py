"""Runs the trials of a class in Ray actors, each with an instance that lives as long as the search.

What an instance opens (data, a device) is opened once per actor. An actor that dies takes its
task with it, as a worker does, and the next task gets a new one. One that is cancelled is
interrupted if it runs Python code or waits in the kernel; what does not listen is killed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray
from ray import exceptions as lost

from .passage import Passed
from .ray_shared import FOLLOWS
from .ray_tasks import RayTasks
from .ray_workers import run, stream_task
from .records import Elsewhere, Job, Reports, Results, Task
from .saved import Packed

_SIGNAL = signal.SIGURG  # ignored where nobody handles it, so that it can do no harm
_SMALL = 100_000  # bytes that travel with a message
_LOOK = 0.1  # seconds between two looks whether a task has been cancelled


def in_actors(
    job: Job, ray_options: Mapping[str, Any] | None = None, concurrency: int | None = None
) -> RayTasks:
    """An executor for an objective that is a class; arguments and errors are as of `RayTasks`.

    As many actors as tasks can run at once are started, each when it is needed.
    """
    return RayTasks(job, ray_options, concurrency, Actors)


class Actor:
    """What runs in the actor's process, where `ray_workers.opened` keeps the instance."""

    def run(self, sent: Any) -> Results | Passed:
        """One task."""
        with _listening():
            return run(sent)

    @ray.method(num_returns="streaming")  # type: ignore[untyped-decorator]
    def stream(self, sent: Any) -> Iterator[tuple[str, Reports | Results] | Packed]:
        """One task of generators. What is large of their states comes after the reports with it.

        So it goes into the object store before the training goes on, and belongs to the driver,
        which gets no more than a reference.
        """
        following: list[Packed] = []

        def put(state: Packed) -> bytes | Elsewhere:
            if state.size <= _SMALL:
                return state.tobytes()
            following.append(state)
            return FOLLOWS

        with _listening():
            for part in stream_task(sent, put):
                yield part
                while following:
                    yield following.pop(0)


class Actors:
    """Workers (see `ray_workers.Workers`) that are actors of this search alone."""

    def __init__(self, ray_options: Mapping[str, Any], streams: bool) -> None:
        self._options = {"num_cpus": 1, **ray_options}
        self._streams = streams
        self._idle: list[Any] = []
        self._busy: dict[int, Any] = {}
        self._at: dict[Any, int] = {}  # the last trial of each, where trials have parents
        self._killed: set[int] = set()  # tasks
        self._made = 0

    def room(self, slots: int) -> bool:
        """Where an actor is idle, or may be started."""
        return bool(self._idle) or len(self._busy) < slots

    def begin(self, task: int, sent: Any) -> Any:
        """In an actor that is idle, or a new one."""
        if not self._streams:
            actor = self._busy[task] = self._idle.pop() if self._idle else self._new()
            return actor.run.remote(sent)
        actor = self._busy[task] = self._nearest(sent[1])
        return actor.stream.remote(sent)

    def _nearest(self, task: Task) -> Any:
        """An actor for the task, best the one in which the training that goes on has its place."""
        sources = {start.number for start in task.starts.values()}
        idle = sorted(self._idle, key=lambda actor: self._at.get(actor) in sources)
        actor = idle[-1] if idle else self._new()
        if idle:
            self._idle.remove(actor)
        self._at[actor] = int(task.trials.number[-1])
        return actor

    def force(self, task: int, ref: Any) -> None:
        """Kill the actor."""
        self._killed.add(task)
        ray.kill(self._busy[task])

    def over(self, task: int, error: Exception | None) -> None:
        """Keep the actor, unless there may be something wrong with it."""
        actor = self._busy.pop(task)
        ended = error is None or isinstance(error, lost.TaskCancelledError)
        if ended and task not in self._killed:
            self._idle.append(actor)
        else:
            ray.kill(actor)
            self._at.pop(actor, None)
            self._killed.discard(task)

    def close(self) -> None:
        """Kill all."""
        for actor in [*self._idle, *self._busy.values()]:
            ray.kill(actor)
        self._idle.clear()
        self._busy.clear()

    def _new(self) -> Any:
        self._made += 1
        options = dict(self._options)
        if "name" in options:  # no two actors may have the same
            options["name"] = f"{options['name']} {self._made}"
        # through options: num_gpus in the decorator would mean something else for tasks
        return ray.remote(Actor).options(enable_task_events=False, **options).remote()


@contextmanager
def _listening() -> Iterator[None]:
    """Inside, KeyboardInterrupt is raised once the task is cancelled.

    Ray only raises a flag, which is seen from the actor's main thread alone. So a signal makes
    that thread look, again and again; it interrupts what waits in the kernel, too.
    """
    main, over = threading.main_thread().ident, threading.Event()
    assert main == threading.get_ident(), "Ray runs methods in an actor's main thread"
    context = ray.get_runtime_context()

    def look(number: int, frame: FrameType | None) -> None:
        if not over.is_set() and context.is_canceled():
            over.set()
            raise KeyboardInterrupt

    def remind() -> None:
        while not over.wait(_LOOK):
            signal.pthread_kill(main, _SIGNAL)

    before = signal.signal(_SIGNAL, look)
    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield
    finally:
        over.set()
        reminder.join()
        signal.signal(_SIGNAL, before)
