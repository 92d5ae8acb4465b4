"""Searches in virtual time: the real engine, strategy and objective, with pretended workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .. import strategies
from ..arguments import check_running, limits_of, objectives_of, space_of
from ..choosing import settled
from ..engine.driver import Driver
from ..engine.evaluate import evaluate
from ..engine.loop import Loop
from ..engine.objective import examine, ready
from ..engine.objectives import to_json
from ..engine.proposer import Host, Proposer
from ..engine.records import Finished, Job, Trials
from ..errors import UsageError
from ..rng import check_seed
from ..space import Parameter, Space
from ..strategies.base import ANY_NUMBER, AnyStrategy
from ..study import Study
from ..trial import Floats
from .chance import Duration, Fates, Mishap, durations_of
from .clock import START, VirtualClock
from .executor import Outage, SimulatedExecutor, no_mishap
from .ledger import Ledger
from .result import Simulation
from .streams import run_through


def run(
    objective: Callable[..., Any],
    space: Space | Mapping[str, Parameter],
    strategy: AnyStrategy | None = None,
    *,
    workers: int,
    trials: int | None = None,
    time_limit: float | None = None,
    duration: Duration = 1.0,
    metric: str | Mapping[str, str] = "loss",
    mode: str = "min",
    require: Mapping[str, str] | None = None,
    seed: int = 0,
    retries: int = 1,
    max_failures: int | None = 10,
    reproducible: bool = False,
    mishaps: Sequence[Mishap] = (),
    outages: Sequence[Outage] = (),
    resolution: float = 0.0,
    charge_driver: bool = False,
    dispatch: float = 0.0,
) -> Simulation:
    """Search in virtual time, as `raysearch.search` would with that many workers.

    objective      is really called, in this process, as soon as a trial is submitted;
                   how long that takes does not count
    workers        how many trials can run at once
    duration       how long trials take: seconds, a function of the configuration,
                   `LogNormal` or `Measured`; where they have budgets, per unit of the
                   budget; of a generator, how long each of its steps takes
    time_limit     virtual seconds
    mishaps        `Crashes`, `Preemptions`
    outages        of workers, planned
    resolution     virtual seconds: trials that end so soon after another are told with it,
                   which makes large simulations faster; little against `duration`
    charge_driver  let the processor time that the driver really takes on this machine pass
                   in virtual time, too: shows what it holds up, but is not reproducible
    dispatch       virtual seconds of the driver for each task: what Ray takes to hand it out

    Other arguments and exceptions are as for `raysearch.search`. With the same arguments
    the same comes out, to the bit.

    >>> import raysearch as rs
    >>> from raysearch import simulate
    >>> space = rs.Space({"x": rs.Float(-1, 1)})
    >>> result = simulate.run(lambda c: c["x"] ** 2, space, workers=8, trials=64, duration=60)
    >>> result.makespan, result.utilisation
    (480.0, 1.0)
    """
    space = space_of(space)
    objectives = objectives_of(metric, mode, require)
    seed = check_seed(seed)
    check_workers(workers)
    if trials is None and time_limit is None and math.isinf(space.size):
        raise UsageError("trials: expected how many, or a time_limit; else this goes on for ever")
    limits = limits_of(
        START,
        trials=trials,
        time_limit=time_limit,
        retries=retries,
        max_failures=max_failures,
        timeout=None,
    )
    check_running(
        objective,
        concurrency=workers,
        reproducible=reproducible,
        ray_options=None,
        data=None,
        address="inline",
    )
    strategy, _ = settled(strategy, space, objectives, trials=limits.trials, slots=workers)
    objectives = replace(objectives, cost=strategy.costs())
    proposer = Proposer(strategy, space, objectives, seed, reproducible=reproducible)
    job = Job(
        ready(objective, {}),
        space,
        objectives,
        seed,
        reproducible=reproducible,
        rungs=proposer.rungs,
    )
    signature, duration_of = examine(objective), durations_of(duration)

    def takes(trials: Trials) -> Floats:
        seconds = duration_of(trials, seed)
        if signature.reports or trials.budget is None:
            return seconds
        return seconds * np.where(np.isnan(trials.budget), 1.0, trials.budget)

    clock = VirtualClock()
    executor = SimulatedExecutor(
        takes,
        lambda trials: evaluate(job, signature, trials),
        workers,
        clock,
        Fates(mishaps, seed) if mishaps else no_mishap,
        outages,
        resolution=resolution,
        charge_driver=charge_driver,
        dispatch=dispatch,
        streams=partial(run_through, job, signature) if signature.reports else None,
    )
    loop = Loop(
        limits,
        proposer.max_pending(1),
        in_order=reproducible or proposer.max_pending(1) < ANY_NUMBER,
        window=workers if reproducible else None,
        judged=bool(proposer.rungs),
        width=space.dim,
    )
    spec: dict[str, Any] = {
        "space": space.to_json(),
        "strategy": strategies.to_json(strategy),
        "metric": objectives.to_json(),
        **({"require": to_json(objectives.bounds)} if objectives.bounds else {}),
        "seed": seed,
    }
    return drive(loop, proposer, executor, Ledger(space, spec), clock, space)


def drive(
    loop: Loop,
    host: Host,
    executor: SimulatedExecutor,
    log: Ledger,
    clock: VirtualClock,
    space: Space,
) -> Simulation:
    """Run the engine until the search is over."""
    workers = executor.slots()
    driver = Driver(
        loop, host, executor, log, _watch_nothing, clock, clock.sleep, patience=math.inf
    )
    why = driver.run()
    return Simulation(
        study=Study(log.study_log(), space),
        workers=workers,
        why=why,
        makespan=(clock.now - START) / 1e9,
        busy=executor.busy,
        available=executor.available(),
        driver=executor.driver,
    )


def _watch_nothing(loop: Loop, finished: Sequence[Finished]) -> bool:
    return False


def check_workers(workers: Any) -> None:
    """A number of workers."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers <= 0:
        raise UsageError(f"workers: expected an integer of at least 1, found {workers!r}")
