"""Evolution strategies for long vectors: what members are, what is summed, and what goes on."""

from __future__ import annotations

import numpy as np
import pytest

import raysearch as rs
from raysearch import optim, rng
from raysearch.engine.cloud import _BLOCK, Cloud, losses, sums
from raysearch.engine.crew import shares
from raysearch.errors import ObjectiveError, SearchFailed, UsageError
from raysearch.strategies.evolution_strategy import growth, weights


def sphere(x):
    return (x.astype(np.float64) ** 2).sum(axis=1)


def run(objective=sphere, start=None, **options):
    start = np.ones(40) if start is None else start
    return list(rs.evolve(objective, start, **{"address": "inline", "population": 12, **options}))


def cloud(d=50, dtype=np.float64, generation=2):
    m = np.linspace(-1, 1, d).astype(dtype)
    return Cloud(m, np.linspace(0.1, 0.2, d).astype(dtype), seed=7, generation=generation)


def members(of, pairs):
    """All of them, as the objective gets them."""
    seen = []

    def keep(x):
        seen.append(x.copy())
        return np.zeros(len(x))

    losses(keep, of, 0, pairs)
    return np.concatenate(seen)


def steps(of, pairs):
    return (members(of, pairs)[::2] - of.m) / of.sigma


def test_noise_is_symmetric_of_variance_one_and_independent():
    s = steps(cloud(d=20_000), 30)
    assert abs(s.mean()) < 0.005
    assert abs((s**2).mean() - 1) < 0.005
    assert abs((s**4).mean() - 2.75) < 0.02
    between = np.corrcoef(s) - np.eye(30)
    assert np.abs(between).max() < 0.04
    neighbours = (s[:, 1:] * s[:, :-1]).mean()
    assert abs(neighbours) < 0.005


def test_noise_depends_on_seed_generation_and_pair_alone():
    whole = rng.ones(5, 9, 0, 1000)
    assert np.array_equal(rng.ones(5, 9, 320, 100), whole[320:420])
    for other in (rng.ones(6, 9, 0, 1000), rng.ones(5, 10, 0, 1000)):
        assert np.mean(other == whole) < 0.5
    a, b = cloud(), cloud(generation=3)
    assert np.array_equal(members(a, 6)[4:], members(a, 8)[4:12])
    assert not np.isclose(steps(a, 4), steps(b, 4)).all(axis=1).any()


def test_members_are_mirrored_pairs():
    x, of = members(cloud(), 5), cloud()
    assert x.shape == (10, 50)
    assert np.allclose(x[::2] + x[1::2], 2 * of.m)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_those_of_the_noise_that_was_evaluated(dtype):
    of = cloud(d=_BLOCK + 77, dtype=dtype)
    s = steps(of, 6).astype(np.float64)
    slope, spread = rng.normal(0, 0, 2, 6)
    g, v = sums(of, 0, slope, spread)
    assert g.dtype == v.dtype == dtype
    tolerance = 1e-4 if dtype is np.float32 else 1e-9
    assert np.allclose(g, slope @ s, atol=tolerance)
    assert np.allclose(v, spread @ (s**2 - 1), atol=tolerance)
    parts = [sums(of, a, slope[a:b], None) for a, b in shares(6, 4)]
    assert np.allclose(sum(part for part, _ in parts), g, atol=tolerance)
    assert parts[0][1] is None


def test_few_members_are_in_memory_at_once():
    seen = []

    def note(x):
        seen.append(x.shape)
        return np.zeros(len(x))

    losses(note, cloud(d=2**20, dtype=np.float32), 0, 5)
    assert seen == [(4, 2**20)] * 2 + [(2, 2**20)]


@pytest.mark.parametrize("method", ["snes", "pgpe", "openai"])
def test_a_generation_is_that_of_the_formulas(method):
    (_, before), (metrics, after) = run(
        method=method, generations=2, step=0.2, seed=3, rule=optim.SGD(lr=0.5)
    )
    of = Cloud(before["mean"], before["sigma"], 3, 1)
    x = members(of, 6)
    s = (x - of.m) / of.sigma
    best_first = np.argsort(sphere(x), kind="stable")
    w = np.empty(12)
    w[best_first] = weights(method, 12)
    assert np.allclose(after["mean"], of.m + 0.5 * of.sigma * (w @ s))
    assert np.allclose(after["sigma"], of.sigma * growth(method, w @ (s**2 - 1)))
    assert metrics["loss"] == pytest.approx(sphere(x).mean())
    assert metrics["best"] == sphere(x).min()


