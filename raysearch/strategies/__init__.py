"""Strategies: one method a file, known by the names of this registry.

To add one: write its file, and its line in STRATEGIES. The command line's choices and
options, the description in a study, the README's table and all conformance tests follow.
Other packages add theirs by an entry point of the group "raysearch.strategies". The names
can be listed without importing numpy, as the command line's help does.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import SpaceError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import AnyStrategy

#: name -> file:class
STRATEGIES: dict[str, str] = {
    "auto": "auto:Auto",
    "random": "random:RandomSearch",
    "grid": "grid:GridSearch",
    "quasi-random": "quasi_random:QuasiRandom",
    "local": "local_search:LocalSearch",
    "annealing": "annealing:SimulatedAnnealing",
    "halving": "successive_halving:SuccessiveHalving",
    "asha": "asha:ASHA",
    "asha-stopping": "asha_stopping:StoppingASHA",
    "hyperband": "hyperband:Hyperband",
    "median-stopping": "median_stopping:MedianStopping",
    "pbt": "population_based:PopulationBased",
    "gp": "gaussian_process:GaussianProcess",
    "trust-region": "trust_region:TrustRegion",
    "cma-es": "cma_es:CMAES",
    "de": "differential:DifferentialEvolution",
    "nsga2": "nsga2:NSGA2",
    "nsga3": "nsga3:NSGA3",
    "ga": "genetic:GeneticAlgorithm",
    "es": "evolution_strategy:EvolutionStrategy",
    "islands": "islands:Islands",
    "tpe": "tpe:TPE",
    "gradient": "gradient_search:GradientSearch",
    "warm-start": "warm_start:WarmStart",
    "portfolio": "portfolio:Portfolio",
    "relay": "relay:Relay",
}


@cache
def _plugins() -> Mapping[str, EntryPoint]:
    from importlib.metadata import entry_points  # takes as long as all else of this file

    found = {point.name: point for point in entry_points(group="raysearch.strategies")}
    return {name: point for name, point in found.items() if name not in STRATEGIES}


def names() -> list[str]:
    """Names of all strategies: our own, then those of other packages."""
    return [*STRATEGIES, *sorted(_plugins())]


def get(name: str) -> type[AnyStrategy]:
    """The class of a strategy.

    Raises UsageError with the nearest name if there is none of this name.

    >>> get("random")
    <class 'raysearch.strategies.random.RandomSearch'>
    """
    from .base import Strategy

    if name in STRATEGIES:
        module, cls = STRATEGIES[name].split(":")
        return typing.cast("type[AnyStrategy]", getattr(import_module(f".{module}", __name__), cls))
    if name not in _plugins():
        from ..space.names import guess

        if ":" in name:
            raise UsageError(
                f"strategy: {name!r} is a class of somebody's own, and nothing is imported because "
                f"of what is stored; import it, and pass strategy={name.rpartition(':')[2]}(...)"
            )
        raise UsageError(
            f"strategy: expected one of {names()}, found {name!r}; "
            f"{guess(name, names()) or 'take one of these'}"
        )
    found = _plugins()[name].load()
    if not (isinstance(found, type) and issubclass(found, Strategy) and is_dataclass(found)):
        raise UsageError(f"strategy {name!r}: expected a Strategy, found {found!r}; ask its author")
    return found


def summary(name: str) -> str:
    """What a strategy is, in one line.

    >>> summary("random")
    'Independent random points; needs no choices, bears any concurrency.'
    """
    return (get(name).__doc__ or "").strip().split("\n")[0]


def check(strategy: object, objectives: int = 1) -> None:
    """Raise UsageError unless it is a strategy, and takes so many objectives."""
    from .base import Strategy

    if not isinstance(strategy, Strategy):
        found = f"the class {strategy.__name__}" if isinstance(strategy, type) else repr(strategy)
        raise UsageError(
            f"strategy: expected one such as RandomSearch(), found {found}{_instead(strategy)}"
        )
    if not strategy.takes(objectives):
        able = [f"{cls.__name__}()" for cls in map(get, STRATEGIES) if cls().takes(objectives)]
        raise UsageError(
            f"strategy: {strategy!r} takes one objective, found {objectives}; "
            f"take one of {able}, or weigh the objectives into one"
        )


def _instead(found: object) -> str:
    """What to write instead of a class, or of a strategy's name."""
    if isinstance(found, type):
        return "; add () to it"
    near = get_close_matches(found, names(), n=1) if isinstance(found, str) else []
    return f"; write {get(near[0]).__name__}()" if near else ""


# --- as JSON --------------------------------------------------------------------------------


def to_json(strategy: AnyStrategy) -> dict[str, Any]:
    """The strategy as JSON values; `from_json` goes back.

    One whose class is not registered is described as "module:Class", for which there is no
    way back. Raises UsageError if an option has no JSON value.

    >>> to_json(get("quasi-random")(method="halton"))
    {'strategy': 'quasi-random', 'options': {'method': 'halton'}}
    """
    cls = type(strategy)
    place = (cls.__module__, cls.__qualname__)
    name = next((name for name in names() if _place(name) == place), ":".join(place))
    options = {f.name: _plain(getattr(strategy, f.name), f.name) for f in _options(cls)}
    return {"strategy": name, "options": options}


