"""Other packages as competitors of quality.py, each with its defaults.

Those that know no conditions see every parameter, and what is not active is dropped from the
configuration. Those that know no constraints are told the worst loss so far where it is broken.
Ordered choices are integers to all of them.
"""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from typing import Any

import numpy as np

import raysearch as rs

Config = dict[str, Any]


def _is_ordered(p: Any) -> bool:
    return isinstance(p, rs.Choice) and p.ordered


def _config(space: rs.Space, values: Config) -> Config:
    """What is active of the values, ordered choices as their values. Parents come first."""
    config: Config = {}
    for name, p in space.parameters.items():
        if all(config.get(parent) in allowed for parent, allowed in p.conditions):
            value = values[name]
            if _is_ordered(p):
                config[name] = p.values[round(float(value))]
            elif isinstance(p, rs.Choice):
                config[name] = next(own for own in p.values if own == value)
            else:
                kind = int if isinstance(p, rs.Int) else float
                config[name] = kind(min(max(value, p.low), p.high))
    return config


class _Penalty:
    """The loss of a trial, or the worst so far where its constraint is broken."""

    def __init__(self) -> None:
        self.worst = -math.inf

    def __call__(self, loss: float, broken: float) -> float:
        self.worst = max(self.worst, loss)
        return self.worst if broken > 0 else loss


class Nevergrad:
    """NGOpt."""

    def __init__(
        self, space: rs.Space, seed: int, constrained: bool, pending: int, trials: int
    ) -> None:
        import nevergrad as ng

        def part(p: Any) -> Any:
            if isinstance(p, rs.Choice):
                return (ng.p.TransitionChoice if p.ordered else ng.p.Choice)(
                    range(len(p.values)) if p.ordered else p.values
                )
            scale = (ng.p.Log if p.log else ng.p.Scalar)(lower=p.low, upper=p.high)
            return scale.set_integer_casting() if isinstance(p, rs.Int) else scale

        parts = ng.p.Dict(**{name: part(p) for name, p in space.parameters.items()})
        parts.random_state = np.random.RandomState(seed)
        self.optimizer = ng.optimizers.NGOpt(parts, budget=trials, num_workers=pending)
        self.space, self.constrained = space, constrained

    def ask(self) -> tuple[Any, Config]:
        candidate = self.optimizer.ask()
        return candidate, _config(self.space, candidate.value)

    def tell(self, token: Any, loss: float, broken: float) -> None:
        extra = {"constraint_violation": [max(broken, 0.0)]} if self.constrained else {}
        self.optimizer.tell(token, loss, **extra)


class Hyperopt:
    """TPE of hyperopt; conditions are nested choices."""

    def __init__(
        self, space: rs.Space, seed: int, constrained: bool, pending: int, trials: int
    ) -> None:
        import hyperopt
        from hyperopt import hp

        self.space, self.hyperopt, self.penalty = space, hyperopt, _Penalty()
        self.rng = np.random.default_rng(seed)

        def node(name: str, p: Any) -> Any:
            if _is_ordered(p):
                return hp.quniform(name, 0, len(p.values) - 1, 1)
            if isinstance(p, rs.Choice):
                return hp.choice(name, [branch(name, value) for value in p.values])
            low, high = (math.log(p.low), math.log(p.high)) if p.log else (p.low, p.high)
            if isinstance(p, rs.Int):
                return (hp.qloguniform if p.log else hp.quniform)(name, low, high, 1)
            return (hp.loguniform if p.log else hp.uniform)(name, low, high)

        def branch(name: str, value: Any) -> Any:
            inner = {
                child: nodes[child]
                for child, p in space.parameters.items()
                if any(parent == name and value in values for parent, values in p.conditions)
            }
            return {name: value, **inner}

        nodes: Config = {}
        for name, p in reversed(space.parameters.items()):  # children before parents
            nodes[name] = node(name, p)
        self.tree = {name: nodes[name] for name, p in space.parameters.items() if not p.conditions}
        self.domain = hyperopt.Domain(lambda config: 0.0, self.tree)
        self.trials = hyperopt.Trials()

    def ask(self) -> tuple[Any, Config]:
        ids = self.trials.new_trial_ids(1)
        seed = int(self.rng.integers(2**31))
        [doc] = self.hyperopt.tpe.suggest(ids, self.domain, self.trials, seed, verbose=False)
        self.trials.insert_trial_docs([doc])
        self.trials.refresh()
        chosen = {name: v[0] for name, v in doc["misc"]["vals"].items() if v}
        nested = self.hyperopt.space_eval(self.tree, chosen)
        flat: Config = {}
        todo = [nested]
        while todo:
            for name, value in todo.pop().items():
                if isinstance(value, dict):
                    todo.append(value)
                else:
                    flat[name] = value
        return ids[0], _config(self.space, flat)

    def tell(self, token: Any, loss: float, broken: float) -> None:
        [doc] = [d for d in self.trials._dynamic_trials if d["tid"] == token]
        doc["state"] = self.hyperopt.JOB_STATE_DONE
        doc["result"] = {"status": "ok", "loss": self.penalty(loss, broken)}
        self.trials.refresh()


