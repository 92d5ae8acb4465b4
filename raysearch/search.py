"""search(): the whole path, from a function and a space to a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from . import strategies
from .arguments import (
    check_budgets,
    check_costs,
    check_option,
    check_running,
    check_study,
    check_view,
    count_of,
    limits_of,
    objectives_of,
    space_of,
)
from .choosing import settled
from .engine.archipelago import Archipelago, can_part
from .engine.driver import steady_clock
from .engine.executors import Where
from .engine.island_loop import IslandLoop
from .engine.limits import Limits
from .engine.loop import Loop
from .engine.objective import examine
from .engine.objectives import to_json
from .engine.progress import Progress
from .engine.proposer import Nobody, Proposer
from .engine.records import Job
from .errors import UsageError
from .log import MemoryLog, StudyLog
from .log.checkpoints import KEEP, Keep
from .log.compare import DECISIVE, check_same
from .monitor import Callback
from .reruns import rerun
from .resume import Past, failed_trials, first_number, fold, stored_history, stored_reports
from .rng import check_seed
from .session import View, run_session
from .space import Parameter, Space
from .space.names import nearest
from .stopping import Condition, conditions_of
from .strategies.base import ANY_NUMBER, AnyStrategy
from .strategies.islands import Islands
from .strategies.warm_start import Former
from .study import Study
from .trial import STATES

#: the states of trials that have no result
FAILED = tuple(state for state in STATES if state not in ("complete", "stopped"))


_REPEATS = 5  # of each trial that `search(confirm=...)` runs again
_WHERE_AND_HOW = (
    "address",
    "concurrency",
    "data",
    "progress",
    "ray_options",
    "retries",
    "timeout",
)


def search(
    objective: Callable[..., Any],
    space: Space | Mapping[str, Parameter],
    strategy: AnyStrategy | None = None,
    *,
    trials: int | None = None,
    time_limit: float | None = None,
    metric: str | Mapping[str, str] = "loss",
    mode: str = "min",
    require: Mapping[str, str] | None = None,
    seed: int = 0,
    study: str | Path | None = None,
    resume: bool | Literal["changed"] = True,
    concurrency: int | None = None,
    ray_options: Mapping[str, Any] | None = None,
    retries: int = 1,
    timeout: float | None = None,
    max_failures: int | None = 10,
    reproducible: bool = False,
    progress: bool | Callable[[Progress], None] = True,
    callbacks: Sequence[Callback] = (),
    data: Mapping[str, Any] | None = None,
    address: str | None = None,
    stop_when: Condition | Sequence[Condition] | None = None,
    checkpoints: Keep = "last",
    confirm: int | None = None,
    warm_start: Former | Sequence[Former] | None = None,
) -> Study:
    """Search the space for the configuration with the best metric, in parallel on Ray.

    objective     function of (config) or (config, trial) that returns a number or a
                  mapping of metrics; or, marked ``@vectorized``, of columns; or a generator
                  that yields metrics as it trains, or pairs of metrics and a state; or a
                  class of such: each worker makes an instance, which lives with the search
    space         what is searched
    strategy      how; Auto() if left out, which chooses by space, trials and slots
    trials        finished trials in the study, failed ones included; None: no limit
    time_limit    seconds; trials that run then are cancelled, and run again on resume
    metric        name of the metric to optimise; or, for several objectives, a mapping
                  from names to "min" or "max"
    mode          "min" or "max", of the one metric
    require       bounds on metrics, such as {"gb": "<= 8", "accuracy": ">= 0.9"}: only trials
                  that meet them all can be the best. Every trial has to return these metrics
    seed          of everything random, in [0, 2**64)
    study         folder or URI where results are stored; None: in memory
    resume        True: go on with a study that is there; False: there must be none;
                  "changed": go on although space, strategy, metric, bounds or seed differ
    concurrency   trials at once, at most; None: as many as the cluster can run
    ray_options   for each task, such as {"num_cpus": 1, "num_gpus": 0.25}; with "auto", trials
                  share GPUs by the memory that they turn out to take
    retries       how often a trial is tried again whose worker died
    timeout       seconds that one trial may take; None: any time
    max_failures  as many failures at the start, and nothing else, end the search;
                  None: never
    reproducible  tell results in the order asked, within a window, so that the sequence
                  of trials does not depend on timing, machines or crashes
    progress      show a live view; or a function that gets a `Progress` every round
    callbacks     functions of a list of trials, called once these are durable; one that
                  returns True ends the search
    data          large inputs that travel to each worker once, as ``trial.data``
    address       None: a running local Ray, or a new one; "auto", "local",
                  "ray://host:10001", "host:6379"; "inline": this process, without Ray
    stop_when     conditions such as `Target(0.01)` or `NoImprovement(trials=100)`: once one
                  of them is met, the search ends as if somebody had stopped it
    checkpoints   which of the states that trials save are kept: of every configuration the
                  "last"; of the "best" trial alone, once the search is over; or those at
                  "rungs", too
    confirm       run so many of the best trials again at the end, each 5 times on fresh
                  seeds: ``study.confirmed``, as of `confirm`
    warm_start    studies, finished trials or configurations of this space or a similar one,
                  whose best are tried first, as by `WarmStart`

    Returns the study. Raises UsageError before anything is started if an argument is
    wrong, StudyMismatch if a stored study does not fit, SearchFailed if the first trials
    all failed, and Interrupted after Ctrl-C or SIGTERM, once all is in order.

    >>> import raysearch as rs
    >>> space = rs.Space({"x": rs.Float(-1, 1), "y": rs.Float(-1, 1)})
    >>> study = rs.search(
    ...     lambda c: c["x"] ** 2 + c["y"] ** 2, space, trials=64, address="inline",
    ...     progress=False,
    ... )
    >>> study.best.metrics["loss"] < 0.1
    True
    """
    begin = steady_clock()
    space = space_of(space)
    objectives = objectives_of(metric, mode, require)
    limits = limits_of(
        begin,
        trials=trials,
        time_limit=time_limit,
        retries=retries,
        max_failures=max_failures,
        timeout=timeout,
    )
    seed = check_seed(seed)
    concurrency = count_of("concurrency", concurrency)
    check_study(study, resume)
    check_view(progress, callbacks)
    conditions = conditions_of(stop_when)
    check_option("checkpoints", checkpoints, KEEP)
    again = count_of("confirm", confirm)
    if len(objectives.names) > 1 and (conditions or again):
        raise UsageError(
            "stop_when, confirm: these compare trials by one objective, and there are "
            f"{len(objectives.names)}; leave them out, or take one metric"
        )
    check_running(
        objective,
        concurrency=concurrency,
        reproducible=reproducible,
        ray_options=ray_options,
        data=data,
        address=address,
    )
    strategy, notes = settled(
        strategy,
        space,
        objectives,
        study,
        warm_start,
        trials=limits.trials,
        slots=concurrency,
        seconds=0.0 if examine(objective).vectorized else None,
    )
    objectives = replace(objectives, cost=strategy.costs())
    check_budgets(objective, strategy)
    check_costs(strategy, reproducible)
    spec: dict[str, Any] = {
        "space": space.to_json(),
        "strategy": strategies.to_json(strategy),
        "metric": objectives.to_json(),
        **({"require": to_json(objectives.bounds)} if objectives.bounds else {}),
        "seed": seed,
        **({"reproducible": concurrency} if reproducible else {}),
    }
    apart = isinstance(strategy, Islands) and can_part(space, objective)
    host: Callable[[int], Proposer | Archipelago] = partial(
        Proposer, strategy, space, objectives, seed, reproducible=reproducible
    )
    if isinstance(strategy, Islands) and apart:
        spec["apart"] = True
        host = partial(Archipelago, strategy, space, objectives, seed)
    tried = host if resume == "changed" else None
    spec["first"] = first_number(study, spec, tried) if study is not None else 0
    proposer = host(spec["first"])
    with _open(study, space, spec, resume) as log:
        history = stored_history(study) if study is not None else ()
        reports = partial(stored_reports, study) if study is not None else tuple
        past = fold(history, spec, proposer, reports)
        loop = _loop(proposer, limits, past, concurrency if reproducible else None)
        job = Job(
            objective,
            space,
            objectives,
            seed,
            limits.timeout,
            data or {},
            reproducible,
            proposer.rungs,
            islands=proposer.strategy if isinstance(proposer, Archipelago) else None,
        )
        where = Where(address, ray_options, concurrency)
        full = max(strategy.budgets(), default=-math.inf)
        name = type(strategy).__name__
        view = View(progress, callbacks, name, trials, time_limit, conditions, full, notes)
        log.checkpoints.keep = checkpoints
        found = run_session(loop, proposer, job, log, where, view, past.reported)
    if again is not None and len(found.ranking):
        run = partial(
            search,
            concurrency=concurrency,
            ray_options=ray_options,
            retries=retries,
            timeout=timeout,
            max_failures=None,
            progress=progress,
            data=data,
            address=address,
        )
        found.confirmed = rerun(run, objective, found, again, _REPEATS)
    return found


def confirm(
    objective: Callable[..., Any],
    study: str | Path | Study,
    *,
    best: int = 5,
    repeats: int = 5,
    **options: Any,
) -> pa.Table:
    """Run the best trials of a study again on fresh seeds, so that a lucky winner is found out.

    study    as a search returned it, or the place where one is stored
    best     how many of the best trials are run again
    repeats  how often each, >= 2
    options  of `search` that say where and how: concurrency, ray_options, retries, timeout,
             progress, data, address

    Returns one row a trial, the best mean first: trial, its number; searched, its value in
    the search; runs, how many have a result; mean and std of these; low and high, the 95 %
    confidence interval of the mean. Reruns are stored in a study of their own inside the
    study's folder, and not run again if they are there.

    >>> import raysearch as rs
    >>> noisy = lambda config, trial: config["x"] ** 2 + trial.rng.normal()
    >>> quiet = {"address": "inline", "progress": False}
    >>> study = rs.search(noisy, {"x": rs.Float(-1, 1)}, trials=50, **quiet)
    >>> table = rs.confirm(noisy, study, best=3, repeats=20, **quiet)
    >>> bool(table["mean"][0].as_py() > study.best.metrics["loss"])
    True
    """
    found = study if isinstance(study, Study) else Study.load(study)
    k, times = count_of("best", best), count_of("repeats", repeats)
    if k is None or times is None or times < 2:
        raise UsageError(
            f"best, repeats: expected integers >= 1 and >= 2, found {best!r} and {repeats!r}"
        )
    for name in options:
        if name not in _WHERE_AND_HOW:
            raise UsageError(f"confirm: {name} is no option of it; {nearest(name, _WHERE_AND_HOW)}")
    run = partial(search, max_failures=None, **options)
    return rerun(run, objective, found, k, times)


def retry(
    objective: Callable[..., Any],
    study: str | Path,
    *,
    states: Collection[str] = FAILED,
    space: Space | Mapping[str, Parameter] | None = None,
    time_limit: float | None = None,
    concurrency: int | None = None,
    ray_options: Mapping[str, Any] | None = None,
    retries: int = 1,
    timeout: float | None = None,
    max_failures: int | None = None,
    progress: bool | Callable[[Progress], None] = True,
    callbacks: Sequence[Callback] = (),
    data: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> Study:
    """Run the failed trials of a stored study once more, with the same configurations.

    study   folder or URI
    states  of the trials to run again
    space   of the study; needed if values of a `Choice` are objects

    Other arguments, result and exceptions are as for `search`. What comes out takes the
    place of the failure in the study; the strategy learns of it when the search goes on.
    """
    begin = steady_clock()
    check_study(study)
    stored = Study.load(study)
    space = stored.space if space is None else space_of(space)
    check_same(stored.spec, {**stored.spec, "space": space.to_json()}, (), stored.place)
    unknown = sorted(set(states) - set(FAILED))
    if unknown:
        raise UsageError(f"states: expected some of {list(FAILED)}, found {unknown}")
    limits = limits_of(
        begin, time_limit=time_limit, retries=retries, max_failures=max_failures, timeout=timeout
    )
    check_view(progress, callbacks)
    concurrency = count_of("concurrency", concurrency)
    check_running(
        objective, concurrency=concurrency, ray_options=ray_options, data=data, address=address
    )
    spec, objectives = stored.spec, stored.objectives
    backlog = failed_trials(stored, space, states)
    again = sum(map(len, backlog))
    with _open(study, space, spec, True) as log:
        log.checkpoints.keep = "rungs"  # of what is there nothing is dropped
        loop = Loop(
            limits,
            ANY_NUMBER,
            finished=len(stored) - again,
            completed=stored.counts.get("complete", 0),
            backlog=backlog,
            width=space.dim,
        )
        job = Job(objective, space, objectives, spec["seed"], limits.timeout, data or {})
        where = Where(address, ray_options, concurrency)
        view = View(progress, callbacks, "retry", len(stored), time_limit)
        return run_session(loop, Nobody(space), job, log, where, view)


def _loop(host: Proposer | Archipelago, limits: Limits, past: Past, window: int | None) -> Loop:
    """The loop that goes on from the past; window: points pending in a reproducible search."""
    if isinstance(host, Archipelago):
        return IslandLoop(limits, host, finished=past.finished, completed=past.completed)
    room = host.max_pending(1)
    return Loop(
        limits,
        room,
        finished=past.finished,
        completed=past.completed,
        backlog=past.pending,
        in_order=window is not None or room < ANY_NUMBER,
        window=window,
        judged=bool(host.rungs),
        width=host.space.dim,
        ahead=host.strategy.asks_slowly() and window is None,
    )


def _open(
    study: str | Path | None, space: Space, spec: Mapping[str, Any], resume: bool | str
) -> StudyLog | MemoryLog:
    if study is None:
        return MemoryLog(space, spec)
    allow = DECISIVE if resume == "changed" else ()
    return StudyLog.open(study, space, spec, resume=bool(resume), allow=allow)
