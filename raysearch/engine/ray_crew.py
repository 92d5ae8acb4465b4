"""The crew of an evolution strategy as Ray actors.

An actor holds the objective, and is told mean and steps of each generation, which all actors of a
machine read from one place. Everything else it needs are numbers of pairs. So any actor can do any
share: what is lost with one that died is done again by the next that is free.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray
from ray import exceptions as lost

from ..errors import ClusterError
from ..trial import Floats
from .cloud import Cloud, Vector, losses, sums
from .crew import Sums, shares
from .objective import ready
from .ray_machines import Growth, fit, leaving, request_of
from .ray_serialize import warn_if_large
from .ray_session import check_alive

_TRIES = 3  # of a share whose actors died; starts of each actor in a row, likewise
_PATIENCE = 60.0  # seconds without any actor, while there is room
_REFRESH_SECONDS = 1.0


class _Actor:
    """What runs in the actor's process."""

    def __init__(self, box: list[ray.ObjectRef[Any]]) -> None:
        self._box = box

    def hello(self) -> None:
        """It is there, with the objective: what that raises here comes out as it is."""
        objective, data = ray.get(self._box[0])
        device = "cuda:0" if ray.get_gpu_ids() else "cpu"
        self._objective = ready(objective, data, device)

    def losses(self, m: Vector, sigma: Vector, seed: int, generation: int, *of: int) -> Floats:
        return losses(self._objective, Cloud(m, sigma, seed, generation), *of)

    def sums(self, m: Vector, sigma: Vector, seed: int, generation: int, *of: Any) -> Sums:
        return sums(Cloud(m, sigma, seed, generation), *of)


class Actors:
    """A crew of actors; each is replaced when it dies.

    actors       how many, of which a cluster that can grow has a chance to make room for all;
                 None: as many as there is room for, at least one
    ray_options  of each, as of ``ray.remote(...).options``; num_cpus=1 if left out

    `raysearch.arguments.check_running` has checked what they are given. Later they raise
    ClusterTooSmall if there has never been room, and none is to be expected.
    """

    def __init__(
        self,
        objective: Callable[..., Any],
        data: Mapping[str, Any],
        actors: int | None,
        ray_options: Mapping[str, Any],
    ) -> None:
        warn_if_large(objective)
        self._wanted = actors
        self._request = request_of(ray_options)
        self._growth = Growth(ray_options)
        self._room, self._counted = 0, -math.inf
        self._box = [ray.put((objective, dict(data)))]
        self._options = {"num_cpus": 1, "enable_task_events": False, **ray_options}
        self._starting: dict[Any, Any] = {}  # reference of its hello -> actor
        self._lost = 0  # starts in a row
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[int, Any]] = {}  # reference -> share, actor
        self._placed: tuple[Any, Any, Any] = (None, None, None)  # the cloud in the object store

    def losses(self, cloud: Cloud, pairs: int) -> Floats:
        """(2 pairs,) of the members."""
        of = self._shares(pairs)
        return np.concatenate(self._all("losses", cloud, of))

    def sums(self, cloud: Cloud, slope: Vector, spread: Vector | None) -> Sums:
        """Over all pairs."""
        of = [
            (a, slope[a:b], None if spread is None else spread[a:b])
            for a, b in self._shares(len(slope))
        ]
        (g, v), *others = self._all("sums", cloud, of)
        g, v = g.copy(), None if v is None else v.copy()
        for more, wider in others:
            g += more
            if v is not None:
                v += wider
        return g, v

    def close(self) -> None:
        """Kill all, and ask for no room any more."""
        self._growth.close()
        for actor in [*self._starting.values(), *self._idle, *(a for _, a in self._busy.values())]:
            ray.kill(actor)
        self._starting.clear()
        self._idle.clear()
        self._busy.clear()
        self._box.clear()

    # --- shares -------------------------------------------------------------------------------

    def _count(self) -> int:
        """How many actors there is room for, counted once a second."""
        now = time.monotonic()
        if now - self._counted > _REFRESH_SECONDS:
            check_alive()
            self._room, self._counted = fit(self._request, leaving()), now
            self._growth.follow(self._wanted or max(self._room, 1), self._room)
        return self._room

    def _shares(self, pairs: int) -> list[tuple[int, int]]:
        """One for each actor that there is room for; waits for the first."""
        while not self._count():
            time.sleep(0.2)
        return shares(pairs, self._n)

    @property
    def _n(self) -> int:
        """How many actors there are to be."""
        return max(1, min(self._room, self._wanted or self._room))

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
            if self._busy or ready_now or not self._count():
                alive = time.monotonic()
            elif time.monotonic() - alive > _PATIENCE:
                raise ClusterError(f"Ray has started no actor within {_PATIENCE:.0f} s")
            for ref in ready_now:
                self._hear(ref, waiting, found, deaths)
        return found

    def _hear(self, ref: Any, waiting: deque[int], found: list[Any], deaths: Counter[int]) -> None:
        share, actor = self._busy.pop(ref, (None, self._starting.pop(ref, None)))
        try:
            value = ray.get(ref)
        except lost.RayTaskError as error:
            self._idle.append(actor)
            raise error.cause from None
        except lost.RayError as error:  # it has died, or its machine has
            if share is None:
                self._lost += 1
                if self._lost >= _TRIES * self._n:
                    raise ClusterError(
                        f"{self._lost} actors in a row died before they were ready: {error}"
                    ) from None
                return
            deaths[share] += 1
            if deaths[share] >= _TRIES:
                raise ClusterError(
                    f"the actor that evaluated the members died {_TRIES} times in a row: {error}"
                ) from None
            waiting.append(share)
            return
        self._idle.append(actor)
        if share is None:
            self._lost = 0
        else:
            found[share] = value

    def _replace(self) -> None:
        while len(self._starting) + len(self._idle) + len(self._busy) < self._n:
            actor = ray.remote(_Actor).options(**self._options).remote(self._box)
            self._starting[actor.hello.remote()] = actor
