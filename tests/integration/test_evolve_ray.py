"""Evolution strategies in Ray actors: as in this process, and actors that die at any stage."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter, deque

import numpy as np
import pytest
import ray

import raysearch as rs
from raysearch.engine.ray_crew import Actors
from raysearch.errors import ClusterError, ClusterTooSmall, ObjectiveError, UsageError

pytestmark = pytest.mark.usefixtures("ray_local")


def sphere(x):
    return (x**2).sum(axis=1)


def means(objective=sphere, **options):
    options = {"population": 10, "generations": 6, "seed": 1, **options}
    return [state["mean"] for _, state in rs.evolve(objective, np.ones(70_000), **options)]


@pytest.fixture(scope="module")
def expected():
    return means(address="inline")


@pytest.mark.parametrize("actors", [1, 2])
def test_actors_come_to_the_same(expected, actors):
    assert np.allclose(means(actors=actors), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("stage", ["evaluating", "later"])
def test_an_actor_that_dies_costs_nothing(tmp_path, expected, stage):
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def mortal(x):
        try:
            (tmp_path / "dead").touch(exist_ok=False)
        except FileExistsError:
            return sphere(x)
        if stage == "evaluating":
            die()
        threading.Timer(0.01, die).start()  # it sums then, or waits
        return sphere(x)

    assert np.allclose(means(mortal), expected, rtol=0, atol=1e-9)
    assert (tmp_path / "dead").exists()


def test_actors_that_always_die_end_it():
    with pytest.raises(ClusterError, match="3 times"):
        means(lambda x: os._exit(1), actors=1)


def test_what_the_objective_raises_comes_out():
    def broken(x):
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        means(broken)


def test_what_the_class_raises_as_it_is_made_comes_out():
    class Broken:
        def __init__(self):
            raise KeyError("no data")

        def __call__(self, x):
            return sphere(x)

    with pytest.raises(ObjectiveError, match=r"Broken.__init__ raised KeyError: 'no data'"):
        means(Broken, actors=1)


def test_actors_that_die_as_they_start_are_replaced_but_not_for_ever():
    crew = Actors(sphere, {}, 2, {})
    try:
        assert crew._count() == 2
        for n in range(1, 7):
            crew._replace()
            ref, actor = next(iter(crew._starting.items()))
            ray.kill(actor)
            if n < 6:
                crew._hear(ref, deque(), [], Counter())
            else:
                with pytest.raises(ClusterError, match=r"6 actors in a row .* before"):
                    crew._hear(ref, deque(), [], Counter())
    finally:
        crew.close()


def test_what_no_machine_has_is_named():
    with pytest.raises(ClusterTooSmall, match="GPU: wanted 3, the most on one machine is 2"):
        means(ray_options={"num_gpus": 3})
    with pytest.raises(UsageError, match=r"ray_options: .*num_cpu"):
        means(ray_options={"num_cpu": 1})
