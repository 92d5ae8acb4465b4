"""Runs tasks as Ray tasks: one for each batch of trials, so that a batch costs what one does.

The job is put into the object store once, and taken out once by every worker process.
Ray's own retries are off; what becomes of a lost task is the engine's business.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ray
from ray import exceptions as lost

from ..errors import ClusterError, ObjectiveError, UsageError
from ..space import Space
from .objective import examine
from .packing import is_auto, shared
from .ray_machines import Growth, fit, leaving, request_of
from .ray_serialize import check_serializable, warn_if_large
from .ray_session import check_alive
from .ray_shared import Follows, Shared
from .ray_workers import Picked, Workers, remote
from .records import Checkpoint, Done, ExecutorEvent, Job, Lost, Reported, Reports, Task

_REFRESH_SECONDS = 1.0
_GRACE = 0.5  # seconds that a task has to end once it is asked to, and then between two blows
_CRASHED = (
    "its worker died: by a signal, a segmentation fault, os._exit, or because it hung beyond "
    "its timeout; what it wrote last is in the study's run.log"
)
_LEFT = "its machine is about to be taken away"


def check_sendable(objective: Callable[..., Any], ray_options: Mapping[str, Any]) -> None:
    """Refuse, before Ray is needed, what it would not take.

    Raises ObjectiveError, or UsageError for an option that Ray does not know.
    """
    examine(objective)
    check_serializable(objective)
    options = shared(ray_options) if is_auto(ray_options) else ray_options
    remote(options)
    request_of(options)


class RayTasks:
    """An executor on the Ray that this process is connected to.

    job          what all trials share; refused here if it cannot be sent
    ray_options  for each task, as of ``ray.remote(...).options``; num_cpus=1 if left out
    concurrency  at most so many tasks at once
    workers      who runs tasks, made of (ray_options, whether they are generators)

    Raises ObjectiveError, UsageError (an option that Ray does not know) or ClusterError (a
    request that no machine can meet; where an autoscaler could start one, `slots` raises it
    later).
    """

    interruptible = False

    def __init__(
        self,
        job: Job,
        ray_options: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        workers: Callable[[Mapping[str, Any], bool], Workers] = Picked,
    ) -> None:
        check_sendable(job.objective, ray_options or {})
        warn_if_large(job.objective)
        self._concurrency = math.inf if concurrency is None else concurrency
        self._streams = examine(job.objective).reports
        self._workers = workers(ray_options or {}, self._streams)
        self._request = request_of(ray_options or {})
        self._growth = Growth(ray_options or {})
        self._wanted, self._slots, self._counted = 1, 0, -math.inf
        self._leaving: Mapping[str, int] = {}  # machines that are about to be taken away
        self._job: ray.ObjectRef[Any] | None = _put(job)
        self._tasks: dict[Any, int] = {}  # by reference, or generator of references
        self._over: dict[Any, Any] = {}  # the end of a task that was cancelled -> its stream
        self._waiting: deque[Task] = deque()  # Ray would run them beside the others
        self._cancelled: dict[int, float] = {}  # and when each is to be forced
        self._moved: set[int] = set()  # of these, the ones that are to go on elsewhere
        self._proved = False  # whether any task has come back with something
        self._node = ray.get_runtime_context().get_node_id()
        self._events: list[ExecutorEvent] = []  # of tasks cancelled while they waited
        self.slots()

    def want(self, tasks: int) -> None:
        """So many tasks could run at once; a cluster that can grow is asked for room."""
        self._wanted = tasks

    def slots(self) -> int:
        """How many tasks fit on the machines that there are, counted once a second."""
        now = time.monotonic()
        if now - self._counted > _REFRESH_SECONDS:
            check_alive()
            self._leaving = leaving()
            self._slots, self._counted = fit(self._request, self._leaving), now
            self._growth.follow(int(min(self._wanted, self._concurrency)), self._slots)
        return int(min(self._slots, self._concurrency))

    def submit(self, task: Task) -> None:
        """Hand the task to Ray, which starts it as soon as the resources are free."""
        self._waiting.append(task)
        self._send()

    def _send(self) -> None:
        while self._waiting and len(self._tasks) < self._concurrency:
            if not self._workers.room(self.slots()):
                break
            task = self._waiting.popleft()
            trials, columns = task.trials, task.trials.columns
            if self._streams:
                bare = replace(columns, parameters={})  # the worker has them
                starts = {i: self._sent(start, task) for i, start in task.starts.items()}
                trials = replace(trials, columns=bare)
                sent: Any = self._job, replace(task, trials=trials, starts=starts)
            else:
                sent = (
                    self._job,
                    trials.number,
                    columns.numbers,
                    columns.active,
                    trials.budget,
                    task.stretch,
                )
            self._tasks[self._workers.begin(task.id, sent)] = task.id

    def _sent(self, start: Checkpoint, task: Task) -> Checkpoint:
        """The checkpoint as a worker gets it: without its bytes, where workers have them.

        They may be lost just then: a second attempt gets the bytes.
        """
        first = task.attempts is None or task.attempts.max() < 2
        if start.near is not None and first:
            return replace(start, data=b"")
        return replace(start, near=None).in_bytes()

    def cancel(self, task: int) -> None:
        """Raise KeyboardInterrupt in it; after a moment, end its worker."""
        if any(waiting.id == task for waiting in self._waiting):
            self._waiting = deque(waiting for waiting in self._waiting if waiting.id != task)
            self._events.append(Lost(task, "cancelled", "before it began"))
        ref = next((ref for ref, number in self._tasks.items() if number == task), None)
        if ref is not None and task not in self._cancelled:
            self._cancelled[task] = time.monotonic() + _GRACE
            ray.cancel(ref, force=False)
            if self._streams:  # which is over at once now, while the task is not
                del self._tasks[ref]
                end = ref.completed()
                self._tasks[end], self._over[end] = task, ref

    def _force(self) -> float:
        """End what has not listened; seconds until that is to be done again."""
        now, left = time.monotonic(), _GRACE
        for task, deadline in list(self._cancelled.items()):
            if deadline <= now:
                self._cancelled[task] = now + _GRACE  # Ray may miss it while it still asks
                for ref in [ref for ref, number in self._tasks.items() if number == task]:
                    self._workers.force(task, self._over.get(ref, ref))
            left = min(left, self._cancelled[task] - now)
        return left

    def poll(self, timeout: float) -> Sequence[ExecutorEvent]:
        """All tasks that are over, and all reports; waits for one."""
        if self._cancelled:
            timeout = min(timeout, self._force())
        if self._events:
            events, self._events = self._events, []
            return events
        self._send()  # there may be machines again
        if not self._tasks:
            time.sleep(timeout)
            return []
        pending = list(self._tasks)
        ready, _ = ray.wait(pending, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        events = [event for ref in ready for event in self._hear(ref)]
        self._send()
        return events

    def close(self) -> None:
        """End what runs, and let go of the job and its data."""
        self._waiting.clear()
        with suppress(ClusterError):  # without a head, what runs ends by itself
            check_alive()
            self._end()
        self._tasks.clear()
        self._over.clear()
        self._job = None

    def _end(self) -> None:
        self._growth.close()
        for task in list(self._tasks.values()):
            self.cancel(task)
        if self._tasks:
            ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_GRACE)
        for ref, number in self._tasks.items():
            self._workers.force(number, self._over.get(ref, ref))
        self._workers.close()

    def _hear(self, ref: Any) -> Iterator[ExecutorEvent]:
        """What a reference, or all that is there of a generator of such, brings.

        A trial that has saved on a machine that is about to leave is ended, to go on elsewhere.
        """
        task, node = self._tasks[ref], ""
        failed: Exception | None = None
        while True:
            try:
                found = ray.get(next(ref) if isinstance(ref, ray.ObjectRefGenerator) else ref)
                if isinstance(found, tuple):
                    node, found = found
                if isinstance(found, Reports) and found.saved:
                    saved = [self._found(checkpoint, ref, node) for checkpoint in found.saved]
                    found = replace(found, saved=tuple(saved))
            except Exception as error:
                event: ExecutorEvent = self._missing(task, error)
                failed = error
                break
            self._proved = True
            if not isinstance(found, Reports) or task in self._cancelled:
                event = Done(task, found)
                break
            yield Reported(task, found)
            if found.saved and node in self._leaving:
                self._moved.add(task)
                self.cancel(task)
                return
            if not ref.next_ready():
                return
        del self._tasks[ref]
        self._over.pop(ref, None)
        self._workers.over(task, failed)
        if self._cancelled.pop(task, None) is not None:  # what it returns may be due to that
            moved = task in self._moved
            self._moved.discard(task)
            event = Lost(task, "moved", _LEFT) if moved else Lost(task, "cancelled", "on request")
        yield event

    def _found(self, saved: Checkpoint, ref: Any, node: str) -> Checkpoint:
        """The checkpoint as the log gets it: what might be lost with another machine in bytes."""
        if not isinstance(saved.data, Follows):
            return saved
        near = Shared(next(ref))
        state = near.get()  # where it lies on this machine, nothing is copied
        return replace(saved, data=near if node == self._node else state.tobytes(), near=near)

    def _missing(self, task: int, error: Exception) -> ExecutorEvent:
        """What became of a task that brings this instead of results."""
        cause = error.cause if isinstance(error, lost.RayTaskError) else None
        if not isinstance(cause, ObjectiveError):
            return _lost(task, error)
        if self._proved:  # elsewhere it works: no fault of the trial
            return Lost(task, "node", str(cause))
        raise cause


def _lost(task: int, error: Exception) -> Lost:
    message = str(error).strip()
    match error:
        case StopIteration():
            return Lost(task, "node", "it has ended without results")
        case lost.OutOfMemoryError():
            return Lost(task, "oom", message.partition("\nObject store")[0])  # then others
        case lost.TaskCancelledError():  # nobody has cancelled it
            return Lost(task, "crashed", "a KeyboardInterrupt ended it")
        case lost.WorkerCrashedError():
            return Lost(task, "crashed", _CRASHED)
        case lost.ActorDiedError() if "worker process has died" in message:
            return Lost(task, "crashed", _CRASHED)
        case lost.RayTaskError(cause=cause) if not isinstance(cause, lost.ObjectLostError):
            return Lost(task, "refused", f"{type(cause).__name__}: {cause}")
        case lost.RuntimeEnvSetupError() | lost.TaskUnschedulableError():
            return Lost(task, "refused", message)
    return Lost(task, "node", f"{type(error).__name__}: {message}")


# --- what is sent -----------------------------------------------------------------------------


def _put(job: Job) -> ray.ObjectRef[Any]:
    """The job in the object store, its data in entries of their own, without constraints."""
    data = {}
    for name, value in job.data.items():
        try:
            data[name] = ray.put(value)
        except Exception as error:
            raise UsageError(
                f"data[{name!r}]: it must be sent to workers, but a {type(value).__name__} "
                f"cannot be serialized: {error}"
            ) from error
    try:
        return ray.put(replace(job, space=Space(job.space.parameters), data=data))
    except Exception as error:  # the objective has passed: it is an object of a Choice
        raise ObjectiveError(
            f"space: the values of a Choice must be sent to workers, but: {error}; use names, "
            "and look the objects up in the objective"
        ) from error
