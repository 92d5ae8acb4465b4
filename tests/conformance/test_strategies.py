"""Every registered strategy keeps the contract, in spaces of every kind."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from raysearch.strategies import STRATEGIES, get
from raysearch.testing import conformance
from raysearch.testing.spaces import spaces

CLAIMING = [name for name in STRATEGIES if get(name).beats_random]


@pytest.mark.parametrize("space", conformance.SPACES)
@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", STRATEGIES)
def test_contract(name, check, space):
    check(get(name)(), conformance.SPACES[space], seed=5)


@pytest.mark.parametrize("name", CLAIMING)
def test_beats_random_where_it_claims_to(name):
    conformance.check_beats_random(get(name)())


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("option", ["halton", "shuffled", "nested", "differences"])
def test_contract_with_options(option, check):
    strategies = {
        "halton": get("quasi-random")(method="halton"),
        "shuffled": get("grid")(order="shuffled"),
        "nested": get("gradient")(outer=get("local")(chains=1), rule="Adam", starts=3),
        "differences": get("gradient")(estimate="differences"),
    }
    check(strategies[option], conformance.SPACES["conditional"], seed=1)


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(space=spaces(), seed=st.integers(0, 2**64 - 1))
def test_contract_in_any_space(name, space, seed):
    for check in conformance.CHECKS:
        check(get(name)(), space, seed)
