"""WarmStart: what was good comes first, and who goes on learns from it."""

from __future__ import annotations

import numpy as np
import pytest

import raysearch as rs
from raysearch.errors import UsageError
from raysearch.space import Array, Choice, Float, Int, Space
from raysearch.strategies import build, from_json, to_json
from raysearch.strategies.asha import ASHA
from raysearch.strategies.gaussian_process import GaussianProcess
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.random import RandomSearch
from raysearch.strategies.warm_start import WarmStart
from raysearch.trial import FOREIGN, Batch, Outcome

SPACE = Space({"x": Float(0, 1), "n": Int(1, 9), "kind": Choice(["a", "b"])})
GOOD = {"x": 0.25, "n": 3, "kind": "b"}


def asked(search, space=SPACE, n=3):
    state, batch = search.ask(search.init(space, 0), n)
    return state, batch, space.decode(batch.x).configs()


def test_configurations_come_first_in_their_order() -> None:
    other = {**GOOD, "n": 4}
    _, batch, configs = asked(WarmStart(RandomSearch(), [other, GOOD, other]))
    assert configs[:2] == [other, GOOD]
    assert configs[2] != other  # once is enough
    assert batch.number.tolist() == [0, 1, 2]


def test_an_array_comes_back_as_it_was() -> None:
    space = Space({"w": Array(3, -1, 1), "x": Float(0, 1)})
    good = {"w": np.array([-1.0, 0.25, 0.5]), "x": 0.75}
    _, _, (config, *_) = asked(WarmStart(RandomSearch(), [good]), space)
    assert config["w"].tolist() == [-1.0, 0.25, 0.5]
    assert config["x"] == 0.75


def test_other_spaces_lend_what_fits() -> None:
    old = {"x": 7.0, "n": 3, "rate": 0.1}
    _, _, (config, *_) = asked(WarmStart(RandomSearch(), [old]))
    assert config["n"] == 3
    assert 0 <= config["x"] <= 1


def test_what_breaks_a_constraint_of_the_space_is_left_out() -> None:
    space = Space(dict(SPACE.parameters), constraints=[lambda c: c["n"] != 3])
    _, _, configs = asked(WarmStart(RandomSearch(), [GOOD, {**GOOD, "n": 5}]), space)
    assert configs[0]["n"] == 5


def test_the_outer_strategy_goes_on_as_if_told_by_others() -> None:
    space, search = Space({"x": Float(0, 1)}), WarmStart(LocalSearch(), [{"x": 0.3}])
    state, batch = search.ask(search.init(space, 0), 2)
    outcome = Outcome(np.array([[-5.0], [1.0]]))
    state = search.tell(state, batch, outcome)

    plain = LocalSearch()
    alone, own = plain.ask(plain.init(space, 0), 1)
    alone = plain.tell(alone, Batch(batch.x, np.array([FOREIGN, 0])), outcome)
    np.testing.assert_array_equal(batch.x[1:], own.x)
    np.testing.assert_array_equal(search.ask(state, 3)[1].x, plain.ask(alone, 3)[1].x)
    assert search.ask(state, 3)[1].number.tolist() == [2, 3, 4]


def test_nothing_comes_twice_where_it_could() -> None:
    space = Space({"n": Int(1, 4)})
    search = WarmStart(RandomSearch(), [{"n": 2}])
    state, batch, _ = asked(search, space, 4)
    assert len(batch) == 1  # it is waited for
    state = search.tell(state, batch, Outcome(np.zeros((1, 1))))
    state, rest = search.ask(state, 5)
    assert sorted(c["n"] for c in space.decode(rest.x).configs()) == [1, 3, 4]


def test_what_others_have_told_does_not_come_first_any_more() -> None:
    space = Space({"n": Int(1, 4)})
    search = WarmStart(RandomSearch(), [{"n": 2}])
    state = search.init(space, 0)
    point = space.encode(space.columns([{"n": 2}]))
    state = search.tell(state, Batch(point, np.array([FOREIGN])), Outcome(np.zeros((1, 1))))
    _, rest = search.ask(state, 5)
    assert sorted(c["n"] for c in space.decode(rest.x).configs()) == [1, 3, 4]


def test_it_is_stored_and_typed_like_any_strategy() -> None:
    search = WarmStart(GaussianProcess(cost="gb"), [GOOD])
    assert from_json(to_json(search)) == search
    assert search.costs() == "gb"
    assert build("warm-start", {"outer": "local", "configs": '[{"x": 0.5}]'}) == WarmStart(
        LocalSearch(), [{"x": 0.5}]
    )


@pytest.mark.parametrize("configs", ["abc", [3], {"x": 1}])
def test_what_are_no_configurations_is_refused(configs) -> None:
    with pytest.raises(UsageError, match="option configs: expected a list of configurations"):
        WarmStart(configs=configs)


def test_budgets_are_for_the_outermost_strategy() -> None:
    with pytest.raises(UsageError, match="option outer: expected a strategy that sets no budgets"):
        WarmStart(ASHA())
    ASHA(WarmStart(RandomSearch(), [GOOD]))


def test_a_search_that_begins_well_finds_more() -> None:
    space = {f"x{i}": rs.Float(0, 1) for i in range(10)}

    def found(strategy):
        def objective(config):
            return sum((x - 0.3) ** 2 for x in config.values())

        study = rs.search(objective, space, strategy, trials=12, address="inline", progress=False)
        return study.best.metrics["loss"]

    warm = found(WarmStart(GaussianProcess(initial=4), [dict.fromkeys(space, 0.35)]))
    assert warm < found(GaussianProcess(initial=4)) / 5
