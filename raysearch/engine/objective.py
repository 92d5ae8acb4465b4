"""What a search may be given to run: functions of a configuration, checked beforehand.

Or a class whose instances are such functions: every worker makes one for itself, which lives as
long as the search.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..errors import ObjectiveError
from ..space import Array, Columns
from .member import METHODS, Member

F = TypeVar("F", bound=Callable[..., Any])

_EXPECTED = "expected a function of (config) or (config, trial)"
_GIVEN = ("data", "device")  # what __init__ of a class may ask for


@dataclass(frozen=True)
class Signature:
    """How an objective wants to be called.

    vectorized   with columns of many configurations at once
    takes_trial  with the `Trial` as second argument
    reports      it is a generator: it yields metrics as it goes on
    is_class     it is a class, to be made an instance of first: `ready`
    member       of instances that hold a training and never end: `Member`
    """

    vectorized: bool = False
    takes_trial: bool = False
    reports: bool = False
    is_class: bool = False
    member: bool = False


def vectorized(function: F) -> F:
    """Mark an objective or constraint that works on many configurations at once.

    It, or an instance of it if it is a class, gets columns (parameter name -> array of length
    k) and returns an array of length k, or a mapping from metric names to such arrays. If
    the space is a single `Array`, an objective gets no mapping, but that array (k, *shape).

    >>> @vectorized
    ... def sphere(columns):
    ...     return columns["x"] ** 2 + columns["y"] ** 2
    """
    function.__vectorized__ = True  # type: ignore[attr-defined]
    return function


def together(columns: Columns) -> Any:
    """What a vectorized objective gets of these configurations."""
    names = list(columns.parameters)
    single = len(names) == 1 and isinstance(columns.parameters[names[0]], Array)
    return columns[names[0]] if single else columns


def examine(objective: Callable[..., Any]) -> Signature:
    """How to call the objective; ObjectiveError says why it cannot be called.

    >>> examine(lambda config, trial: trial.rng.random()).takes_trial
    True
    """
    if _class(objective) is None:
        return _examine(objective)
    return _examine_class(objective)


def ready(
    objective: Callable[..., Any], data: Mapping[str, Any], device: str = "cpu"
) -> Callable[..., Any]:
    """The function that trials call: the objective, or an instance if it is a class.

    data    what was passed as ``search(data=...)``, for an ``__init__`` that takes it
    device  as of `Trial`, the same

    Raises ObjectiveError if ``__init__`` raises.
    """
    if (kind := _class(objective)) is None:
        return objective
    given = {"data": data, "device": device}
    try:
        made: Any = objective(**{name: given[name] for name in _missing(objective)})
    except Exception as error:
        raise ObjectiveError(
            f"objective: {kind.__name__}.__init__ raised {type(error).__name__}: {error}\n"
            + "".join(traceback.format_exception(error))
        ) from error
    return Member(made, _takes_trial(made.step)) if _is_member(kind) else made


def _class(objective: Any) -> type | None:
    """The class that is to be made an instance of, if it is one, with arguments fixed or not."""
    inner = objective.func if isinstance(objective, functools.partial) else objective
    return inner if inspect.isclass(inner) else None


def _has(kind: type, method: str) -> bool:
    return any(method in vars(base) for base in kind.__mro__)


def _is_member(kind: type) -> bool:
    return not _has(kind, "__call__") and all(_has(kind, method) for method in METHODS)


def _examine_class(objective: Any) -> Signature:
    kind: Any = _class(objective)
    member = _is_member(kind)
    if not (member or _has(kind, "__call__")):
        lacking = [method for method in METHODS if not _has(kind, method)]
        raise ObjectiveError(
            "objective: expected a class with __call__(config), or with step, save and load, found "
            f"{kind.__name__}, which lacks __call__ and {lacking}"
        )
    if not set(_missing(objective)) <= set(_GIVEN):
        raise ObjectiveError(
            f"objective: expected a class whose __init__ takes nothing, data or device, found "
            f"{_describe(objective)}; fix the others with functools.partial"
        )
    if member:
        for method in METHODS:
            _check_method(kind, method)
        return Signature(takes_trial=True, reports=True, is_class=True, member=True)
    call = functools.partial(kind.__call__, None)  # as an instance's: without self
    many = bool(getattr(kind, "__vectorized__", False))
    return replace(_examine(vectorized(call) if many else call), is_class=True)


def _check_method(kind: type, method: str) -> None:
    """Refuse a method of a member that cannot be called as it will be."""
    call = functools.partial(getattr(kind, method), None)  # as an instance's: without self
    wanted = METHODS[method]
    many = 2 if method == "step" and _takes_trial(call) else len(wanted)
    try:
        inspect.signature(call).bind(*range(many))
    except TypeError:
        raise ObjectiveError(
            f"objective: expected {kind.__name__} with {method}({', '.join(wanted)}), found "
            f"{method}{inspect.signature(call)}"
        ) from None


def _missing(objective: Any) -> list[str]:
    """The arguments that a class is to be given: those without default, data and device."""
    try:
        parameters = list(inspect.signature(objective).parameters.values())
    except ValueError:  # some builtins do not tell
        return []
    fixed = objective.keywords if isinstance(objective, functools.partial) else {}
    return [
        p.name
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in fixed
        if p.default is p.empty or p.name in _GIVEN
    ]


def _examine(objective: Callable[..., Any]) -> Signature:
    if not callable(objective):
        raise ObjectiveError(
            f"objective: {_EXPECTED}, found {type(objective).__name__} {objective!r:.80}"
        )
    _refuse_unfinished(objective)
    many = bool(getattr(objective, "__vectorized__", False))
    takes_trial = _takes_trial(objective)
    if many and takes_trial:
        raise ObjectiveError(
            f"objective: a vectorized function takes (columns) only, found {_describe(objective)}"
        )
    reports = any(map(inspect.isgeneratorfunction, (objective, type(objective).__call__)))
    if many and reports:
        raise ObjectiveError(
            f"objective: a vectorized function returns arrays, found the generator function "
            f"{_describe(objective)}; leave out @vectorized"
        )
    return Signature(many, takes_trial, reports)


def _refuse_unfinished(objective: Callable[..., Any]) -> None:
    """Refuse functions whose call only makes something that would still have to be run."""
    functions = (objective, type(objective).__call__)
    for is_kind, kind, advice in (
        (inspect.iscoroutinefunction, "async function", "use def; asyncio.run() may be inside"),
        (inspect.isasyncgenfunction, "async generator", "use def and yield, without async"),
    ):
        if any(is_kind(function) for function in functions):
            raise ObjectiveError(
                f"objective: {_EXPECTED} that returns, found the {kind} "
                f"{_describe(objective)}; {advice}"
            )


def _takes_trial(objective: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(objective).parameters.values())
    except ValueError:  # some builtins do not tell
        return False
    required = [
        p
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    catch_all = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if any(p.kind is p.KEYWORD_ONLY for p in required):
        name = next(p.name for p in required if p.kind is p.KEYWORD_ONLY)
        raise ObjectiveError(
            f"objective: {_EXPECTED}, found {_describe(objective)}; give {name} a default, "
            f"or fix it with functools.partial(..., {name}=...)"
        )
    if len(required) > 2 or not (places or catch_all):
        raise ObjectiveError(
            f"objective: {_EXPECTED}, found {_describe(objective)}; parameters arrive together "
            "as the mapping config, further arguments can be fixed with functools.partial"
        )
    return len(required) == 2 or (len(places) > 1 and places[1].name == "trial")


def _describe(objective: Callable[..., Any]) -> str:
    """The function as its author wrote it: name and arguments."""
    inner = getattr(objective, "func", objective)  # of a functools.partial
    name = getattr(inner, "__name__", type(inner).__name__)
    try:
        return f"{name}{inspect.signature(objective)}"
    except ValueError:
        return str(name)