class Smac:
    """SMAC3's facade for hyperparameters: random forests; conditions are its own."""

    def __init__(
        self, space: rs.Space, seed: int, constrained: bool, pending: int, trials: int
    ) -> None:
        from ConfigSpace import (
            CategoricalHyperparameter,
            ConfigurationSpace,
            InCondition,
            UniformFloatHyperparameter,
            UniformIntegerHyperparameter,
        )
        from smac import HyperparameterOptimizationFacade, Scenario

        def part(name: str, p: Any) -> Any:
            if _is_ordered(p):
                return UniformIntegerHyperparameter(name, 0, len(p.values) - 1)
            if isinstance(p, rs.Choice):
                return CategoricalHyperparameter(name, list(p.values))
            whole = isinstance(p, rs.Int)
            kind = UniformIntegerHyperparameter if whole else UniformFloatHyperparameter
            return kind(name, p.low, p.high, log=p.log)

        known = ConfigurationSpace(seed=seed)
        parts = {name: part(name, p) for name, p in space.parameters.items()}
        known.add(list(parts.values()))
        for name, p in space.parameters.items():
            for parent, values in p.conditions:
                known.add(InCondition(parts[name], parts[parent], list(values)))
        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            known, deterministic=True, n_trials=trials, seed=seed, output_directory=self.folder.name
        )
        self.facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed: 0.0, logging_level=False, overwrite=True
        )
        self.space, self.penalty = space, _Penalty()

    def ask(self) -> tuple[Any, Config]:
        info = self.facade.ask()
        return info, _config(self.space, dict(info.config))

    def tell(self, token: Any, loss: float, broken: float) -> None:
        from smac.runhistory.dataclasses import TrialValue

        self.facade.tell(token, TrialValue(cost=self.penalty(loss, broken)), save=False)


class Hebo:
    """HEBO; what is pending it does not know, it draws from a front of three acquisitions."""

    def __init__(
        self, space: rs.Space, seed: int, constrained: bool, pending: int, trials: int
    ) -> None:
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        def part(name: str, p: Any) -> Config:
            if _is_ordered(p):
                return {"name": name, "type": "int", "lb": 0, "ub": len(p.values) - 1}
            if isinstance(p, rs.Choice):
                return {"name": name, "type": "cat", "categories": list(p.values)}
            kind = ("pow_int" if p.log else "int") if isinstance(p, rs.Int) else "num"
            kind = "pow" if kind == "num" and p.log else kind
            return {"name": name, "type": kind, "lb": p.low, "ub": p.high}

        np.random.seed(seed)  # noqa: NPY002 (it draws from there)
        torch.manual_seed(seed)
        known = DesignSpace().parse([part(name, p) for name, p in space.parameters.items()])
        self.optimizer = HEBO(known, scramble_seed=seed)
        self.space, self.penalty = space, _Penalty()

    def ask(self) -> tuple[Any, Config]:
        frame = self.optimizer.suggest(1)
        return frame, _config(self.space, frame.iloc[0].to_dict())

    def tell(self, token: Any, loss: float, broken: float) -> None:
        self.optimizer.observe(token, np.array([[self.penalty(loss, broken)]]))


