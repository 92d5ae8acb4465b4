"""Evolution strategies for 1e4 to 1e8 parameters: members never travel, and are never stored.

A run of it is a training like any other, a generator of metrics and states: by itself in a loop, or
as the objective of a search, whose log then holds its generations as reports, and its last state
as a checkpoint from which it goes on.

Per generation the actors get mean and steps, return losses, get weights, and return one or two
sums, each as large as the mean (`raysearch.engine.cloud`). The update is that of
`raysearch.strategies.evolution_strategy`:

    g = -sigma sum_i w_i s_i,  mean <- rule(mean, g),  sigma <- sigma growth(sum_i w_i (s_i^2 - 1))

A member whose loss is NaN takes no part; if all are, nothing is moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

import numpy as np

from .arguments import check_option, check_running, count_of
from .engine.cloud import Cloud, Vector
from .engine.crew import Crew, open_crew
from .engine.packing import is_auto
from .errors import SearchFailed, UsageError
from .optim import SGD, Adam, Rule
from .rng import check_seed
from .scalars import real
from .strategies.evolution_strategy import growth, weights
from .trial import Floats

METHODS = ("snes", "pgpe", "openai")

_BLOCK = 2**16  # numbers that are copied at once
_FAILURES = 10  # generations in a row in which all members failed


def evolve(
    objective: Callable[..., Any],
    start: Vector,
    *,
    method: Literal["snes", "pgpe", "openai"] = "snes",
    population: int = 256,
    step: float | Vector = 0.1,
    rule: Rule | None = None,
    generations: int | None = None,
    seed: int = 0,
    state: Mapping[str, Any] | None = None,
    actors: int | None = None,
    ray_options: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
    """Minimise a function of a very long vector, in parallel on Ray.

    objective    function of members (k, d) that returns their losses (k,); or a class, of which
                 each actor makes an instance that is called so
    start        (d,) mean to begin with, of float32 or float64
    method       snes: steps adapt quickly; pgpe: slowly; openai: they stay
    population   members of a generation, an even number >= 4
    step         initial standard deviation, in units of the parameters: a number > 0, or (d,)
    rule         of `raysearch.optim` that moves the mean; None: SGD(lr=1) for snes, else
                 Adam(lr=step / 4)
    generations  after which it ends; None: never
    seed         of all noise, in [0, 2**64)
    state        as it was yielded, to go on from there; None: from the beginning
    actors       how many; None: as many as there is room for
    ray_options  of each actor, such as {"num_cpus": 1, "num_gpus": 0.5}
    data         what a class may take as ``data`` in its ``__init__``
    address      as of `raysearch.search`; "inline": this process, without Ray

    Yields, for each generation, its metrics (loss: mean of its members; best: the least of them;
    sigma: root mean square of the steps after it; generation: from 1) and the state, a mapping
    with the ``mean``. The number of actors changes results by the rounding of sums only. Raises
    UsageError at once if an argument is wrong; what the objective raises; SearchFailed after 10
    generations in a row of NaN alone; ClusterError if actors cannot be had, or die again and again.

    >>> import numpy as np
    >>> run = evolve(lambda x: (x**2).sum(axis=1), np.ones(100), generations=200, address="inline")
    >>> for metrics, state in run:
    ...     pass
    >>> metrics["loss"] < 1
    True
    """
    mean = np.asarray(start)
    if mean.ndim != 1 or not len(mean) or mean.dtype not in (np.float32, np.float64):
        raise UsageError(
            f"start: expected a vector of float32 or float64, found shape {mean.shape} of "
            f"{mean.dtype}; use .ravel() and .astype"
        )
    if not np.isfinite(mean).all():
        raise UsageError("start: expected finite numbers, found others")
    check_option("method", method, METHODS)
    if not callable(objective):
        raise UsageError(f"objective: expected a function of members (k, d), found {objective!r}")
    check_running(objective, concurrency=None, ray_options=ray_options, data=data, address=address)
    if is_auto(ray_options):
        raise UsageError(
            "ray_options: expected num_gpus to be a number, since actors are not made anew "
            "while a mean moves, found 'auto'"
        )
    members = count_of("population", population)
    if members is None or members < 4 or members % 2:
        raise UsageError(f"population: expected an even number >= 4, found {population!r}")
    if isinstance(step, np.ndarray):
        right = step.shape == mean.shape and bool((step > 0).all())
    else:
        number = real(step)
        right = number is not None and 0 < number < math.inf
    if not right:
        raise UsageError(f"step: expected a number > 0, or one for each parameter, found {step!r}")
    if rule is None:
        rule = SGD(lr=1.0) if method == "snes" else Adam(lr=float(np.mean(step)) / 4)
    if not isinstance(rule, Rule):
        raise UsageError(f"rule: expected one of raysearch.optim, found {rule!r}")
    last = count_of("generations", generations)
    begin = {
        "generation": 0,
        "mean": mean,
        "sigma": np.broadcast_to(np.asarray(step, mean.dtype), mean.shape),
        "rule": rule.init(mean.copy()).arrays(),
    }
    run = _Run(method, members // 2, rule, check_seed(seed), last)
    count = count_of("actors", actors)
    where = open_crew(objective, data or {}, address, count, ray_options or {})
    return run.generations(where, _checked(state, begin))


class _Run:
    def __init__(self, method: str, pairs: int, rule: Rule, seed: int, last: int | None) -> None:
        self.method = method
        self.pairs = pairs
        self.rule = rule
        self.seed = seed
        self.last = math.inf if last is None else last

    def generations(
        self, where: Any, state: dict[str, Any]
    ) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
        failed = 0
        with where as crew:
            while state["generation"] < self.last:
                loss, state = self._next(crew, state)
                valid = loss[~np.isnan(loss)]
                failed = 0 if len(valid) else failed + 1
                if failed == _FAILURES:
                    raise SearchFailed(
                        f"all losses of {_FAILURES} generations in a row were NaN; "
                        "mend the objective, or take a smaller step"
                    )
                found = valid if len(valid) else np.array([np.inf])
                rms = _rms(state["sigma"])
                yield (
                    {
                        "loss": float(found.mean()),
                        "best": float(found.min()),
                        "sigma": rms,
                        "generation": float(state["generation"]),
                    },
                    state,
                )

    def _next(self, crew: Crew, state: dict[str, Any]) -> tuple[Floats, dict[str, Any]]:
        """The losses of a generation, and the state after it."""
        mean, sigma, generation = state["mean"], state["sigma"], state["generation"]
        cloud = Cloud(mean, sigma, self.seed, generation)
        loss = crew.losses(cloud, self.pairs)
        rows = np.flatnonzero(~np.isnan(loss))
        if len(rows) < 2:
            return loss, {**state, "generation": generation + 1}
        w = np.zeros(len(loss))
        w[rows[np.argsort(loss[rows], kind="stable")]] = weights(self.method, len(rows))
        plus, minus = w[::2], w[1::2]
        adapts = self.method != "openai"
        g, v = crew.sums(cloud, plus - minus, plus + minus if adapts else None)
        g *= -sigma
        moved = mean.copy()
        memory = self.rule.init(moved).restore(state["rule"])
        self.rule.step(moved, g, memory)
        if v is not None:
            sigma = (sigma * growth(self.method, v)).astype(mean.dtype)
        after = {
            "generation": generation + 1,
            "mean": moved,
            "sigma": sigma,
            "rule": memory.arrays(),
        }
        return loss, after


def _rms(x: Vector) -> float:
    """Root mean square, in float64; x may be too long to be copied as such."""
    blocks = (x[k : k + _BLOCK].astype(np.float64) for k in range(0, len(x), _BLOCK))
    return math.sqrt(sum(float(block @ block) for block in blocks) / len(x))


def _checked(state: Mapping[str, Any] | None, begin: dict[str, Any]) -> dict[str, Any]:
    """The state to begin with."""
    if state is None:
        return begin
    shape = begin["mean"].shape
    known = isinstance(state, Mapping) and set(begin) <= set(state)
    if known and np.shape(state["mean"]) == shape == np.shape(state["sigma"]):
        kind = begin["mean"].dtype
        vectors = {name: np.asarray(state[name], kind) for name in ("mean", "sigma")}
        rule = cast(Mapping[str, Any], state["rule"])
        return {"generation": int(state["generation"]), **vectors, "rule": dict(rule)}
    raise UsageError(
        f"state: expected one that evolve has yielded, for {shape[0]} parameters, found "
        f"{sorted(state) if isinstance(state, Mapping) else state!r}"
    )
