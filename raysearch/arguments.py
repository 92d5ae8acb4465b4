"""The arguments of `search` and `retry`, checked before anything is started or stored.

Each function refuses what is wrong by a UsageError that names the argument, says what was
expected, and what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import strategies
from .engine.limits import Limits
from .engine.objective import examine
from .engine.objectives import SECONDS, Objectives
from .errors import UsageError
from .scalars import real, whole
from .space import space_of as space_of
from .space.names import nearest
from .strategies.base import AnyStrategy
from .study import check_place

#: what `ray.remote` takes of a task, and is left to the user
RAY_OPTIONS = (
    "accelerator_type",
    "enable_task_events",
    "fallback_strategy",
    "label_selector",
    "max_calls",
    "memory",
    "name",
    "num_cpus",
    "num_gpus",
    "object_store_memory",
    "placement_group",
    "placement_group_bundle_index",
    "placement_group_capture_child_tasks",
    "resources",
    "runtime_env",
    "scheduling_strategy",
)
_LONGEST = 1e9  # seconds; timers of the system overflow not far beyond


def objectives_of(metric: Any, mode: Any, require: Any = None) -> Objectives:
    """What is optimised; `mode` is for one metric, and "min" where a mapping says it for each.

    require  metric -> bound, as a text; None: no bounds
    """
    modes: Any = {metric: mode} if isinstance(metric, str) else metric
    if not isinstance(modes, Mapping) or not modes:
        raise UsageError(
            f"metric: expected a name, or a mapping from names to 'min' or 'max', found {metric!r}"
        )
    if modes is metric and mode != "min":
        raise UsageError(
            f"mode: the mapping of metrics says for each whether it is 'min' or 'max'; leave out "
            f"mode={mode!r}"
        )
    for name, direction in modes.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"metric: expected the name of a metric, found {name!r}")
        if direction not in ("min", "max"):
            where = "mode" if isinstance(metric, str) else f"metric[{name!r}]"
            raise UsageError(f"{where}: expected 'min' or 'max', found {direction!r}")
    return Objectives.from_json(modes, {} if require is None else require)


def limits_of(
    begin: int,
    *,
    trials: Any = None,
    time_limit: Any = None,
    retries: Any,
    max_failures: Any,
    timeout: Any,
) -> Limits:
    """When the search ends, having begun at `begin`, ns since the epoch."""
    again = whole(retries)
    if again is None or again < 0:
        raise UsageError(f"retries: expected an integer >= 0, found {retries!r}")
    seconds = _seconds("time_limit", time_limit)
    return Limits(
        count_of("trials", trials),
        None if seconds is None else begin + int(seconds * 1e9),
        again,
        count_of("max_failures", max_failures),
        _seconds("timeout", timeout),
    )


def check_option(name: str, value: Any, options: Sequence[str]) -> None:
    """One of some texts."""
    if value not in options:
        raise UsageError(f"{name}: expected one of {list(options)}, found {value!r}")


def count_of(name: str, count: Any) -> int | None:
    """The count, an integer >= 1, or None."""
    if count is None:
        return None
    number = whole(count)
    if number is None:
        raise UsageError(f"{name}: expected an integer or None, found {count!r}")
    if number < 1:
        raise UsageError(f"{name}: expected at least 1, found {number}")
    return number


def check_strategy(strategy: Any, objectives: Objectives) -> None:
    """The strategy is one, and takes as many objectives as there are."""
    strategies.check(strategy, len(objectives.names))


def check_budgets(objective: Callable[..., Any], strategy: AnyStrategy) -> None:
    """The objective can do what a strategy with budgets needs of it."""
    signature, name = examine(objective), type(strategy).__name__
    if strategy.budgets() and not (signature.reports or signature.takes_trial):
        raise UsageError(
            f"strategy: {name} says how far a trial is trained, which the objective "
            "cannot know; yield metrics, or take trial as second argument and read trial.budget"
        )
    if signature.member and not strategy.budgets():
        raise UsageError(
            f"strategy: a class with step is trained for as long as the strategy says, and {name} "
            "says nothing; take one with budgets, such as PopulationBased() or ASHA()"
        )


def check_costs(strategy: AnyStrategy, reproducible: bool) -> None:
    """What the strategy makes of costs is reproducible, if it is to be."""
    if reproducible and strategy.costs() == SECONDS:
        raise UsageError(
            f"reproducible: {strategy!r} looks at how long trials run, which no two runs have in "
            "common; let a metric tell the cost"
        )


def check_study(study: Any, resume: Any = True) -> None:
    """A place for a study, and what to do with one that is there."""
    if study is not None:
        check_place(study)
    if not isinstance(resume, bool) and resume != "changed":
        raise UsageError(f"resume: expected True, False or 'changed', found {resume!r}")


def check_running(
    objective: Callable[..., Any],
    *,
    concurrency: Any,
    reproducible: Any = False,
    ray_options: Any,
    data: Any,
    address: Any,
) -> None:
    """What is run, and where."""
    examine(objective)
    count_of("concurrency", concurrency)
    if not isinstance(reproducible, bool):
        raise UsageError(f"reproducible: expected True or False, found {reproducible!r}")
    if reproducible and concurrency is None:
        raise UsageError(
            "reproducible: the trials depend on how many are pending at once, so say how many, "
            "as in concurrency=8"
        )
    _check_names("ray_options", ray_options, 'as in {"num_cpus": 1}')
    _check_names("data", data, 'as in {"images": images}')
    if address is not None and (not isinstance(address, str) or not address):
        raise UsageError(
            'address: expected None, "auto", "local", "inline", "host:port" or '
            f'"ray://host:port", found {address!r}'
        )
    if address == "inline":
        _check_ray_options(ray_options or {})
    else:
        from .engine.ray_tasks import check_sendable

        check_sendable(objective, ray_options or {})


def check_view(progress: Any, callbacks: Any) -> None:
    """Who wants to know how it goes."""
    if not isinstance(progress, bool) and not callable(progress):
        raise UsageError(
            f"progress: expected True, False or a function of a Progress, found {_shown(progress)}"
        )
    if isinstance(callbacks, (str, bytes)) or not isinstance(callbacks, Sequence):
        raise UsageError(f"callbacks: expected a list of functions, found {_shown(callbacks)}")
    for i, callback in enumerate(callbacks):
        if not callable(callback):
            raise UsageError(f"callbacks[{i}]: expected a function, found {_shown(callback)}")


def _seconds(name: str, seconds: Any) -> float | None:
    if seconds is None:
        return None
    try:
        number = real(seconds)
    except OverflowError:
        number = math.inf
    if number is None or not 0 < number <= _LONGEST:
        raise UsageError(
            f"{name}: expected seconds > 0, at most 1e9 (30 years), or None, found {seconds!r}"
        )
    return number


def _check_ray_options(options: Mapping[str, Any]) -> None:
    """Refuse what is misspelt where Ray, which would say so, is not asked."""
    for option in options:
        if option not in RAY_OPTIONS:
            raise UsageError(
                "ray_options: expected options of ray.remote that are not raysearch's own, "
                f"found {option!r}; {nearest(option, RAY_OPTIONS)}"
            )


def _check_names(name: str, mapping: Any, example: str) -> None:
    if mapping is None:
        return
    if not isinstance(mapping, Mapping):
        raise UsageError(f"{name}: expected a mapping, {example}, found {_shown(mapping)}")
    for key in mapping:
        if not isinstance(key, str):
            raise UsageError(f"{name}: expected names (str) as keys, {example}, found {key!r}")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.80}"