class Ax:
    """Ax's client: BoTorch."""

    def __init__(
        self, space: rs.Space, seed: int, constrained: bool, pending: int, trials: int
    ) -> None:
        import logging

        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        logging.disable(logging.WARNING)

        def part(name: str, p: Any) -> Any:
            if _is_ordered(p):
                values = list(range(len(p.values)))
                return ChoiceParameterConfig(name, values, "int", is_ordered=True)
            if isinstance(p, rs.Choice):
                return ChoiceParameterConfig(name, list(p.values), "str", is_ordered=False)
            kind = "int" if isinstance(p, rs.Int) else "float"
            scaling = "log" if p.log else "linear"
            return RangeParameterConfig(name, (p.low, p.high), kind, scaling=scaling)

        self.client = Client(random_seed=seed)
        self.client.configure_experiment([part(name, p) for name, p in space.parameters.items()])
        limits = ["broken <= 0"] if constrained else None
        self.client.configure_optimization("-loss", outcome_constraints=limits)
        self.space, self.constrained = space, constrained

    def ask(self) -> tuple[Any, Config]:
        [(index, values)] = self.client.get_next_trials(1).items()
        return index, _config(self.space, dict(values))

    def tell(self, token: Any, loss: float, broken: float) -> None:
        data = {"loss": loss, **({"broken": broken} if self.constrained else {})}
        self.client.complete_trial(token, raw_data=data)


class Bayesian:
    """bayesian-optimization; logarithms are taken for it.

    Random points come first: five, and more until one of them meets the constraint.
    """

    def __init__(
        self, space: rs.Space, seed: int, constrained: bool, pending: int, trials: int
    ) -> None:
        from bayes_opt import BayesianOptimization
        from scipy.optimize import NonlinearConstraint

        def bounds(p: Any) -> Any:
            if _is_ordered(p):
                return (0, len(p.values) - 1, int)
            if isinstance(p, rs.Choice):
                return p.values
            if p.log:
                return (math.log(p.low), math.log(p.high))
            return (p.low, p.high, int) if isinstance(p, rs.Int) else (p.low, p.high)

        self.constraint = NonlinearConstraint(lambda: 0.0, -np.inf, 0.0) if constrained else None
        self.optimizer = BayesianOptimization(
            None,
            {name: bounds(p) for name, p in space.parameters.items()},
            constraint=self.constraint,
            random_state=seed,
            verbose=0,
            allow_duplicate_points=True,
        )
        self.space, self.asked, self.rng = space, 0, np.random.RandomState(seed)

    def ask(self) -> tuple[Any, Config]:
        from bayes_opt.exception import NoValidPointRegisteredError

        self.asked += 1
        inner, found = self.optimizer.space, None
        if self.asked > 5 and len(inner):
            with suppress(NoValidPointRegisteredError):
                found = self.optimizer.suggest()
        if found is None:
            found = inner.array_to_params(inner.random_sample(random_state=self.rng))
        values = dict(found)
        for name, p in self.space.parameters.items():
            if not isinstance(p, rs.Choice) and p.log:
                values[name] = math.exp(values[name])
                if isinstance(p, rs.Int):
                    values[name] = round(values[name])
        return found, _config(self.space, values)

    def tell(self, token: Any, loss: float, broken: float) -> None:
        extra = {} if self.constraint is None else {"constraint_value": broken}
        self.optimizer.register(token, -loss, **extra)


#: as COMPETITORS of quality_competitors.py
PEERS: dict[str, tuple[str, Any]] = {
    "nevergrad": ("nevergrad", Nevergrad),
    "hyperopt": ("hyperopt", Hyperopt),
    "smac": ("smac", Smac),
    "hebo": ("hebo", Hebo),
    "ax": ("ax", Ax),
    "bayesian-optimization": ("bayes_opt", Bayesian),
}
