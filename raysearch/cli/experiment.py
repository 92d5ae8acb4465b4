"""Experiment files: what is to be searched, in Python or in TOML.

A Python file defines `objective` and `space`, and if it likes `strategy` and `settings`, a
dict of keyword arguments of `raysearch.search`. A TOML file says the same; a strategy may be
given by its name in both::

    objective = "train:objective"       # file or module beside this one, and the function in it
    strategy = "local"                  # or a table: {name = "local", chains = 4}

    [space]
    lr        = {float = [1e-5, 1e-1], log = true}
    optimizer = {choice = ["sgd", "adam"]}
    momentum  = {float = [0.8, 0.99], when = {optimizer = "sgd"}}

    [settings]
    trials = 64
    metric = "accuracy"
    mode   = "max"

Either is loaded as ``python FILE`` would: its folder is where imports are looked for first,
here and on the workers.
"""

from __future__ import annotations

import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module, invalidate_caches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import strategies
from ..errors import SpaceError, UsageError
from ..space import KINDS, Parameter, Space, parameter_from_json, space_of
from ..space.names import nearest
from .command import seconds
from .exits import ExperimentError

if TYPE_CHECKING:
    from ..strategies.base import AnyStrategy


@dataclass(frozen=True)
class Experiment:
    """What a file says.

    path       of the file
    objective  the function
    space      to search
    strategy   or None: left to `raysearch.search`
    settings   keyword arguments of `raysearch.search`
    """

    path: Path
    objective: Callable[..., Any]
    space: Space
    strategy: AnyStrategy | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def load(path: Path) -> Experiment:
    """The experiment in a file; ExperimentError says what is wrong and where."""
    if not path.is_file():
        raise UsageError(
            f"FILE: there is no file {path}; check the path, or see raysearch run --help"
        )
    if path.suffix not in (".py", ".toml"):
        raise UsageError(f"FILE: expected a .py or .toml file, found {path.name}")
    path = path.resolve()
    # As for a script: imports look here first, and Ray passes the folder on to its workers
    sys.argv = [str(path)]
    sys.path.insert(0, str(path.parent))
    invalidate_caches()
    return _from_python(path) if path.suffix == ".py" else _from_toml(path)


# --- Python -------------------------------------------------------------------------------


def _from_python(path: Path) -> Experiment:
    module = _load_module(path)
    settings = getattr(module, "settings", {})
    if not isinstance(settings, Mapping):
        raise ExperimentError(f"{path.name}: settings: expected a dict, found {settings!r}")
    return Experiment(
        path,
        _attribute(module, "objective", path.name),
        _space(_attribute(module, "space", path.name), path.name),
        _strategy(getattr(module, "strategy", None), path.name),
        _settings(settings, path.name),
    )


def _load_module(path: Path) -> ModuleType:
    """The file as a module of its own name, under which workers find it as well."""
    name = path.stem
    known = sys.modules.get(name)
    if name in sys.stdlib_module_names or (
        known is not None and getattr(known, "__file__", None) != str(path)
    ):
        raise ExperimentError(
            f"{path.name}: another module is called {name!r}; give the file another name"
        )
    spec = spec_from_file_location(name, path)
    assert spec is not None  # there is one for every .py file
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    with _blamed_on(path):
        spec.loader.exec_module(module)
    return module


class _blamed_on:
    """Turns errors of the user's code into an ExperimentError that shows their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, (KeyboardInterrupt, ExperimentError)):
            return
        told = traceback.TracebackException.from_exception(error)
        own = [f for f in told.stack if "importlib" not in f.filename and f.filename != __file__]
        lines = traceback.format_list(own) + list(told.format_exception_only())
        raise ExperimentError(f"{self.path.name} cannot be loaded\n" + "".join(lines).rstrip())


def _attribute(module: ModuleType, name: str, where: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise ExperimentError(
            f"{where}: expected it to define {name!r}; {nearest(name, public)}"
        ) from None


# --- TOML ---------------------------------------------------------------------------------


def _from_toml(path: Path) -> Experiment:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path.name}: {error}") from None
    _known(content, ("objective", "space", "strategy", "settings"), path.name)
    for key in ("objective", "space"):
        if key not in content:
            raise ExperimentError(f"{path.name}: {key} is missing")
    for key in ("space", "settings"):
        if not isinstance(content.get(key, {}), Mapping):
            raise ExperimentError(f"{path.name}: {key}: expected a table, found {content[key]!r}")
    parameters = {
        name: _parameter(description, f"{path.name}: space.{name}")
        for name, description in content["space"].items()
    }
    return Experiment(
        path,
        _objective(content["objective"], path),
        _space(parameters, path.name),
        _strategy(content.get("strategy"), path.name),
        _settings(content.get("settings", {}), path.name),
    )


def _objective(text: Any, path: Path) -> Callable[..., Any]:
    where = f"{path.name}: objective"
    name, colon, function = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not (name and colon and function):
        raise ExperimentError(f'{where}: expected "module:function", found {text!r}')
    beside = path.parent / f"{name}.py"
    if beside.is_file():
        module = _load_module(beside)
    else:
        with _blamed_on(path):
            module = import_module(name)
    objective: Callable[..., Any] = _attribute(module, function, where)
    return objective


def _parameter(description: Any, where: str) -> Parameter:
    if not isinstance(description, Mapping):
        raise ExperimentError(
            f"{where}: expected a table such as {{float = [0.0, 1.0]}}, found {description!r}"
        )
    kind = next((kind for kind in KINDS if kind in description), None)
    if kind is not None:
        options = {f.name for f in fields(KINDS[kind]) if f.init and f.kw_only}
        _known(description, {kind, "when", *options} - {"conditions"}, where)
    try:
        return parameter_from_json(description)
    except SpaceError as error:
        raise ExperimentError(f"{where}: {error}") from None


# --- both ---------------------------------------------------------------------------------


def _space(space: Any, where: str) -> Space:
    """The space, or that of a mapping from names to parameters."""
    try:
        return space_of(space)
    except SpaceError as error:
        raise ExperimentError(f"{where}: {error}") from None


def _strategy(description: Any, where: str) -> AnyStrategy | None:
    """A strategy; or the one of a name, or of a table with a name and options."""
    if description is None:
        return None
    table = {"name": description} if isinstance(description, str) else description
    try:
        if not isinstance(table, Mapping):
            strategies.check(description)
            strategy: AnyStrategy = description
            return strategy
        if not isinstance(table.get("name"), str):
            raise UsageError(f"expected a name, or a table with a name, found {description!r}")
        options = {key: value for key, value in table.items() if key != "name"}
        return strategies.from_json({"strategy": table["name"], "options": options})
    except UsageError as error:
        text = str(error).removeprefix("strategy: ")
        raise ExperimentError(f"{where}: strategy: {text}") from None


def _settings(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Keyword arguments of `raysearch.search`; durations may be texts such as "2h"."""
    from inspect import signature

    from ..search import search

    known = [
        name
        for name, parameter in signature(search).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    _known(settings, known, f"{where}: settings")
    arguments = dict(settings)
    for name in ("time_limit", "timeout"):
        if isinstance(arguments.get(name), str):
            try:
                arguments[name] = seconds(arguments[name])
            except ValueError as error:
                raise ExperimentError(f"{where}: settings.{name}: {error}") from None
    return arguments


def _known(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse keys that nobody reads, because they are misspelt."""
    known = sorted(known)
    for key in given:
        if key not in known:
            dot = ": " if where.endswith((".py", ".toml")) else "."
            raise ExperimentError(f"{where}{dot}{key} is unknown; {nearest(key, known)}")
