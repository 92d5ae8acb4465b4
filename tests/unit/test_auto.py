"""What Auto chooses, says and keeps; teams that share one history."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import raysearch as rs
from raysearch.simulate import run as simulated
from raysearch.strategies import build
from raysearch.strategies.base import AnyStrategy
from raysearch.testing.searching import identity, told
from raysearch.trial import FOREIGN, Batch, Outcome

FIVE = rs.Space({f"x{i}": rs.Float(0, 1) for i in range(5)})
SMALL = rs.Space({"n": rs.Int(1, 40), "k": rs.Choice(["a", "b"])})
MANY = rs.Space({f"x{i}": rs.Float(0, 1) for i in range(60)})
WEIGHTS = rs.Space({"w": rs.Array((2001,), low=-1.0, high=1.0)})
HANDED_OVER = rs.Relay((rs.GaussianProcess(), rs.TrustRegion()), at=(300,))
quiet = {"address": "inline", "progress": False}


def sphere(config):
    return config["n"] ** 2 / 100 + (config["k"] == "a")


@pytest.mark.parametrize(
    ("space", "options", "chosen"),
    [
        (FIVE, {}, HANDED_OVER),
        (FIVE, {"trials": 8}, rs.QuasiRandom()),
        (FIVE, {"trials": 9}, rs.GaussianProcess()),
        (FIVE, {"trials": 300}, rs.GaussianProcess()),
        (FIVE, {"trials": 301}, HANDED_OVER),
        (FIVE, {"trials": 32, "slots": 32}, rs.QuasiRandom()),
        (FIVE, {"trials": 33, "slots": 32}, rs.GaussianProcess()),
        (SMALL, {"trials": 79}, rs.GaussianProcess()),
        (SMALL, {"trials": 80}, rs.QuasiRandom()),
        (rs.Space({"n": rs.Int(1, 8)}), {}, rs.QuasiRandom()),
        (rs.Space({"n": rs.Int(1, 9)}), {}, HANDED_OVER),
        (FIVE, {"trials": 300, "objectives": 2}, rs.GaussianProcess()),
        (FIVE, {"trials": 301, "objectives": 2}, rs.NSGA2()),
        (FIVE, {"trials": 300, "objectives": 3}, rs.GaussianProcess()),
        (FIVE, {"trials": 301, "objectives": 3}, rs.NSGA2()),
        (FIVE, {"trials": 300, "objectives": 4}, rs.TPE()),
        (FIVE, {"objectives": 3}, rs.NSGA2()),
        (FIVE, {"trials": 100, "seconds": 0.021}, rs.GaussianProcess()),
        (FIVE, {"trials": 300, "seconds": 0.02}, rs.TPE()),
        (FIVE, {"trials": 301, "seconds": 0.0}, rs.CMAES()),
        (FIVE, {"trials": 300, "slots": 100, "seconds": 3.0}, rs.GaussianProcess()),
        (FIVE, {"trials": 300, "slots": 100, "seconds": 2.0}, rs.TPE()),
        (FIVE, {"trials": 9000, "slots": 2999}, HANDED_OVER),
        (FIVE, {"trials": 9000, "slots": 3000}, rs.CMAES()),
        (MANY, {"trials": 300}, rs.GaussianProcess()),
        (MANY, {}, HANDED_OVER),
        (WEIGHTS, {"trials": 8}, rs.CMAES()),
        (WEIGHTS, {"objectives": 2}, rs.NSGA2()),
    ],
)
def test_the_table(space: rs.Space, options: dict[str, float], chosen: AnyStrategy) -> None:
    assert rs.Auto(**options).choice(space).strategy == chosen


@pytest.mark.parametrize(
    ("space", "options", "line"),
    [
        (FIVE, {"trials": 100}, "GaussianProcess, as 5 parameters and 100 trials"),
        (
            FIVE,
            {"trials": 2000},
            "GaussianProcess, from 300 results on TrustRegion, as 5 parameters and 2,000 trials",
        ),
        (FIVE, {"trials": 5}, "QuasiRandom, as 5 trials leave nothing to learn from"),
        (SMALL, {"trials": 100}, "QuasiRandom, as all 80 configurations can be tried"),
        (
            FIVE,
            {"trials": 5000, "seconds": 0.001, "slots": 128},
            "CMAES, as 5 parameters and 5,000 trials of 0.001 s, 128 at once",
        ),
        (WEIGHTS, {}, "CMAES, as 2,001 parameters"),
        (FIVE, {"objectives": 2}, "NSGA2, as 5 parameters, 2 objectives and any number of trials"),
    ],
)
def test_it_says_in_a_line_what_it_chooses_and_why(space, options, line) -> None:
    assert str(rs.Auto(**options).choice(space)) == f"Auto: {line}"


@pytest.mark.parametrize(
    "options", [{"trials": 0}, {"slots": 1.5}, {"seconds": -1}, {"seconds": math.nan}]
)
def test_wrong_options_are_refused(options) -> None:
    with pytest.raises(rs.UsageError, match=f"option {next(iter(options))}: expected"):
        rs.Auto(**options)


def test_the_choice_is_printed_once_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    rs.search(sphere, SMALL, trials=5, address="inline")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Auto: QuasiRandom, as 5 trials leave nothing to learn from"
    assert sum("Auto" in line for line in lines) == 1


def test_a_search_fills_in_what_it_knows() -> None:
    space = {"x": rs.Float(0, 1)}
    two = {"a": "min", "b": "max"}
    measured = rs.search(lambda c: {"a": c["x"], "b": c["x"]}, space, trials=9, metric=two, **quiet)
    assert measured.spec["strategy"]["strategy"] == "gp"
    quick = rs.search(rs.vectorized(lambda c: c["x"]), space, rs.Auto(), trials=20, **quiet)
    assert quick.spec["strategy"]["strategy"] == "tpe"
    assert (
        simulated(lambda c: c["x"], space, workers=20, trials=20).study.spec["strategy"]["strategy"]
        == "quasi-random"
    )
    loop = rs.AskTell(space, mode=["min", "max"])
    loop.tell(loop.ask()[0], [1.0, 2.0])


def test_a_study_goes_on_with_what_was_chosen(tmp_path) -> None:
    first = rs.search(sphere, SMALL, trials=12, study=tmp_path, **quiet)
    assert first.spec["strategy"]["strategy"] == "gp"
    again = rs.search(sphere, SMALL, trials=80, study=tmp_path, **quiet)  # a grid, if it were new
    assert again.spec["strategy"] == first.spec["strategy"]
    assert len(again) == 80


@pytest.mark.parametrize(
    "wrap",
    [
        lambda auto: rs.WarmStart(auto, [{"n": 3}]),
        lambda auto: rs.Portfolio((auto, rs.TPE())),
        lambda auto: rs.Relay((rs.TPE(), auto), at=(5,)),
        lambda auto: rs.ASHA(auto, max_budget=9),
        lambda auto: rs.MedianStopping(auto),
        lambda auto: rs.ASHA(rs.WarmStart(auto, [{"n": 3}]), max_budget=9),
        rs.Islands,
    ],
    ids=["WarmStart", "Portfolio", "Relay", "ASHA", "MedianStopping", "both", "Islands"],
)
def test_inside_of_another_strategy_it_chooses_as_alone(wrap) -> None:
    alone, line = rs.Auto().settled(SMALL, trials=50, objectives=2)
    assert wrap(rs.Auto()).settled(SMALL, trials=50, objectives=2) == (wrap(alone), line)
    assert wrap(rs.TPE()).settled(SMALL, trials=50) == (wrap(rs.TPE()), "")


def test_inside_of_another_strategy_it_knows_of_bounds_and_goes_on(tmp_path, capsys) -> None:
    def objective(config):
        return {"loss": sphere(config), "gb": config["n"]}

    team = rs.Relay((rs.Auto(), rs.TPE()), at=(40,))
    options = {"study": tmp_path, "address": "inline", "require": {"gb": "<= 20"}}
    first = rs.search(objective, SMALL, team, trials=12, **options)
    assert capsys.readouterr().err.splitlines()[0].startswith("Auto: GaussianProcess, as 2 param")
    again = rs.search(objective, SMALL, team, trials=80, **options)
    assert again.spec["strategy"] == first.spec["strategy"]
    line = capsys.readouterr().err.splitlines()[0]
    assert line == "Auto: GaussianProcess, as in the study so far"
    with pytest.raises(rs.errors.StudyMismatch):  # another team
        rs.search(objective, SMALL, rs.Relay((rs.Auto(), rs.TPE()), at=(41,)), trials=81, **options)

    loop = rs.AskTell(SMALL, rs.WarmStart(rs.Auto(), [{"n": 3}]))
    for trial in loop.ask(3):
        loop.tell(trial, 1.0, constraint=[trial.config["n"] - 20])
    assert loop._state.outer.members[0].constraint.shape[1] == 1


def test_a_study_says_on_which_strategies_it_goes_on(tmp_path, capsys) -> None:
    wide = {"x": rs.Float(0, 1)}
    options = {"study": tmp_path, "address": "inline"}
    rs.search(lambda c: c["x"], wide, HANDED_OVER, trials=1, **options)
    capsys.readouterr()
    rs.search(lambda c: c["x"], wide, trials=2, **options)
    line = capsys.readouterr().err.splitlines()[0]
    assert line == "Auto: GaussianProcess, from 300 results on TrustRegion, as in the study so far"


def test_a_study_of_another_space_is_chosen_for_anew(tmp_path) -> None:
    rs.search(sphere, SMALL, rs.LocalSearch(), trials=12, study=tmp_path, **quiet)
    wider = {"n": rs.Int(1, 50), "k": rs.Choice(["a", "b"])}
    changed = rs.search(sphere, wider, trials=20, study=tmp_path, resume="changed", **quiet)
    assert changed.spec["strategy"]["strategy"] == "gp"


# --- teams ----------------------------------------------------------------------------------


def test_a_relay_hands_over_by_results_and_all_have_heard_of_them() -> None:
    relay = rs.Relay((rs.RandomSearch(), rs.LocalSearch(chains=1)), at=(10,))
    state = relay.init(FIVE, 0)
    names = []
    for _ in range(15):
        state, batch = relay.ask(state, 1)
        names += relay.proposers(state, batch.number)
        state = relay.tell(state, *told(FIVE, batch))
    assert names == ["RandomSearch"] * 10 + ["LocalSearch"] * 5
    assert state.members[1].f[0] < 0.5  # knows the best of the first ten


def test_a_relay_is_resumed_where_it_was(tmp_path) -> None:
    relay = rs.Relay((rs.TPE(), rs.LocalSearch()), at=(10,))
    options = {"seed": 3, **quiet}
    whole = rs.search(sphere, SMALL, relay, trials=30, **options)
    for trials in (7, 14, 30):
        parts = rs.search(sphere, SMALL, relay, trials=trials, study=tmp_path, **options)
    columns = ["number", "config.n", "config.k", "metrics.proposer"]
    assert parts.trials.select(columns).equals(whole.trials.select(columns))
    assert whole.trials["metrics.proposer"].to_pylist() == ["TPE"] * 10 + ["LocalSearch"] * 20


def test_rows_of_a_sampler_that_is_a_relay_say_who_proposed_them(tmp_path) -> None:
    def train(config, trial):
        return (config["x0"] - 0.3) ** 2 + 1 / trial.budget

    asha = rs.ASHA(rs.Relay((rs.QuasiRandom(), rs.LocalSearch()), at=(4,)), max_budget=4, eta=2)
    options = {"seed": 3, **quiet}
    whole = rs.search(train, FIVE, asha, trials=40, **options)
    for trials in (9, 40):
        parts = rs.search(train, FIVE, asha, trials=trials, study=tmp_path, **options)
    columns = ["number", "parent", "metrics.proposer"]
    assert parts.trials.select(columns).equals(whole.trials.select(columns))
    rows = whole.trials.sort_by("number").select(columns).to_pylist()
    names = [row["metrics.proposer"] for row in rows]
    assert set(names) == {"QuasiRandom", "LocalSearch"}
    promoted = [row for row in rows if row["parent"] is not None]
    assert len(promoted) > 10
    assert all(row["metrics.proposer"] == names[row["parent"]] for row in promoted)


def test_no_member_proposes_what_another_waits_for() -> None:
    race = rs.Portfolio((rs.GridSearch(), rs.GridSearch(), rs.TPE()))
    state, batch = race.ask(race.init(SMALL, 0), 200)  # nothing is told: all are pending
    assert len(np.unique(identity(SMALL, batch.x), axis=0)) == len(batch) == 80
    state = race.tell(state, *told(SMALL, batch))
    assert not len(state.waiting)
    assert not len(race.ask(state, 1)[1])


def test_a_portfolio_prefers_who_finds_better_points() -> None:
    race = rs.Portfolio((rs.RandomSearch(), rs.CMAES(), rs.QuasiRandom()))
    state, names = race.init(FIVE, 0), []
    for _ in range(200):
        state, batch = race.ask(state, 1)
        names += race.proposers(state, batch.number)
        state = race.tell(state, *told(FIVE, batch))
    late = names[100:]
    assert late.count("CMAES") > 60
    assert late.count("RandomSearch") > 2  # it is still tried


def test_the_best_rank_is_worth_most_and_pending_points_nothing() -> None:
    race = rs.Portfolio((rs.RandomSearch(), rs.RandomSearch()), exploration=1e-9)
    state, batch = race.ask(race.init(FIVE, 0), 2)
    state = race.tell(state, batch, Outcome(np.array([[2.0], [1.0]])))
    assert race.turns(state) == [1, 0]
    state, _ = race.ask(state, 1)
    assert race.turns(state) == [0, 1]  # the other one has 2 points now, of which one is pending
    state = race.tell(state, Batch(batch.x, np.full(2, FOREIGN)), Outcome(np.zeros((2, 1))))
    assert race.turns(state) == [0, 1]  # what comes from elsewhere is nobody's


def test_what_breaks_a_constraint_ranks_last_however_low_its_loss() -> None:
    race = rs.Portfolio((rs.RandomSearch(), rs.RandomSearch()), exploration=1e-9)
    state, batch = race.ask(race.init(FIVE, 0), 2)
    outcome = Outcome(np.array([[0.0], [1.0]]), constraint=np.array([[5.0], [-1.0]]))
    assert race.turns(race.tell(state, batch, outcome)) == [1, 0]


def test_members_that_know_no_constraints_take_what_breaks_one_for_bad() -> None:
    team = rs.Portfolio([rs.TPE(), rs.LocalSearch()])
    loop = rs.AskTell({"x": rs.Float(0, 1)}, team, seed=0)
    for _ in range(40):
        for trial in loop.ask(2):
            loop.tell(trial, trial.config["x"], constraint=[0.5 - trial.config["x"]])
    assert 0.5 <= loop.best.config["x"] < 0.55


def test_a_team_has_the_cost_of_its_members() -> None:
    assert rs.Relay([rs.GaussianProcess(cost="seconds"), rs.TPE()], [5]).costs() == "seconds"
    with pytest.raises(rs.errors.UsageError, match="one kind of cost"):
        rs.Portfolio([rs.GaussianProcess(cost="seconds"), rs.GaussianProcess(cost="euros")])


def test_members_may_be_named_as_on_the_command_line() -> None:
    named = build("relay", {"members": '["tpe", "cma-es"]', "at": "50"})
    assert named == rs.Relay((rs.TPE(), rs.CMAES()), at=(50,))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rs.Portfolio(()), "option members: expected a list of strategies"),
        (lambda: rs.Portfolio(rs.TPE()), "option members: expected a list of strategies"),
        (lambda: rs.Portfolio((rs.TPE,)), "add \\(\\)"),
        (lambda: rs.Portfolio((rs.ASHA(),)), "take its sampler"),
        (lambda: rs.Relay((rs.TPE(), rs.CMAES()), at=()), "option at: expected 1"),
        (lambda: rs.Relay((rs.TPE(),) * 3, at=(5, 5)), "option at: expected 2 ascending"),
    ],
)
def test_wrong_teams_are_refused(make, text) -> None:
    with pytest.raises(rs.UsageError, match=text):
        make()


# --- whatever comes -------------------------------------------------------------------------

NASTY = rs.Space(
    {
        "x": rs.Float(1e-150, 1e150, log=True),
        "word": rs.Choice([f"w{i}" for i in range(1000)]),
        "idle": rs.Float(0, 1),
        **{f"c{i}": rs.Int(0, 3).when(word=f"w{i}") for i in range(100)},
    }
)


def jumps(k):
    return np.array([1e300, -1e300, 1e-300, np.inf, np.nan, 0.0])[k % 6]


LOSSES = {
    "constant": lambda k: 1.0,
    "failures": lambda k: np.nan,
    "infinite": lambda k: np.inf,
    "huge and tiny": jumps,
    "one success": lambda k: 0.5 if k == 3 else np.nan,
}


@pytest.mark.parametrize("losses", LOSSES)
@pytest.mark.parametrize(
    "strategy",
    [
        rs.Auto(),
        rs.GaussianProcess(),
        rs.TPE(),
        rs.Portfolio(),
        rs.Relay((rs.GaussianProcess(), rs.TrustRegion()), at=(10,)),
    ],
    ids=["Auto", "GaussianProcess", "TPE", "Portfolio", "Relay"],
)
def test_points_are_legal_and_distinct_whatever_the_losses(strategy, losses) -> None:
    state, found = strategy.init(NASTY, 1), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(12):
            state, batch = strategy.ask(state, 1)
            x = NASTY.snap(batch.x)
            assert NASTY.allowed(NASTY.decode(batch.x)).all()
            found.append(x)
            loss = np.array([[LOSSES[losses](k)]])
            state = strategy.tell(state, Batch(x, batch.number), Outcome(loss))
            again = Batch(x, np.array([FOREIGN]))  # measured elsewhere, with another result
            state = strategy.tell(state, again, Outcome(loss + 1.0))
    assert len(np.unique(np.concatenate(found), axis=0)) == 12
