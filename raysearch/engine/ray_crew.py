"""The crew of an evolution strategy as Ray actors.

An actor holds the objective, and is told mean and steps of each generation, which all actors of a
machine read from one place. Everything else it needs are numbers of pairs. So any actor can do any
share: what is lost with one that died is done again by the next that is free.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray
from ray import exceptions as lost

from ..errors import ClusterError, ClusterTooSmall
from ..trial import Floats
from .cloud import Cloud, Vector, losses, sums
from .crew import Sums, shares
from .objective import ready
from .ray_machines import fit, leaving, request_of, too_large
from .ray_serialize import check_serializable, warn_if_large
from .ray_session import check_alive

_TRIES = 3  # of a share whose actors died
_PATIENCE = 60.0  # seconds without any actor


class _Actor:
    """What runs in the actor's process."""

    def __init__(self, box: list[ray.ObjectRef[Any]]) -> None:
        objective, data = ray.get(box[0])
        device = "cuda:0" if ray.get_gpu_ids() else "cpu"
        self._objective = ready(objective, data, device)

    def hello(self) -> None:
        """It is there."""

    def losses(self, m: Vector, sigma: Vector, seed: int, generation: int, *of: int) -> Floats:
        return losses(self._objective, Cloud(m, sigma, seed, generation), *of)

    def sums(self, m: Vector, sigma: Vector, seed: int, generation: int, *of: Any) -> Sums:
        return sums(Cloud(m, sigma, seed, generation), *of)


class Actors:
    """A crew of actors; each is replaced when it dies.

    actors       how many; None: as many as there is room for
    ray_options  of each, as of ``ray.remote(...).options``; num_cpus=1 if left out

    Raises ObjectiveError if the objective cannot be sent, ClusterTooSmall if there is no room.
    """

    def __init__(
        self,
        objective: Callable[..., Any],
        data: Mapping[str, Any],
        actors: int | None,
        ray_options: Mapping[str, Any],
    ) -> None:
        check_serializable(objective)
        warn_if_large(objective)
        request = request_of(ray_options)
        room = fit(request, leaving())
        if not room:
            raise ClusterTooSmall(too_large(request))
        self._n = min(room, actors or room)
        self._box = [ray.put((objective, dict(data)))]
        self._options = {"num_cpus": 1, "enable_task_events": False, **ray_options}
        self._starting: dict[Any, Any] = {}  # reference of its hello -> actor
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[int, Any]] = {}  # reference -> share, actor
        self._placed: tuple[Any, Any, Any] = (None, None, None)  # the cloud in the object store

    def losses(self, cloud: Cloud, pairs: int) -> Floats:
        """(2 pairs,) of the members."""
        of = shares(pairs, self._n)
        return np.concatenate(self._all("losses", cloud, of))

    def sums(self, cloud: Cloud, slope: Vector, spread: Vector | None) -> Sums:
        """Over all pairs."""
        of = [
            (a, slope[a:b], None if spread is None else spread[a:b])
            for a, b in shares(len(slope), self._n)
        ]
        (g, v), *others = self._all("sums", cloud, of)
        g, v = g.copy(), None if v is None else v.copy()
        for more, wider in others:
            g += more
            if v is not None:
                v += wider
        return g, v

    def close(self) -> None:
        """Kill all."""
        for actor in [*self._starting.values(), *self._idle, *(a for _, a in self._busy.values())]:
            ray.kill(actor)
        self._starting.clear()
        self._idle.clear()
        self._busy.clear()
        self._box.clear()

    # --- shares -------------------------------------------------------------------------------

    def _all(self, method: str, cloud: Cloud, of: list[Any]) -> list[Any]:
        """What the actors return for the arguments of each share."""
        if self._placed[0] is not cloud:
            self._placed = (cloud, ray.put(cloud.m), ray.put(cloud.sigma))
        arguments = (*self._placed[1:], cloud.seed, cloud.generation)
        waiting, found, deaths = deque(range(len(of))), [None] * len(of), Counter[int]()
        alive = time.monotonic()
        while waiting or self._busy:
            self._replace()
            while waiting and self._idle:
                share, actor = waiting.popleft(), self._idle.pop()
                ref = getattr(actor, method).remote(*arguments, *of[share])
                self._busy[ref] = share, actor
            refs = [*self._busy, *self._starting]
            ready_now, _ = ray.wait(refs, num_returns=1, timeout=1)
            if not ready_now:
                check_alive()
            if self._busy or ready_now:
                alive = time.monotonic()
            elif time.monotonic() - alive > _PATIENCE:
                raise ClusterError(f"Ray has started no actor within {_PATIENCE:.0f} s")
            for ref in ready_now:
                self._hear(ref, waiting, found, deaths)
        return found

    def _hear(self, ref: Any, waiting: deque[int], found: list[Any], deaths: Counter[int]) -> None:
        starting = self._starting.pop(ref, None)
        share, actor = self._busy.pop(ref, (-1, starting))
        try:
            value = ray.get(ref)
        except lost.RayTaskError as error:
            self._idle.append(actor)
            raise error.cause from None
        except lost.RayError as error:  # it has died, or its machine has
            deaths[share] += 1
            if deaths[share] >= _TRIES:
                raise ClusterError(
                    f"the actor that evaluated the members died {_TRIES} times in a row: {error}"
                ) from None
            if share >= 0:
                waiting.append(share)
            return
        self._idle.append(actor)
        if share >= 0:
            found[share] = value

    def _replace(self) -> None:
        while len(self._starting) + len(self._idle) + len(self._busy) < self._n:
            actor = ray.remote(_Actor).options(**self._options).remote(self._box)
            self._starting[actor.hello.remote()] = actor
