"""Strategies with budgets: rungs, promotions, brackets, and what samplers learn."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from raysearch.errors import UsageError
from raysearch.rng import uniform
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies import build, check, from_json, to_json
from raysearch.strategies.asha import ASHA
from raysearch.strategies.asha_stopping import StoppingASHA
from raysearch.strategies.base import State, Strategy
from raysearch.strategies.grid import GridSearch
from raysearch.strategies.hyperband import Hyperband
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.pareto import fronts, ranked
from raysearch.strategies.quasi_random import QuasiRandom
from raysearch.strategies.random import RandomSearch
from raysearch.strategies.relay import Relay
from raysearch.strategies.successive_halving import SuccessiveHalving
from raysearch.trial import FOREIGN, ROOT, Batch, Outcome

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})


def curve(x, budget):
    """(k, 1) losses that fall with the budget to where x says, and mislead at first."""
    final = ((x - 0.3) ** 2).sum(axis=1)
    return (final + 0.1 * np.sin(20 * x).sum(axis=1) / budget)[:, None]


def searched(strategy, total, width=4, seed=0):
    """[(number, budget, parent, loss)] until so much budget is spent, each job told at once."""
    state, rows, spent = strategy.init(SPACE, seed), [], 0.0
    budgets = {ROOT: 0.0}
    while spent < total:
        state, batch = strategy.ask(state, width)
        budget = np.full(len(batch), 81.0) if batch.budget is None else batch.budget
        parent = np.full(len(batch), ROOT) if batch.parent is None else batch.parent
        losses = curve(batch.x, budget)
        state = strategy.tell(state, batch, Outcome(losses))
        columns = (batch.number, budget, parent, losses)
        for row in zip(*(column.tolist() for column in columns), strict=True):
            budgets[row[0]] = row[1]
            spent += row[1] - budgets[row[2]]
            rows.append(row)
    return rows


def paper_asha(budgets, eta, losses_of, jobs):
    """Algorithm 2 of Li et al. (2020), word for word, with one worker: [(config, budget)]."""
    rungs = [{} for _ in budgets]
    promoted = [set() for _ in budgets]
    done, new = [], 0
    for _ in range(jobs):
        job = None
        for k in range(len(budgets) - 2, -1, -1):
            top = sorted(rungs[k], key=rungs[k].get)[: int(len(rungs[k]) / eta)]
            able = [config for config in top if config not in promoted[k]]
            if able:
                promoted[k].add(able[0])
                job = (able[0], k + 1)
                break
        if job is None:
            job, new = (new, 0), new + 1
        config, k = job
        rungs[k][config] = losses_of(config, budgets[k])
        done.append((config, budgets[k]))
    return done


def test_asha_is_the_papers_algorithm():
    strategy = ASHA(max_budget=81)
    rows = searched(strategy, 1500, width=1)

    points = RandomSearch().ask(RandomSearch().init(SPACE, 0), 1000)[1].x
    config = {}
    for number, _, parent, _ in rows:
        config[number] = config[parent] if parent != ROOT else len(set(config.values()))
    ours = [(config[number], budget) for number, budget, _, _ in rows]
    theirs = paper_asha(
        strategy.budgets(),
        3,
        lambda c, budget: curve(points[c : c + 1], np.array([budget]))[0, 0],
        len(rows),
    )
    assert ours == theirs
    assert max(budget for _, budget in ours) == 81.0


def test_budgets_are_exact():
    assert ASHA(max_budget=81).budgets() == (1.0, 3.0, 9.0, 27.0, 81.0)
    assert ASHA(max_budget=100, min_budget=1, eta=4).budgets() == (1.0, 4.0, 16.0, 64.0, 100.0)
    tenths = ASHA(max_budget=1, min_budget=0.1, eta=10**0.25).budgets()
    assert len(tenths) == 5
    assert (tenths[0], tenths[-1]) == (0.1, 1.0)
    assert ASHA(max_budget=1, min_budget=1).budgets() == (1.0,)


def test_one_budget_is_the_sampler_itself():
    strategy = ASHA(LocalSearch(), max_budget=1)
    ours, theirs = strategy.init(SPACE, 3), LocalSearch().init(SPACE, 3)
    for _ in range(20):
        ours, batch = strategy.ask(ours, 3)
        theirs, same = LocalSearch().ask(theirs, 3)
        assert np.array_equal(batch.x, same.x)
        outcome = Outcome(curve(batch.x, 1.0))
        ours, theirs = (
            strategy.tell(ours, batch, outcome),
            LocalSearch().tell(theirs, same, outcome),
        )


def test_failed_points_are_never_promoted():
    strategy = ASHA(max_budget=4, eta=2)
    state, batch = strategy.ask(strategy.init(SPACE, 0), 8)
    state = strategy.tell(state, batch, Outcome(np.where(np.arange(8)[:, None] > 0, np.nan, 1.0)))
    _, batch = strategy.ask(state, 8)
    assert batch.parent.tolist() == [0] + [ROOT] * 7


def test_synchronous_halving_waits_for_the_whole_rung():
    strategy = SuccessiveHalving(max_budget=9)
    state, batch = strategy.ask(strategy.init(SPACE, 0), 20)
    assert batch.budget.tolist() == [1.0] * 9
    loss = np.arange(9.0)[::-1, None]
    part = Batch(batch.x[:8], batch.number[:8], batch.budget[:8], batch.parent[:8])
    state = strategy.tell(state, part, Outcome(loss[:8]))
    assert len(strategy.ask(state, 5)[1]) == 0
    last = Batch(batch.x[8:], batch.number[8:], batch.budget[8:], batch.parent[8:])
    state, batch = strategy.ask(strategy.tell(state, last, Outcome(loss[8:])), 5)
    assert (batch.parent.tolist(), batch.budget.tolist()) == ([8, 7, 6], [3.0] * 3)
    state, batch = strategy.ask(strategy.tell(state, batch, Outcome(np.ones((3, 1)))), 5)
    assert (batch.parent.tolist(), batch.budget.tolist()) == ([9], [9.0])
    state, batch = strategy.ask(strategy.tell(state, batch, Outcome(np.ones((1, 1)))), 20)
    assert batch.budget.tolist() == [1.0] * 9  # the next bracket
    assert batch.number[0] == 13


def test_a_used_up_space_ends_every_halving():
    space = Space({"n": Int(1, 5), "c": Choice(["a", "b"])})
    for strategy in (
        SuccessiveHalving(max_budget=9),
        ASHA(LocalSearch(), max_budget=9, eta=2),
        Hyperband(GridSearch(), max_budget=9),
    ):
        state, roots = strategy.init(space, 0), 0
        for _ in range(100):
            state, batch = strategy.ask(state, 3)
            if not len(batch):
                break
            roots += int((batch.parent == ROOT).sum())
            state = strategy.tell(state, batch, Outcome(batch.x[:, :1]))
        assert (len(batch), roots) == (0, 10), strategy


def test_brackets_share_the_budget_as_in_the_paper():
    rows = searched(Hyperband(max_budget=27), 20_000, width=8)
    roots = Counter(budget for _, budget, parent, _ in rows if parent == ROOT)
    # n_s = eta^s (s_max + 1) / (s + 1), for s = 3, 2, 1, 0
    share = np.array([27 / 4, 9 / 3, 3 / 2, 1.0])
    found = np.array([roots[b] for b in (1.0, 3.0, 9.0, 27.0)])
    assert found / found.sum() == pytest.approx(share / share.sum(), rel=0.1)


@pytest.mark.parametrize("cls", [SuccessiveHalving, ASHA, Hyperband])
@pytest.mark.parametrize("sampler", [RandomSearch(), LocalSearch()], ids=repr)
def test_it_beats_its_sampler_at_equal_total_budget(cls, sampler):
    def best(strategy, seed):
        rows = searched(strategy, total=81 * 12, seed=seed)
        return min(loss[0] for _, budget, _, loss in rows if budget == 81)

    ours, alone = (
        np.median([best(strategy, seed) for seed in range(9)])
        for strategy in (cls(sampler), RandomSearch())
    )
    assert ours < 0.7 * alone


@dataclass(frozen=True, eq=False)
class HeardState(State):
    heard: tuple = ()


@dataclass(frozen=True)
class Heard(Strategy[HeardState]):
    """Random points; remembers what it is told."""

    inner: Strategy = field(default_factory=RandomSearch)

    def init(self, space, seed):
        return HeardState(space, seed)

    def ask(self, state, n):
        x = uniform(state.seed, state.asked, n, state.space.dim)
        batch = Batch(x, np.arange(state.asked, state.asked + n))
        return replace(state, asked=state.asked + n), batch

    def tell(self, state, batch, outcome):
        news = zip(batch.number.tolist(), outcome.loss[:, 0].tolist(), strict=True)
        return replace(state, heard=state.heard + tuple(news))


def test_each_copy_of_the_sampler_learns_from_its_own_rung():
    strategy = ASHA(Heard(), max_budget=9)
    state = strategy.init(SPACE, 0)
    for _ in range(60):
        state, batch = strategy.ask(state, 1)
        # the loss says at which budget it was observed
        state = strategy.tell(state, batch, Outcome(batch.budget[:, None] + batch.x[:, :1] / 2))
    low, middle, top = (copy.heard for copy in state.copies.states)
    assert {int(loss) for _, loss in low} == {1}
    assert {int(loss) for _, loss in middle if loss < math.inf} == {3}
    assert {int(loss) for _, loss in top if loss < math.inf} == {9}
    # once rung 1 knew enough its copy proposed, and was told of each proposal once
    own = [number for number, _ in middle if number != FOREIGN]
    assert len(own) == len(set(own)) > 5
    assert state.copies.successes.tolist() == [len(low)] + [
        sum(loss < math.inf for _, loss in heard) for heard in (middle, top)
    ]


def test_results_from_elsewhere_teach_the_rung_of_their_budget():
    strategy = ASHA(Heard(), max_budget=9)
    x, number = np.full((4, 2), 0.5), np.full(4, FOREIGN)
    batch = Batch(x, number, np.array([0.5, 1.0, 4.0, 9.0]))
    state = strategy.tell(strategy.init(SPACE, 0), batch, Outcome(np.arange(4.0)[:, None]))
    assert [copy.heard for copy in state.copies.states] == [
        ((FOREIGN, 1.0),),
        ((FOREIGN, 2.0),),
        ((FOREIGN, 3.0),),
    ]


def test_several_objectives_are_ranked_by_fronts_then_crowding():
    loss = np.array([[1.0, 4], [2, 2], [4, 1], [3, 3], [np.nan, np.nan], [2.1, 1.9]])
    assert fronts(loss).tolist() == [0, 0, 0, 1, 2, 0]
    assert ranked(loss).tolist()[:2] == [0, 2]  # the ends of the front
    assert ranked(loss).tolist()[-2:] == [3, 4]


def test_several_objectives_are_promoted_by_rank():
    strategy = ASHA(max_budget=4, eta=2)
    state, batch = strategy.ask(strategy.init(SPACE, 0), 4)
    loss = np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 2.0], [3.0, 3.0]])
    state = strategy.tell(state, batch, Outcome(loss))
    _, batch = strategy.ask(state, 2)
    assert sorted(batch.parent.tolist()) == [0, 1]


def test_as_many_objectives_as_the_sampler_takes():
    check(ASHA(QuasiRandom()), 2)
    with pytest.raises(UsageError, match=r"ASHA\(sampler=LocalSearch\(.* takes one objective"):
        check(ASHA(LocalSearch()), 2)


def test_samplers_go_to_json_and_come_by_name():
    strategy = Hyperband(LocalSearch(chains=3), max_budget=9)
    assert from_json(to_json(strategy)) == strategy
    built = build("asha", {"sampler": "local", "max_budget": "27"})
    assert built == ASHA(LocalSearch(), max_budget=27)
    assert repr(ASHA()) == "ASHA(sampler=RandomSearch(), max_budget=81.0, min_budget=1.0, eta=3.0)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": LocalSearch}, r"found the class LocalSearch; add \(\)"),
        ({"sampler": ASHA()}, r"option sampler: .*take its sampler, RandomSearch\(\)"),
        ({"max_budget": 0}, "option max_budget: expected a number > 0, found 0"),
        ({"max_budget": math.inf}, "option max_budget: expected a number > 0, found inf"),
        ({"min_budget": 90}, r"option min_budget: expected a number in \(0, 81\], found 90"),
        ({"eta": 1}, "option eta: expected a number > 1, found 1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        ASHA(**options)


def test_no_more_than_is_needed_is_asked_ahead():
    strategy = ASHA(QuasiRandom())
    assert strategy.max_pending(strategy.init(SPACE, 0), 7) == 7


@pytest.mark.parametrize("strategy", [ASHA, Hyperband, SuccessiveHalving, StoppingASHA])
def test_whoever_a_composed_sampler_names_is_named(strategy):
    relay = Relay((QuasiRandom(), LocalSearch()), at=(5,))
    strategy = strategy(relay, max_budget=9)
    state, names = strategy.init(SPACE, 0), {}
    for _ in range(60):
        state, batch = strategy.ask(state, 2)
        names |= zip(batch.number.tolist(), strategy.proposers(state, batch.number), strict=True)
        if batch.parent is not None:
            for number, parent in zip(batch.number.tolist(), batch.parent.tolist(), strict=True):
                assert parent == ROOT or names[number] == names[parent]
        state = strategy.tell(state, batch, Outcome(curve(batch.x, batch.budget)))
    roots = [names[n] for n in sorted(names)][:4]
    assert roots == ["QuasiRandom"] * 4
    assert Counter(names.values())["LocalSearch"] > 20


def test_samplers_that_are_no_teams_are_not_named():
    strategy = ASHA(LocalSearch(), max_budget=9)
    state, batch = strategy.ask(strategy.init(SPACE, 0), 3)
    assert strategy.proposers(state, batch.number) is None


def test_copies_draw_numbers_of_their_own():
    strategy = ASHA(LocalSearch(), max_budget=9)
    state, roots = strategy.init(SPACE, 0), []
    for _ in range(40):
        state, batch = strategy.ask(state, 2)
        roots += batch.x[batch.parent == ROOT].tolist()
        state = strategy.tell(state, batch, Outcome(curve(batch.x, batch.budget)))
    assert state.copies.states[1].asked > 2
    assert len(np.unique(roots, axis=0)) == len(roots)
