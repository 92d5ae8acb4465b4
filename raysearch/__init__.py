"""Parallel search on Ray that never loses a trial.

What is public is listed in `_MODULES` and in the registry of strategies, and imported on first
use, so that ``import raysearch`` is quick and brings in neither Ray nor Arrow (PEP 562).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .strategies import STRATEGIES

if TYPE_CHECKING:
    from .asktell import AskTell as AskTell
    from .engine.objective import vectorized as vectorized
    from .errors import ClusterError as ClusterError
    from .errors import Interrupted as Interrupted
    from .errors import ObjectiveError as ObjectiveError
    from .errors import RaysearchError as RaysearchError
    from .errors import SearchFailed as SearchFailed
    from .errors import SpaceError as SpaceError
    from .errors import StudyError as StudyError
    from .errors import UsageError as UsageError
    from .evolve import evolve as evolve
    from .repeats import repeated as repeated
    from .replay import replay as replay
    from .search import confirm as confirm
    from .search import retry as retry
    from .search import search as search
    from .space import Array as Array
    from .space import Choice as Choice
    from .space import Float as Float
    from .space import Int as Int
    from .space import Space as Space
    from .stopping import NoImprovement as NoImprovement
    from .stopping import RegretBelow as RegretBelow
    from .stopping import Target as Target
    from .strategies.annealing import SimulatedAnnealing as SimulatedAnnealing
    from .strategies.asha import ASHA as ASHA
    from .strategies.asha_stopping import StoppingASHA as StoppingASHA
    from .strategies.auto import Auto as Auto
    from .strategies.cma_es import CMAES as CMAES
    from .strategies.differential import DifferentialEvolution as DifferentialEvolution
    from .strategies.evolution_strategy import EvolutionStrategy as EvolutionStrategy
    from .strategies.gaussian_process import GaussianProcess as GaussianProcess
    from .strategies.genetic import GeneticAlgorithm as GeneticAlgorithm
    from .strategies.gradient_search import GradientSearch as GradientSearch
    from .strategies.grid import GridSearch as GridSearch
    from .strategies.hyperband import Hyperband as Hyperband
    from .strategies.islands import Islands as Islands
    from .strategies.local_search import LocalSearch as LocalSearch
    from .strategies.median_stopping import MedianStopping as MedianStopping
    from .strategies.nsga2 import NSGA2 as NSGA2
    from .strategies.nsga3 import NSGA3 as NSGA3
    from .strategies.population_based import PopulationBased as PopulationBased
    from .strategies.portfolio import Portfolio as Portfolio
    from .strategies.quasi_random import QuasiRandom as QuasiRandom
    from .strategies.random import RandomSearch as RandomSearch
    from .strategies.relay import Relay as Relay
    from .strategies.successive_halving import SuccessiveHalving as SuccessiveHalving
    from .strategies.tpe import TPE as TPE
    from .strategies.trust_region import TrustRegion as TrustRegion
    from .strategies.warm_start import WarmStart as WarmStart
    from .study import Study as Study
    from .trial import Trial as Trial

__version__ = "0.1.0"

_MODULES = {
    "asktell": "AskTell",
    "engine.objective": "vectorized",
    "errors": "ClusterError Interrupted ObjectiveError RaysearchError SearchFailed SpaceError "
    "StudyError UsageError",
    "evolve": "evolve",
    "repeats": "repeated",
    "replay": "replay",
    "search": "confirm retry search",
    "space": "Array Choice Float Int Space",
    "stopping": "NoImprovement RegretBelow Target",
    "study": "Study",
    "trial": "Trial",
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}
_WHERE |= {
    name: f"strategies.{module}"
    for module, name in (place.split(":") for place in STRATEGIES.values())
}
_PACKAGES = ("hypergrad", "optim", "simulate", "testing")

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name not in _WHERE:
        raise AttributeError(f"module 'raysearch' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE, *_PACKAGES})


class _Package(ModuleType):
    """Keeps `raysearch.search` the function when its module, of the same name, is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _WHERE and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