@pytest.mark.parametrize("method", ["snes", "pgpe", "openai"])
def test_it_comes_down(method):
    *_, (metrics, _) = run(method=method, generations=250)
    assert metrics["loss"] < 0.05 * 40


def test_it_goes_on_from_a_state_as_if_it_had_not_stopped():
    whole = run(generations=20, method="pgpe")
    half = run(generations=8, method="pgpe")
    rest = run(generations=20, method="pgpe", state=half[-1][1])
    assert len(rest) == 12
    assert rest[-1][0] == whole[-1][0]
    assert np.array_equal(rest[-1][1]["mean"], whole[-1][1]["mean"])


def test_states_that_were_yielded_stay_as_they_are():
    states = [state["mean"] for _, state in run(generations=3)]
    assert len({state.tobytes() for state in states}) == 3


def test_as_an_objective_its_generations_are_reports_and_its_state_a_checkpoint(tmp_path):
    def train(config, trial):
        last = 6 if trial.checkpoint is None else 10
        yield from rs.evolve(
            sphere, np.ones(30), step=config["step"], seed=trial.seed, generations=last,
            state=trial.checkpoint, address="inline",
        )  # fmt: skip

    study = rs.search(
        train, {"step": rs.Float(0.01, 1, log=True)}, rs.RandomSearch(), trials=2, study=tmp_path,
        address="inline", progress=False,
    )  # fmt: skip
    assert len(study.reports) == 12
    state = study.checkpoint(study.best.number)
    assert state["mean"].shape == (30,)
    assert sphere(state["mean"][None])[0] < 30


def test_members_that_fail_take_no_part():
    def picky(x):
        value = sphere(x)
        value[::3] = np.nan
        return value

    *_, (metrics, state) = run(picky, generations=150)
    assert metrics["loss"] < 20
    assert np.isfinite(state["mean"]).all()


def test_generations_in_which_all_fail_move_nothing_and_end_it_after_ten():
    def never(x):
        return np.full(len(x), np.nan)

    found = []

    def look():
        for metrics, state in rs.evolve(never, np.ones(4), address="inline"):
            found.append(metrics["loss"])
            assert state["mean"].tolist() == [1.0] * 4

    with pytest.raises(SearchFailed, match="10 generations"):
        look()
    assert found == [np.inf] * 9


def test_what_the_objective_raises_comes_out():
    def broken(x):
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        run(broken)


@pytest.mark.parametrize("value", [1.0, np.zeros(3), "text", None])
def test_what_is_not_a_loss_for_each_member_is_refused(value):
    with pytest.raises(ObjectiveError, match=r"shape \(12,\)"):
        run(lambda x: value)


def test_a_class_is_made_an_instance_of():
    class Shifted:
        def __init__(self, data):
            self.centre = data["centre"]

        def __call__(self, x):
            return sphere(x - self.centre)

    *_, (_, state) = run(Shifted, data={"centre": np.full(40, 3.0)}, generations=400, step=0.5)
    assert np.abs(state["mean"] - 3).max() < 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": np.ones((2, 2))}, "start"),
        ({"start": np.ones(3, dtype=int)}, "start"),
        ({"start": np.array([1.0, np.nan])}, "start"),
        ({"population": 2}, "population"),
        ({"population": 7}, "population"),
        ({"step": 0}, "step"),
        ({"step": np.ones(3)}, "step"),
        ({"method": "cma"}, "method"),
        ({"rule": "Adam"}, "rule"),
        ({"generations": 0}, "generations"),
        ({"state": {"mean": np.ones(40)}}, "state"),
        ({"state": 3}, "state"),
        ({"objective": 3}, "objective"),
        ({"address": 3}, "address"),
        ({"data": 3}, "data"),
        ({"ray_options": 3}, "ray_options"),
        ({"ray_options": {"num_gpu": 1}}, "num_gpus"),
        ({"ray_options": {"num_gpus": "auto"}}, "num_gpus"),
    ],
)
def test_arguments_are_checked_at_once(options, words):
    with pytest.raises(UsageError, match=words):
        rs.evolve(**{"objective": sphere, "start": np.ones(40), "address": "inline", **options})


@pytest.mark.parametrize("step", [1e-25, 1e20])
def test_sigma_is_told_however_small_or_large_it_is(step):
    start = np.zeros(100_000, np.float32)
    (metrics, _), *_ = run(start=start, step=step, method="openai", generations=1)
    assert metrics["sigma"] == pytest.approx(step, rel=1e-6)
