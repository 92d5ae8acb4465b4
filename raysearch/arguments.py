"""The arguments of `search` and `retry`, checked before anything is started or stored.

Each function refuses what is wrong by a UsageError that names the argument, says what was
expected, and what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .engine.loop import Limits
from .engine.objective import examine
from .engine.records import Objectives
from .errors import UsageError
from .space import Space
from .strategies.base import Strategy


def space_of(space: Any) -> Space:
    """The space, made of a mapping if it is one."""
    if isinstance(space, Space):
        return space
    if not isinstance(space, Mapping):
        raise UsageError(
            "space: expected a Space, or a mapping from names to parameters, as in "
            f'{{"x": Float(0, 1)}}, found {_shown(space)}'
        )
    return Space(space)


def objectives_of(metric: Any, mode: Any) -> Objectives:
    """What is optimised."""
    modes: Any = {metric: mode} if isinstance(metric, str) else metric
    if not isinstance(modes, Mapping) or not modes:
        raise UsageError(
            f"metric: expected a name, or a mapping from names to 'min' or 'max', found {metric!r}"
        )
    for name, direction in modes.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"metric: expected the name of a metric, found {name!r}")
        if direction not in ("min", "max"):
            where = "mode" if isinstance(metric, str) else f"metric[{name!r}]"
            raise UsageError(f"{where}: expected 'min' or 'max', found {direction!r}")
    return Objectives(tuple(modes), tuple(direction == "max" for direction in modes.values()))


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
    _check_count("trials", trials)
    _check_count("max_failures", max_failures)
    _check_seconds("time_limit", time_limit)
    _check_seconds("timeout", timeout)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise UsageError(f"retries: expected an integer >= 0, found {retries!r}")
    deadline = None if time_limit is None else begin + int(time_limit * 1e9)
    return Limits(trials, deadline, retries, max_failures, timeout)


def check_strategy(strategy: Any, objectives: Objectives) -> None:
    """The strategy is one, and takes as many objectives as there are."""
    if not isinstance(strategy, Strategy):
        given = "the class itself; add ()" if isinstance(strategy, type) else repr(strategy)
        raise UsageError(f"strategy: expected a strategy such as RandomSearch(), found {given}")
    if len(objectives.names) > 1 and not strategy.multi_objective:
        raise UsageError(
            f"strategy: {type(strategy).__name__} takes one objective, and there are "
            f"{len(objectives.names)}: {list(objectives.names)}"
        )


def check_study(study: Any, resume: Any = True) -> None:
    """A place for a study, and what to do with one that is there."""
    if study is not None and not isinstance(study, (str, Path)):
        raise UsageError(f"study: expected a folder or URI, found {_shown(study)}")
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
    _check_count("concurrency", concurrency)
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
    if address != "inline":
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


def _check_count(name: str, count: Any) -> None:
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int):
        raise UsageError(f"{name}: expected an integer or None, found {count!r}")
    if count <= 0:
        raise UsageError(f"{name}: expected at least 1, found {count}")


def _check_seconds(name: str, seconds: Any) -> None:
    if seconds is None:
        return
    legal = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not legal or not 0 < seconds < math.inf:
        raise UsageError(f"{name}: expected seconds > 0 or None, found {seconds!r}")


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
