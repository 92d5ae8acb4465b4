from __future__ import annotations

import functools
import math

import pytest

from raysearch.engine.objective import Signature, examine, ready, vectorized
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


# --- classes ----------------------------------------------------------------------------------


class Nothing:
    def __init__(self, size=3):
        self.size = size

    def __call__(self, config):
        return float(self.size)


class Data(Nothing):
    def __init__(self, data):
        self.size = data["size"]

    def __call__(self, config, trial):
        return float(self.size)


class Path(Nothing):
    def __init__(self, path, data=None):
        self.size = len(path) + data["size"]


class Device(Nothing):
    def __init__(self, *, device="none", data=None):
        assert device == "cuda:0"
        super().__init__()


@vectorized
class Columns(Nothing):
    def __call__(self, columns):
        return columns["x"] * self.size


class Yields(Nothing):
    def __call__(self, config, trial):
        yield float(self.size)


@pytest.mark.parametrize(
    ("kind", "signature", "size"),
    [
        (Nothing, Signature(is_class=True), 3),
        (functools.partial(Nothing, 4), Signature(is_class=True), 4),
        (Data, Signature(takes_trial=True, is_class=True), 5),
        (functools.partial(Path, "ab"), Signature(is_class=True), 7),
        (functools.partial(Path, "ab", data={"size": 1}), Signature(is_class=True), 3),
        (Device, Signature(is_class=True), 3),
        (Columns, Signature(vectorized=True, is_class=True), 3),
        (Yields, Signature(takes_trial=True, reports=True, is_class=True), 3),
    ],
)
def test_a_class_is_made_an_instance_of(kind, signature, size):
    assert examine(kind) == signature
    assert ready(kind, {"size": 5}, "cuda:0").size == size


def test_a_function_is_ready_as_it_is():
    assert ready(math.sqrt, {}) is math.sqrt


class Late:
    async def __call__(self, config): ...


class Uncallable:
    pass


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            Path,
            r"takes nothing, data or device, found Path\(path, data=None\); fix the others with",
        ),
        (
            Uncallable,
            "or with step, save and load, found Uncallable, which lacks __call__ and",
        ),
        (Late, "found the async function __call__"),
        (vectorized(type("Both", (Yields,), {})), r"\(columns\) only"),
    ],
)
def test_what_is_wrong_with_a_class_is_said(kind, says):
    with pytest.raises(ObjectiveError, match=says):
        examine(kind)


def test_an_instance_that_cannot_be_made_is_said_why():
    with pytest.raises(ObjectiveError, match=r"(?s)Data.__init__ raised KeyError: 'size'.*line"):
        ready(Data, {})
