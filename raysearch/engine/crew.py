"""Who evaluates a generation of an evolution strategy: this process, or Ray actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from ..trial import Floats
from .cloud import Cloud, Vector, losses, sums
from .objective import ready

Sums = tuple[Vector, Vector | None]


class Crew(Protocol):
    """Does the work of a generation, in shares."""

    def losses(self, cloud: Cloud, pairs: int) -> Floats:
        """(2 pairs,) of the members."""

    def sums(self, cloud: Cloud, slope: Vector, spread: Vector | None) -> Sums:
        """As of `raysearch.engine.cloud.sums`, over all pairs."""


class Here:
    """Everything is one share, and done in this process."""

    def __init__(self, objective: Callable[..., Any], data: Mapping[str, Any]) -> None:
        self._objective = ready(objective, data)

    def losses(self, cloud: Cloud, pairs: int) -> Floats:
        """(2 pairs,) of the members."""
        return losses(self._objective, cloud, 0, pairs)

    def sums(self, cloud: Cloud, slope: Vector, spread: Vector | None) -> Sums:
        """Over all pairs."""
        return sums(cloud, 0, slope, spread)


@contextmanager
def open_crew(
    objective: Callable[..., Any],
    data: Mapping[str, Any],
    address: str | None,
    actors: int | None,
    ray_options: Mapping[str, Any],
) -> Iterator[Crew]:
    """The crew for an address, for as long as it is needed."""
    if address == "inline":
        yield Here(objective, data)
        return
    from .ray_crew import Actors
    from .ray_session import connect

    with connect(address):
        crew = Actors(objective, data, actors, ray_options)
        try:
            yield crew
        finally:
            crew.close()


def shares(pairs: int, n: int) -> list[tuple[int, int]]:
    """The first pair of each of n shares, and the pair behind its last one; none is empty."""
    bounds = np.linspace(0, pairs, min(n, pairs) + 1).round().astype(int).tolist()
    return list(pairwise(bounds))
