"""Packs trials onto GPUs by what they take of them: ``ray_options={"num_gpus": "auto"}``.

Functions run in actors, too, as classes do. An actor has its share, and one device, as long as it
lives; once it is dead, all its memory is free, CUDA's own included. When shares change, actors that
are idle end at once, the others after their task.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import ray

from ..trial import FAILED
from .device_memory import measure
from .objective import examine
from .packing import LEVELS, Packing, out_of_memory, room, shared
from .ray_actors import Actors
from .ray_machines import fit, request_of
from .ray_tasks import RayTasks
from .records import Done, ExecutorEvent, Job, Lost, Reported, Reports, Results

_CROWDED = "GPU memory ran out while it shared a GPU; it runs again with a larger share"
_UNKNOWN = (
    'ray_options: num_gpus="auto" gives each trial a whole GPU, since nobody knows how much memory '
    "it takes: it uses neither torch nor cupy, and nvidia-ml-py is not there or cannot tell; "
    "install that, or give a number"
)


class Sharing(Actors):
    """Actors that share GPUs, by so many a GPU as is said last.

    held  task -> of how many it was to be, when it began
    """

    def __init__(self, ray_options: Mapping[str, Any], streams: bool) -> None:
        super().__init__(ray_options, streams)
        self.held: dict[int, int] = {}
        self._sharers = 1

    def share(self, sharers: int) -> None:
        """End what is idle; new actors have such a share."""
        self._sharers = sharers
        self._options = shared(self._options, sharers)
        for actor in self._idle:
            ray.kill(actor)
            self._at.pop(actor, None)
        self._idle.clear()

    def begin(self, task: int, sent: Any) -> Any:
        """With the share that is given now."""
        self.held[task] = self._sharers
        return super().begin(task, sent)

    def over(self, task: int, error: Exception | None) -> None:
        """Keep the actor only if its share is still the one given."""
        if self.held.pop(task) != self._sharers:
            self._killed.add(task)
        super().over(task, error)


class RayPacked(RayTasks):
    """An executor that packs; arguments and errors are as of `RayTasks`, as with ``num_gpus=1``."""

    def __init__(
        self,
        job: Job,
        ray_options: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        self._options = shared(ray_options or {})
        self._packing, self._sharers, self._warned = Packing(), 1, False
        self._actors = Sharing(self._options, examine(job.objective).reports)
        job = replace(job, probe=job.probe or measure)
        super().__init__(job, self._options, concurrency, lambda *_: self._actors)

    def slots(self) -> int:
        """How many fit, as far as those leave room that began with other shares."""
        slots, held = super().slots(), self._actors.held.values()
        if all(sharers == self._sharers for sharers in held):
            return slots
        return min(slots, room(fit({"GPU": 1.0}, self._leaving), held, self._sharers))

    def _hear(self, ref: Any) -> Iterator[ExecutorEvent]:
        sharers = self._actors.held[self._tasks[ref]]
        for event in super()._hear(ref):
            yield self._learn(event, sharers)

    def _learn(self, event: ExecutorEvent, sharers: int) -> ExecutorEvent:
        """What the event tells about memory; one that ran out while it was shared is no failure."""
        if _ran_out(event):
            self._adopt(self._packing.ran_out(sharers), anew=True)
            return event if sharers == 1 else Lost(event.task, "crowded", _CROWDED)
        packing = self._packing
        match event:
            case Done(_, Results(memory=memory)) | Reported(_, Reports(memory=memory)) if memory:
                packing = packing.saw(memory)
            case Done(_, Results(errors=errors)) if not (errors or self._warned):
                if packing == Packing():
                    self._warned = True
                    warnings.warn(_UNKNOWN, stacklevel=2)
        if isinstance(event, Done):
            packing = packing.went_well(sharers)
        self._adopt(packing)
        return event

    def _adopt(self, packing: Packing, anew: bool = False) -> None:
        """Go on with what has been learnt; anew: the memory of idle actors may be in disorder."""
        before, fitting = self._sharers, self._packing.sharers
        self._packing = packing
        if packing.sharers != fitting:
            self._sharers = min(packing.sharers, self._useful())
        if self._sharers != before:
            options = shared(self._options, self._sharers)
            self._request = request_of(options)
            self._growth.ask_for(options)
            self._slots = fit(self._request, self._leaving)
        if self._sharers != before or anew:
            self._actors.share(self._sharers)

    def _useful(self) -> int:
        """So many a GPU use all that can run at once; with more, Ray would leave GPUs empty."""
        gpus = max(1, fit({"GPU": 1.0}, self._leaving))
        most = fit(request_of(shared(self._options, LEVELS[-1])), self._leaving)
        return max(1, -(-int(min(most, self._concurrency)) // gpus))


def _ran_out(event: ExecutorEvent) -> bool:
    """Whether GPU memory ran out: in a trial, or where a class was made an instance of."""
    match event:
        case Lost(_, "node", message):
            return out_of_memory(message)
        case Done(_, Results(errors=errors, state=state)):
            return any(state[i] == FAILED and out_of_memory(why) for i, why in errors.items())
    return False
