"""The registry: names, JSON, options as texts; states as bytes."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from raysearch import strategies
from raysearch.errors import StudyCorrupt, UsageError
from raysearch.space import Float, Space
from raysearch.strategies import (
    base,
    build,
    check,
    from_json,
    get,
    names,
    rebuild,
    summary,
    to_json,
)
from raysearch.strategies.grid import GridSearch
from raysearch.strategies.known import Known
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.portfolio import Portfolio
from raysearch.strategies.random import RandomSearch
from raysearch.strategies.state import dump, load

SPACE = Space({"x": Float(0, 1)})


@dataclass(frozen=True, eq=False)
class NestedState(base.State):
    inner: base.State = field(kw_only=True)
    best: Known | None = None
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Nested(base.Strategy[NestedState]):
    """Another strategy, wrapped."""

    strategy: base.AnyStrategy = field(default_factory=RandomSearch)
    weights: tuple[float, ...] = (1.0, 2.0)

    def init(self, space, seed):
        return NestedState(space, seed, inner=self.strategy.init(space, seed))

    def ask(self, state, n):
        raise AssertionError("not used")

    def tell(self, state, batch, outcome):
        raise AssertionError("not used")


class Plugin:
    name, module, attr = "nested", __name__, "Nested"

    def load(self):
        return Nested


@pytest.fixture
def nested(monkeypatch):
    monkeypatch.setattr(strategies, "_plugins", lambda: {"nested": Plugin()})


def test_every_name_leads_to_a_class_with_a_summary():
    for name in names():
        assert issubclass(get(name), base.Strategy)
        assert 10 < len(summary(name)) < 100


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="found 'gird'; did you mean 'grid'"):
        get("gird")


@pytest.mark.parametrize(
    "strategy",
    [RandomSearch(), GridSearch({"x": 3}), GridSearch(7, "shuffled"), LocalSearch(step=0.1)],
    ids=repr,
)
def test_json_goes_back_and_forth(strategy):
    assert from_json(to_json(strategy)) == strategy


def test_strategies_of_other_packages_and_nested_ones(nested):
    strategy = Nested(LocalSearch(chains=3), (0.5,))
    description = to_json(strategy)
    assert description["options"]["strategy"]["strategy"] == "local"
    assert from_json(description) == strategy
    assert build("nested", {"strategy": "grid", "weights": "[1, 2]"}) == Nested(
        GridSearch(), (1, 2)
    )


def test_a_strategy_of_ones_own_is_described_but_never_imported():
    description = to_json(Nested(weights=(0.5,)))
    assert description == {
        "strategy": f"{__name__}:Nested",
        "options": {"strategy": {"strategy": "random", "options": {}}, "weights": [0.5]},
    }
    for name in (description["strategy"], "no_such_module:Evil"):
        cls = name.partition(":")[2]
        with pytest.raises(UsageError, match=rf"{name}'.*import it, and pass strategy={cls}\("):
            from_json({**description, "strategy": name})
    assert "no_such_module" not in sys.modules


def test_options_without_a_json_value_are_refused():
    with pytest.raises(UsageError, match=r"option weights\[1\]: .*no JSON value.*use numbers"):
        to_json(Nested(weights=(1.0, object())))


def test_numbers_of_numpy_are_options():
    step = np.float32(0.25)
    strategy = LocalSearch(chains=np.int64(3), step=step)
    assert repr(strategy) == "LocalSearch(chains=3, step=0.25, tolerance=0.0001)"
    assert GridSearch(levels=np.int64(2)) == GridSearch(2)
    assert repr(GridSearch({"x": np.int32(2)}).levels) == "{'x': 2}"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (RandomSearch, r"found the class RandomSearch; add \(\)"),
        ("random", r"such as RandomSearch\(\), found 'random'; write RandomSearch\(\)"),
        ("gird", r"found 'gird'; write GridSearch\(\)"),
        ("???", r"found '\?\?\?'$"),
        (None, "found None$"),
    ],
)
def test_what_is_no_strategy_is_refused_with_advice(found, message):
    with pytest.raises(UsageError, match=message):
        check(found)


def test_one_objective_is_not_two():
    check(LocalSearch(), 1)
    check(RandomSearch(), 2)
    with pytest.raises(
        UsageError, match=r"LocalSearch.*takes one objective, found 2; .*RandomSear"
    ):
        check(LocalSearch(), 2)


def test_nobody_is_advised_to_take_what_was_refused():
    with pytest.raises(UsageError, match=r"takes one objective, found 2") as caught:
        check(Portfolio((LocalSearch(),)), 2)
    advice = str(caught.value).partition("take one of")[2]
    assert "TPE()" in advice
    assert "Portfolio()" not in advice  # CMAES() is among its members


def test_options_as_texts():
    assert build("local", {"chains": "4", "step": "0.1"}) == LocalSearch(chains=4, step=0.1)
    assert build("grid", {"levels": '{"x": 2}'}) == GridSearch({"x": 2})
    with pytest.raises(UsageError, match=r"option chains: .*found 'many'"):
        build("local", {"chains": "many"})
    with pytest.raises(UsageError, match="no option 'chain'; did you mean 'chains'"):
        build("local", {"chain": "4"})
    with pytest.raises(UsageError, match="RandomSearch has no option 'chain'; it has none"):
        build("random", {"chain": "4"})
    assert rebuild(LocalSearch(chains=4), {"step": "0.1"}) == LocalSearch(chains=4, step=0.1)
    with pytest.raises(UsageError, match=r"option chains: .*found 2\.5"):
        build("local", {"chains": "2.5"})


@pytest.mark.parametrize("description", ["random", {"options": {}}, None, {"strategy": 3}])
def test_json_of_a_wrong_shape_is_refused(description):
    with pytest.raises(UsageError, match=r"strategy: expected \{'strategy'"):
        from_json(description)


def full_state():
    known = Known((np.array([1, 2**64 - 1], dtype=np.uint64), np.zeros(0, dtype=np.uint64)), 3)
    return NestedState(
        SPACE,
        2**63,
        7,
        inner=RandomSearch().init(SPACE, 1),
        best=known,
        parts=(None, True, 2**200, -0.0, math.inf, math.nan, "text é", (), np.float32(0.1),
               np.array([[1.5, np.nan]]), np.array(["a", "bc"]), np.array(3)),
    )  # fmt: skip


def test_a_state_with_everything_comes_back_exactly():
    state = full_state()
    loaded = load(dump(state), Nested(), SPACE)
    assert dump(loaded) == dump(state)
    assert loaded.space is SPACE
    assert loaded.parts[:5] == state.parts[:5]
    assert [type(part) for part in loaded.parts] == [type(part) for part in state.parts]
    assert isinstance(loaded.best, Known)
    assert loaded.best.runs[0].tolist() == [1, 2**64 - 1]


@pytest.mark.parametrize("part", [[1], {"a": 1}, ..., {1}, np.array([None])], ids=repr)
def test_what_cannot_be_stored_is_named(part):
    state = NestedState(SPACE, 0, inner=RandomSearch().init(SPACE, 0), parts=(1, part))
    with pytest.raises(UsageError, match=r"state\.parts\[1\]: expected an array"):
        dump(state)


def test_stored_bytes_that_are_something_else_are_refused():
    stored = dump(full_state())
    objects = io.BytesIO()
    np.savez(objects, tree=np.array([...]))
    for data in (b"", b"no archive", stored[:-30], objects.getvalue()):
        with pytest.raises(StudyCorrupt, match="strategy state"):
            load(data, Nested(), SPACE)
    with pytest.raises(StudyCorrupt, match="strategy state"):
        load(stored, RandomSearch(), SPACE)  # its state knows no class of this name
