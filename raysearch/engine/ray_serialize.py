"""Whether a job can be sent to workers, found out before anything starts."""

from __future__ import annotations

import importlib.machinery
import inspect
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ray import cloudpickle

from ..errors import ObjectiveError

LARGE = 10_000_000  # bytes that an objective may bring along without a warning


def check_serializable(objective: Callable[..., Any]) -> None:
    """Raise ObjectiveError, naming the variable to blame, if it cannot be sent.

    A function from a file that workers cannot import travels whole, with what it uses of
    that file.
    """
    _send_whole(objective)
    size = _size(objective)
    if isinstance(size, Exception):
        path, value = _culprit(objective)
        raise ObjectiveError(
            f"objective: it must be sent to workers, but {path} (a {_type(value)}) cannot be "
            f"serialized: {size}; create it inside the objective, or pass plain data as "
            "search(data={...}), found there as trial.data"
        ) from size


def warn_if_large(objective: Callable[..., Any]) -> None:
    """Warn if a serializable objective brings along much data, and say how it should travel."""
    size = _size(objective)
    if isinstance(size, int) and size > LARGE:
        sizes = {name: _size(value) for name, value in captured(objective)}
        name, most = max(
            ((n, s) for n, s in sizes.items() if isinstance(s, int)),
            key=lambda item: item[1],
            default=("the objective", size),
        )
        warnings.warn(
            f"objective: it brings along {size / 1e6:.0f} MB, most of them in {name!r} "
            f"({most / 1e6:.0f} MB); pass it as search(data={{{name!r}: {name}}}) and use "
            f"trial.data[{name!r}], then it is stored once and shared by all workers of a "
            "machine",
            stacklevel=4,
        )


def captured(objective: Any) -> Iterator[tuple[str, Any]]:
    """The variables that travel with a function: closure, globals, attributes, defaults."""
    if hasattr(objective, "func") and hasattr(objective, "keywords"):  # functools.partial
        yield from captured(objective.func)
        yield from ((f"argument {i + 1}", value) for i, value in enumerate(objective.args))
        yield from objective.keywords.items()
    elif inspect.ismethod(objective):
        yield "self", objective.__self__
    elif inspect.isfunction(objective):
        variables = inspect.getclosurevars(objective)
        yield from variables.nonlocals.items()
        yield from variables.globals.items()
        names = inspect.signature(objective).parameters.values()
        yield from ((p.name, p.default) for p in names if p.default is not p.empty)
    else:
        yield from getattr(objective, "__dict__", {}).items()


def _culprit(value: Any, path: str = "", depth: int = 4) -> tuple[str, Any]:
    """The innermost variable that cannot be serialized, and the way to it."""
    if depth and not inspect.ismodule(value) and not inspect.isclass(value):
        for name, inner in _parts(value):
            if isinstance(_size(inner), Exception):
                return _culprit(inner, f"{path}.{name}" if path else repr(name), depth - 1)
    return path or "it", value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(name), inner) for name, inner in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(i), inner) for i, inner in enumerate(value))
    else:
        yield from captured(value)


def _size(value: Any) -> int | Exception:
    try:
        return len(cloudpickle.dumps(value))
    except Exception as error:
        return error


def _type(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _send_whole(objective: Any) -> None:
    module = inspect.getmodule(getattr(objective, "func", objective))
    if module is None or module.__name__ == "__main__" or _importable(module.__name__):
        return
    cloudpickle.register_pickle_by_value(module)


def _importable(module: str) -> bool:
    """Whether workers find the module: installed, or in the folder of the program."""
    program = os.path.dirname(os.path.abspath(sys.argv[0])) if sys.argv[0] else os.getcwd()
    python_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [os.getcwd(), program, *sysconfig.get_paths().values(), *filter(None, python_path)]
    top = module.partition(".")[0]
    return (
        top in sys.builtin_module_names
        or importlib.machinery.PathFinder.find_spec(top, places) is not None
    )
