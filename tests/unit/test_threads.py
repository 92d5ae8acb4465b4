"""BLAS in one thread while a model is asked, and as before after it."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import raysearch as rs
from raysearch.models import threads
from raysearch.models.threads import numbers_of_threads, one_thread
from raysearch.trial import Outcome


@pytest.fixture(autouse=True)
def three_threads():
    with threadpool_limits(limits=3, user_api="blas"):
        yield


def test_the_limit_is_lifted_also_after_an_error() -> None:
    def fail() -> None:
        with one_thread():
            assert numbers_of_threads() == {1}
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert numbers_of_threads() == {3}


@pytest.mark.parametrize("strategy", [rs.GaussianProcess(), rs.TrustRegion()])
def test_models_are_asked_in_one_thread(strategy, monkeypatch) -> None:
    seen = []
    limit = threads._libraries().limit

    def watched(**options):
        found = limit(**options)
        seen.append(numbers_of_threads())
        return found

    monkeypatch.setattr(threads._libraries(), "limit", watched)
    loop = rs.AskTell({"x": rs.Float(0, 1)}, strategy, seed=0)
    for trial in loop.ask(3):
        loop.tell(trial, trial.config["x"])
    assert seen == [{1}]
    assert numbers_of_threads() == {3}


def test_large_covariances_are_taken_apart_in_one_thread(monkeypatch) -> None:
    seen = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(
        np.linalg, "eigh", lambda c: (seen.append(numbers_of_threads()), eigh(c))[1]
    )
    search = rs.CMAES(population=4)
    state = search.init(rs.Space({"weights": rs.Array(60, 0, 1)}), seed=0)
    state, batch = search.ask(state, 4)
    search.tell(state, batch, Outcome(batch.x[:, :1]))
    assert seen == [{1}]
    assert numbers_of_threads() == {3}
