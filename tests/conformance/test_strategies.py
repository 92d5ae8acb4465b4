"""Every registered strategy keeps the contract, in spaces of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from raysearch.errors import UsageError
from raysearch.strategies import STRATEGIES, get
from raysearch.strategies.asha import ASHA
from raysearch.strategies.asha_stopping import StoppingASHA
from raysearch.strategies.auto import Auto
from raysearch.strategies.cma_es import CMAES
from raysearch.strategies.differential import DifferentialEvolution
from raysearch.strategies.gradient_search import GradientSearch
from raysearch.strategies.grid import GridSearch
from raysearch.strategies.hyperband import Hyperband
from raysearch.strategies.islands import Islands
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.median_stopping import MedianStopping
from raysearch.strategies.portfolio import Portfolio
from raysearch.strategies.quasi_random import QuasiRandom
from raysearch.strategies.relay import Relay
from raysearch.strategies.state import dump, load
from raysearch.strategies.successive_halving import SuccessiveHalving
from raysearch.strategies.tpe import TPE
from raysearch.strategies.warm_start import WarmStart
from raysearch.testing import conformance
from raysearch.testing.spaces import spaces
from raysearch.trial import Outcome

ANYWHERE = {"x": 0.25, "x0": 0.5, "rule": "none", "a": 0.5, "only": "value"}  # fits all spaces
SAMPLERS = [
    SuccessiveHalving(LocalSearch(), max_budget=9, points=4),
    ASHA(LocalSearch(chains=4), max_budget=4, eta=2),
    ASHA(GridSearch(), max_budget=4, eta=2),
    StoppingASHA(LocalSearch(), max_budget=4, eta=2),
    MedianStopping(LocalSearch(), max_budget=40),
    Hyperband(LocalSearch(), max_budget=1, min_budget=0.25, eta=2),
]
TEAMS = [
    Relay((LocalSearch(), CMAES()), at=(5,)),
    Portfolio((GridSearch(), DifferentialEvolution(), CMAES())),
]
OPTIONS = [
    QuasiRandom(method="halton"),
    GridSearch(order="shuffled"),
    GradientSearch(outer=LocalSearch(chains=1), rule="Adam", starts=3),
    GradientSearch(estimate="differences"),
    WarmStart(LocalSearch(), [ANYWHERE, {**ANYWHERE, "rule": "sgd", "momentum": 0.9, "every": 7}]),
    WarmStart(TPE(), [ANYWHERE]),
    Auto(seconds=0.0),
    *TEAMS,
    Islands(CMAES(population=4), islands=2, migrate_every=3, topology="random"),
    *SAMPLERS,
]
COMPOSED = ("auto", "portfolio", "relay")  # by default of others that are tested themselves
SINGLE = [name for name in STRATEGIES if name not in COMPOSED]
CLAIMING = [name for name in SINGLE if get(name).beats_random]
FITTED = ("gp", "trust-region")  # a suggestion takes 10 ms, and half the trials do


@pytest.mark.parametrize("space", conformance.SPACES)
@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", SINGLE)
def test_contract(name, check, space):
    check(get(name)(), conformance.SPACES[space], seed=5)


@pytest.mark.parametrize("dim", [4, 10])
@pytest.mark.parametrize("name", CLAIMING)
def test_beats_random_where_it_claims_to(name, dim):
    trials = 50 if name in FITTED else 100
    conformance.check_beats_random(get(name)(), trials, dims=(dim,))


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("strategy", OPTIONS, ids=repr)
def test_contract_with_options(strategy, check):
    check(strategy, conformance.SPACES["conditional"], seed=1)


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("strategy", [*TEAMS, *SAMPLERS], ids=repr)
def test_contract_in_a_finite_space(strategy, check):
    check(strategy, conformance.SPACES["finite"], seed=2)


@pytest.mark.parametrize("name", SINGLE)
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(space=spaces(arrays=True), seed=st.integers(0, 2**64 - 1))
def test_contract_in_any_space(name, space, seed):
    for check in conformance.CHECKS:
        check(get(name)(), space, seed)


@pytest.mark.parametrize("name", SINGLE)
def test_on_islands_it_is_refused_or_no_point_comes_twice(name):
    strategy, space = get(name)(), conformance.SPACES["mixed"]
    if strategy.budgets() or strategy.rungs() or strategy.seedless:
        with pytest.raises(UsageError, match=r"option strategy: .* islands"):
            Islands(strategy)
        return
    search, found = Islands(strategy, islands=2, migrate_every=4), []
    state = search.init(space, 3)
    for _ in range(4):  # so that migrants arrive twice
        state, batch = search.ask(state, 8)
        found.append(batch.x)
        state = search.tell(state, batch, Outcome(((batch.x - 0.3) ** 2).sum(axis=1)[:, None]))
        state = load(dump(state), search, space)
    x = np.concatenate(found)
    assert len(np.unique(x, axis=0)) == len(x) >= 24
