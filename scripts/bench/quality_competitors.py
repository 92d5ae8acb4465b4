"""Competitors of quality.py: how each one asks and tells. To add one: its entry in COMPETITORS."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import raysearch as rs
from raysearch.strategies import STRATEGIES, get
from raysearch.trial import Batch, Outcome


class Ours:
    """A strategy of raysearch, asked for one point at a time."""

    def __init__(self, strategy: Any, space: rs.Space, seed: int, constrained: bool) -> None:
        self.strategy, self.space, self.constrained = strategy, space, constrained
        self.state = strategy.init(space, seed)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        self.state, batch = self.strategy.ask(self.state, 1)
        columns = self.space.decode(batch.x)
        return Batch(self.space.encode(columns), batch.number), columns.configs()[0]

    def tell(self, token: Any, loss: float, broken: float) -> None:
        constraint = np.array([[broken]]) if self.constrained else None
        outcome = Outcome(np.array([[loss]]), constraint=constraint)
        self.state = self.strategy.tell(self.state, token, outcome)


class Optuna:
    """A sampler of Optuna; `make` gives it, from the seed and a function of constraints."""

    def __init__(self, make: Any, space: rs.Space, seed: int, constrained: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self.space, self.optuna = space, optuna

        def constraints(trial: Any) -> list[float]:
            return list(trial.user_attrs["broken"])

        sampler = make(seed, constraints if constrained else None)
        self.study = optuna.create_study(sampler=sampler)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self.study.ask()
        config: dict[str, Any] = {}
        for name, p in self.space.parameters.items():  # parents come first in our tasks
            if all(config.get(parent) in values for parent, values in p.conditions):
                config[name] = self._suggest(trial, name, p)
        return trial, config

    def _suggest(self, trial: Any, name: str, p: Any) -> Any:
        if isinstance(p, rs.Choice) and p.ordered:
            return p.values[trial.suggest_int(name, 0, len(p.values) - 1)]
        if isinstance(p, rs.Choice):
            return trial.suggest_categorical(name, list(p.values))
        suggest = trial.suggest_int if isinstance(p, rs.Int) else trial.suggest_float
        return suggest(name, p.low, p.high, log=p.log)

    def tell(self, token: Any, loss: float, broken: float) -> None:
        token.set_user_attr("broken", [broken])
        self.study.tell(token, loss)


Maker = Callable[[rs.Space, int, bool], Any]


def _ours(name: str) -> Callable[[], Maker]:
    return lambda: lambda space, seed, constrained: Ours(get(name)(), space, seed, constrained)


def _optuna(**options: Any) -> Callable[[], Maker | None]:
    def load() -> Maker | None:
        try:
            import optuna
        except ImportError:
            return None

        def sampler(seed: int, constraints: Any) -> Any:
            return optuna.samplers.TPESampler(seed=seed, constraints_func=constraints, **options)

        return lambda space, seed, constrained: Optuna(sampler, space, seed, constrained)

    return load


#: name -> function that loads it: (space, seed, constrained) -> competitor, or None: not installed
COMPETITORS: dict[str, Callable[[], Maker | None]] = {
    **{name: _ours(name) for name in STRATEGIES if name != "grid"},
    "optuna-tpe": _optuna(),
    "optuna-tpe-joint": _optuna(multivariate=True, group=True, constant_liar=True),
}
