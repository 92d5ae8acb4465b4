"""Which search is simulated, and how much goes wrong in it: all drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import rng
from ...simulate.executor import Outage
from ...space import Choice, Float, Int, Space
from ...strategies.annealing import SimulatedAnnealing
from ...strategies.asha import ASHA
from ...strategies.asha_stopping import StoppingASHA
from ...strategies.base import AnyStrategy
from ...strategies.grid import GridSearch
from ...strategies.local_search import LocalSearch
from ...strategies.quasi_random import QuasiRandom
from ...strategies.random import RandomSearch
from ...strategies.successive_halving import SuccessiveHalving

_HOUR = 3600 * 10**9  # ns

WIDE = Space(
    {
        "x": Float(-1, 1),
        "n": Int(1, 100, log=True),
        "kind": Choice(["a", "b", "c"]),
        "depth": Int(1, 5).when(kind="b"),
    }
)
NARROW = Space({"x": Float(0, 1, step=0.25), "kind": Choice(["a", "b"]), "n": Int(1, 3)})

_STRATEGIES: tuple[AnyStrategy, ...] = (
    RandomSearch(),
    QuasiRandom(),
    LocalSearch(chains=1),
    LocalSearch(chains=3),
    SimulatedAnnealing(),
)
#: whose trials are generators
_FIDELITIES: tuple[AnyStrategy, ...] = (
    ASHA(max_budget=9),
    ASHA(LocalSearch(), max_budget=9),
    SuccessiveHalving(max_budget=9),
    StoppingASHA(LocalSearch(), max_budget=9),
)


@dataclass(frozen=True)
class Scenario:
    """One search and its troubles.

    space, strategy, seed, trials, workers, retries   as of `raysearch.search`
    reproducible  likewise
    scale         typical seconds of a trial
    poison        trials that kill their worker, whenever they run
    failing       trials that end with an error, whenever they run
    crashes, preemptions                shares of tasks whose worker dies
    delays, copies, losses              shares of events that come late, twice, or not at all
    outages       of workers
    skew          ns between the clocks of the driver and of some workers
    jumps         share of the driver's looks at its clock before which somebody sets it
    disk_full, disk_broken              shares of writes that fail
    deaths        for each of the first sessions, the step at which its driver dies
    stops         share of rounds in which somebody wants the search to end
    time_limits   share of sessions with a time limit
    grows         whether the study's files can grow, or are objects in a store
    """

    space: Space
    strategy: AnyStrategy
    seed: int
    trials: int
    workers: int
    retries: int = 1
    reproducible: bool = False
    scale: float = 1.0
    poison: frozenset[int] = frozenset()
    failing: frozenset[int] = frozenset()
    crashes: float = 0.0
    preemptions: float = 0.0
    delays: float = 0.0
    copies: float = 0.0
    losses: float = 0.0
    outages: tuple[Outage, ...] = ()
    skew: int = 0
    jumps: float = 0.0
    disk_full: float = 0.0
    disk_broken: float = 0.0
    deaths: tuple[int, ...] = ()
    stops: float = 0.0
    time_limits: float = 0.0
    grows: bool = True

    def calm(self) -> Scenario:
        """The same search without troubles, but for those that are the trials' own."""
        return Scenario(
            self.space,
            self.strategy,
            self.seed,
            self.trials,
            self.workers,
            self.retries,
            self.reproducible,
            self.scale,
            self.poison,
            self.failing,
        )


def draw_scenario(seed: int) -> Scenario:
    """The scenario of a seed; each trouble is there in one of two."""
    draw = rng.generator(seed, 0)

    def maybe(most: float) -> float:
        return float(draw.random() * most) if draw.random() < 0.5 else 0.0

    space = (WIDE, NARROW)[draw.integers(2)]
    kinds = (*_STRATEGIES, GridSearch() if space is NARROW else RandomSearch())
    if space is WIDE and draw.random() < 0.5:
        kinds = _FIDELITIES
    strategy = kinds[draw.integers(len(kinds))]
    trials = int(draw.integers(1, 41))
    workers = int(draw.integers(1, 7))
    scale = float(10 ** draw.uniform(-4, 2))
    odd = draw.random((2, trials))
    share = maybe(0.2), maybe(0.2)
    outages = []
    for _ in range(draw.integers(4)):
        begin = draw.random() * scale * trials / workers
        first, last = sorted(draw.integers(0, workers + 1, 2).tolist())
        workers_ = range(workers) if draw.random() < 0.3 else range(first, last)
        outages.append(Outage(begin, begin + scale * (0.1 + 5 * draw.random()), workers_))
    return Scenario(
        space,
        strategy,
        seed=int(draw.integers(2**32)),
        trials=trials,
        workers=workers,
        retries=int(draw.integers(3)),
        reproducible=bool(draw.random() < 0.5),
        scale=scale,
        poison=frozenset(np.flatnonzero(odd[0] < share[0]).tolist()),
        failing=frozenset(np.flatnonzero(odd[1] < share[1]).tolist()),
        crashes=maybe(0.3),
        preemptions=maybe(0.3),
        delays=maybe(1.0),
        copies=maybe(0.5),
        losses=maybe(0.2),
        outages=tuple(outages),
        skew=_HOUR if draw.random() < 0.3 else 0,
        jumps=maybe(0.1),
        disk_full=maybe(0.3),
        disk_broken=maybe(0.05),
        deaths=tuple((10 ** draw.uniform(0, 3, draw.integers(5))).astype(int).tolist()),
        stops=maybe(0.1),
        time_limits=maybe(0.5),
        grows=bool(draw.random() < 0.7),
    )
