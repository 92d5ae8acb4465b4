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
    assert config["x"] == 1  # the nearest edge


@pytest.mark.parametrize(
    ("parameter", "given", "nearest"),
    [
        (Float(0, 1), 1.5, 1.0),
        (Float(0, 1, step=0.25), 0.3, 0.25),
        (Float(1e-3, 1, log=True), 0.0, 1e-3),
        (Int(1, 9, step=4), -7, 1),
        (Int(1, 8, step=3), 99, 7),
        (Int(1, 9), 3.7, 4),
        (Array(2, -1, 1), [-9, 0.5], [-1.0, 0.5]),
        (Choice([8, 16], ordered=True), 16, 16),
    ],
)
def test_numbers_out_of_range_give_way_to_the_nearest(parameter, given, nearest) -> None:
    space = Space({"p": parameter})
    _, _, (config, *_) = asked(WarmStart(RandomSearch(), [{"p": given}]), space)
    np.testing.assert_array_equal(config["p"], nearest)


@pytest.mark.parametrize("config", [{"knd": "a"}, {}])
def test_a_configuration_of_quite_another_space_is_refused(config) -> None:
    with pytest.raises(UsageError, match="warm start: expected configurations with parameters of"):
        WarmStart(RandomSearch(), [config]).init(SPACE, 0)


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


# --- studies --------------------------------------------------------------------------------

QUIET = {"address": "inline", "progress": False}


def steep(config):
    return (config["x"] - 0.3) ** 2 + config["n"] + (config["kind"] == "a")


@pytest.fixture(scope="module")
def earlier() -> rs.Study:
    return rs.search(steep, SPACE, RandomSearch(), trials=30, seed=5, **QUIET)


def best(study: rs.Study, most: int = 5) -> list[dict[str, object]]:
    return [study.trial(n).config for n in study.ranking[:most].tolist()]


def began(study: rs.Study, most: int) -> list[dict[str, object]]:
    return [study.trial(n).config for n in range(most)]


def test_a_study_stands_for_its_best_trials(earlier) -> None:
    assert WarmStart(RandomSearch(), earlier).configs == tuple(best(earlier))
    mixed = WarmStart(RandomSearch(), [GOOD, earlier.best, earlier])
    assert mixed.configs == (GOOD, earlier.best.config, *best(earlier))


def test_of_several_objectives_it_stands_for_the_front() -> None:
    metric = {"a": "min", "b": "min"}

    def both(config):
        return {"a": config["x"], "b": 1 - config["x"] + (config["kind"] == "a")}

    study = rs.search(both, SPACE, RandomSearch(), metric=metric, trials=30, **QUIET)
    front = study.pareto["number"].to_pylist()
    assert set(study.ranking.tolist()) == set(front)
    x = study.pareto["config.x"].to_pylist()
    ends = {front[int(np.argmin(x))], front[int(np.argmax(x))]}
    assert set(study.ranking[:2].tolist()) == ends


def test_a_search_begins_with_the_best_of_earlier_ones(earlier) -> None:
    narrow = {"x": Float(0, 1), "n": Int(1, 5)}  # overlaps
    study = rs.search(
        lambda c: c["x"], narrow, LocalSearch(), trials=6, warm_start=[earlier, {"n": 99}], **QUIET
    )
    first = [{"x": c["x"], "n": min(c["n"], 5)} for c in best(earlier)]
    assert began(study, 5) == first
    assert study.trial(5).config["n"] == 5
    loop = rs.AskTell(narrow, LocalSearch(), warm_start=earlier)
    assert [t.config for t in loop.ask(2)] == first[:2]


def test_budgets_are_set_for_points_of_the_warm_start(earlier) -> None:
    def train(config):
        for _ in range(4):
            yield steep(config)

    asha = ASHA(LocalSearch(), max_budget=4, eta=2)
    study = rs.search(train, SPACE, asha, trials=3, warm_start=earlier, **QUIET)
    assert began(study, 1) == best(earlier, 1)
    assert study.spec["strategy"]["options"]["sampler"]["strategy"] == "warm-start"
    with pytest.raises(UsageError, match="warm_start: expected a strategy that can begin with"):
        rs.search(train, SPACE, rs.PopulationBased(), trials=3, warm_start=earlier, **QUIET)


@pytest.mark.parametrize("given", [3, "runs/old", [3]])
def test_what_is_no_earlier_search_is_refused(given) -> None:
    with pytest.raises(UsageError, match="warm_start: expected a list of configurations, finished"):
        rs.search(steep, SPACE, trials=3, warm_start=given, **QUIET)


@pytest.mark.parametrize("strategy", [None, LocalSearch()], ids=["Auto", "LocalSearch"])
def test_a_study_goes_on_without_the_earlier_ones(earlier, strategy, tmp_path, capsys) -> None:
    options = {"study": tmp_path, "address": "inline"}
    first = rs.search(steep, SPACE, strategy, trials=7, warm_start=earlier, **options)
    capsys.readouterr()
    for trials, other in ((9, None), (11, [GOOD])):
        study = rs.search(steep, SPACE, strategy, trials=trials, warm_start=other, **options)
        assert study.spec["strategy"] == first.spec["strategy"]
    if strategy is None:
        line = capsys.readouterr().err.splitlines()[0]
        assert line == "Auto: QuasiRandom, as in the study so far"


def test_a_study_that_began_without_is_not_begun_anew(earlier, tmp_path) -> None:
    rs.search(steep, SPACE, LocalSearch(), trials=3, study=tmp_path, **QUIET)
    with pytest.raises(rs.errors.StudyMismatch):
        rs.search(
            steep, SPACE, LocalSearch(), trials=5, study=tmp_path, warm_start=earlier, **QUIET
        )


def test_functions_are_known_by_their_names() -> None:
    space = Space({"f": Choice([np.sin, np.cos]), "x": Float(0, 1)})
    old = rs.search(lambda c: c["f"](c["x"]), space, RandomSearch(), trials=8, **QUIET)
    new = rs.search(
        lambda c: c["f"](c["x"]), space, LocalSearch(), trials=3, warm_start=old, **QUIET
    )
    assert began(new, 2) == best(old, 2)


def test_proposers_are_those_of_the_outer_strategy() -> None:
    team = rs.Portfolio((LocalSearch(), RandomSearch(), LocalSearch(chains=2)))
    study = rs.search(steep, SPACE, team, trials=5, warm_start=[GOOD, {"n": 2}], **QUIET)
    names = study.trials["metrics.proposer"].to_pylist()
    assert names == ["WarmStart"] * 2 + ["LocalSearch 1", "RandomSearch", "LocalSearch 2"]
