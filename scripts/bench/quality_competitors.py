"""Competitors of quality.py: how each one asks and tells. To add one: its entry in COMPETITORS.

A competitor is made of (space, seed, constrained, pending, trials). ask() returns a token and a
configuration; tell(token, loss, broken) takes what became of it, broken > 0 being by how much
the constraint was broken.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from quality_peers import PEERS

import raysearch as rs
from raysearch.strategies import STRATEGIES, get
from raysearch.trial import Batch, Outcome


class Ours:
    """A strategy of raysearch, asked for one point at a time."""

    def __init__(
        self, name: str, space: rs.Space, seed: int, constrained: bool, pending: int, trials: int
    ) -> None:
        self.strategy, self.space, self.constrained = get(name)(), space, constrained
        self.state = self.strategy.init(space, seed)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        self.state, batch = self.strategy.ask(self.state, 1)
        columns = self.space.decode(batch.x)
        return Batch(self.space.encode(columns), batch.number), columns.configs()[0]

    def tell(self, token: Any, loss: float, broken: float) -> None:
        constraint = np.array([[broken]]) if self.constrained else None
        outcome = Outcome(np.array([[loss]]), constraint=constraint)
        if not self.strategy.constrained:
            outcome = outcome.unconstrained()
        self.state = self.strategy.tell(self.state, token, outcome)


class Optuna:
    """A sampler of Optuna, by its name and options."""

    def __init__(
        self,
        sampler: str,
        options: dict[str, Any],
        space: rs.Space,
        seed: int,
        constrained: bool,
        pending: int,
        trials: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self.space = space
        broken = (lambda trial: list(trial.user_attrs["broken"])) if constrained else None
        make = getattr(optuna.samplers, sampler)
        self.study = optuna.create_study(
            sampler=make(seed=seed, constraints_func=broken, **options)
        )

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


#: name -> the module that must be there, and what makes the competitor
COMPETITORS: dict[str, tuple[str, Callable[..., Any]]] = {
    **{name: ("raysearch", partial(Ours, name)) for name in STRATEGIES if name != "grid"},
    "optuna-tpe": ("optuna", partial(Optuna, "TPESampler", {})),
    "optuna-tpe-grouped": ("optuna", partial(Optuna, "TPESampler", {"group": True})),
    "optuna-gp": ("optuna", partial(Optuna, "GPSampler", {})),
    **PEERS,
}