def from_json(description: Mapping[str, Any]) -> AnyStrategy:
    """The strategy that `to_json` described; UsageError names what is wrong.

    Nothing but what is registered is ever imported.

    >>> from_json({"strategy": "local", "options": {"chains": 3}})
    LocalSearch(chains=3, step=0.2, tolerance=0.0001)
    """
    if not isinstance(description, Mapping) or not isinstance(description.get("strategy"), str):
        raise UsageError(
            f"strategy: expected {{'strategy': name, 'options': {{...}}}}, found {description!r}"
        )
    cls, options = get(description["strategy"]), description.get("options", {})
    _check_options(cls, options)
    return cls(**{option: _revived(value) for option, value in options.items()})


def build(name: str, options: Mapping[str, str]) -> AnyStrategy:
    """The strategy with options as people type them on the command line.

    Raises UsageError if an option is unknown or out of its range.

    >>> build("grid", {"levels": "3", "order": "shuffled"})
    GridSearch(levels=3, order='shuffled')
    """
    cls = get(name)
    return cls(**_parsed(cls, options))


def rebuild(strategy: AnyStrategy, options: Mapping[str, str]) -> AnyStrategy:
    """The strategy with some options changed, as for `build`.

    >>> rebuild(build("local", {"chains": "3"}), {"step": "0.1"})
    LocalSearch(chains=3, step=0.1, tolerance=0.0001)
    """
    return replace(strategy, **_parsed(type(strategy), options))


def _place(name: str) -> tuple[str, str]:
    if name in STRATEGIES:
        module, _, cls = STRATEGIES[name].partition(":")
        return f"{__name__}.{module}", cls
    return _plugins()[name].module, _plugins()[name].attr


def _options(cls: type[AnyStrategy]) -> list[Field[Any]]:
    return [f for f in fields(cls) if f.init]


def _check_options(cls: type[AnyStrategy], options: Mapping[str, Any]) -> None:
    from ..space.names import nearest

    known = [f.name for f in _options(cls)]
    for option in options:
        if option not in known:
            there = nearest(option, known) if known else "it has none"
            raise UsageError(f"strategy: {cls.__name__} has no option {option!r}; {there}")


def _plain(value: Any, where: str) -> Any:
    """The value of an option as JSON values."""
    from ..space.names import to_plain
    from .base import Strategy

    if isinstance(value, Strategy):
        return to_json(value)
    if isinstance(value, (tuple, list)):
        return [_plain(part, f"{where}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, Mapping):
        return {key: _plain(part, f"{where}[{key!r}]") for key, part in value.items()}
    try:
        return to_plain(value)
    except SpaceError as error:
        from ..optim import RULES

        if type(value) in RULES.values():
            options = {f.name: _plain(getattr(value, f.name), where) for f in fields(value)}
            return {"rule": type(value).__name__, "options": options}
        raise UsageError(
            f"option {where}: {error}, and could not be compared when a study goes on; "
            "use numbers, texts, lists and strategies"
        ) from None


def _revived(value: Any) -> Any:
    """Inverse to `_plain`; options hold tuples, never lists."""
    if isinstance(value, Mapping):
        if "strategy" in value and value.keys() <= {"strategy", "options"}:
            return from_json(value)
        if value.keys() == {"rule", "options"}:
            return _rule(value["rule"], value["options"])
        return {key: _revived(part) for key, part in value.items()}
    return tuple(_revived(part) for part in value) if isinstance(value, list) else value


def _rule(name: str, options: Mapping[str, Any]) -> Any:
    """A rule of `raysearch.optim`."""
    from ..optim import RULES

    if name not in RULES:
        raise UsageError(f"rule: expected one of {list(RULES)}, found {name!r}")
    return RULES[name](**{option: _revived(value) for option, value in options.items()})


def _parsed(cls: type[AnyStrategy], options: Mapping[str, str]) -> dict[str, Any]:
    _check_options(cls, options)
    hints = typing.get_type_hints(cls)
    return {option: _parse(text, hints[option]) for option, text in options.items()}


def _parse(text: str, hint: Any) -> Any:
    """The value that a text stands for, given the option's type.

    Numbers, true, false, null, lists and mappings are written as in JSON; a name of a
    strategy stands for that strategy where one is wanted; everything else is a text.
    """
    from .base import Strategy

    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    origins = [typing.get_origin(kind) or kind for kind in kinds]
    if any(isinstance(origin, type) and issubclass(origin, Strategy) for origin in origins):
        return build(text, {})
    if str in origins or (typing.Literal in origins and len(origins) == 1):
        return text
    try:
        return _revived(json.loads(text))
    except ValueError:
        return text  # and the strategy says what it expects
