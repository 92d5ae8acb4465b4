from __future__ import annotations

import functools
import math

import pytest

from raysearch.engine.objective import examine, vectorized
from raysearch.errors import ObjectiveError


class Instance:
    def __call__(self, config):
        return 0.0

    def method(self, config, trial):
        return 0.0


@pytest.mark.parametrize(
    ("objective", "takes_trial"),
    [
        (lambda config: 0.0, False),
        (lambda config, trial: 0.0, True),
        (lambda config, other: 0.0, True),
        (lambda config, verbose=False: 0.0, False),
        (lambda config, trial=None: 0.0, True),
        (lambda *args: 0.0, False),
        (lambda config, **options: 0.0, False),
        (functools.partial(lambda data, config: 0.0, 1), False),
        (functools.partial(lambda config, trial, data: 0.0, data=1), True),
        (Instance(), False),
        (Instance().method, True),
        (math.sqrt, False),
        (max, False),
    ],
)
def test_how_an_objective_is_called(objective, takes_trial):
    assert examine(objective).takes_trial is takes_trial


def test_a_vectorized_objective_is_known_by_its_mark():
    assert examine(vectorized(lambda columns: columns["x"])).vectorized
    with pytest.raises(ObjectiveError, match=r"\(columns\) only, found <lambda>\(columns, trial\)"):
        examine(vectorized(lambda columns, trial: 0.0))


async def coroutine(config): ...


def generator(config):
    yield 1.0


def test_a_vectorized_objective_does_not_report():
    with pytest.raises(ObjectiveError, match="arrays, found the generator function <lambda>"):
        examine(vectorized(lambda columns: (yield 1.0)))


async def async_generator(config):
    yield 1.0


class Steps:
    def __call__(self, config):
        yield 1.0


@pytest.mark.parametrize("objective", [generator, functools.partial(generator), Steps()])
def test_a_generator_reports(objective):
    assert examine(objective).reports


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (3, "found int 3"),
        (Instance, "found the class Instance; pass a function, or an instance"),
        (coroutine, "async function coroutine"),
        (async_generator, "async generator"),
        (lambda: 0.0, r"found <lambda>\(\)"),
        (lambda a, b, c: 0.0, r"<lambda>\(a, b, c\).*functools.partial"),
        (lambda config, *, data: 0.0, "give data a default"),
        (lambda **options: 0.0, r"<lambda>\(\*\*options\)"),
    ],
)
def test_what_cannot_be_called_is_named(objective, says):
    with pytest.raises(ObjectiveError, match=says) as caught:
        examine(objective)
    assert str(caught.value).startswith("objective: expected a function of (config)")
