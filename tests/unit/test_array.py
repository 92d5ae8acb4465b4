"""Arrays as parameters: in the cube, in files, in searches."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import raysearch as rs
from raysearch.cli.export import FORMATS
from raysearch.errors import SpaceError, StudyMismatch, StudyStorage, UsageError
from raysearch.log import Rows
from raysearch.space import Array, Choice, Float, Int, Space, parameter_from_json
from raysearch.strategies.coordinates import folded, images, straight
from raysearch.testing.spaces import array_parameters, points, spaces
from raysearch.testing.told import made_up

SPACE = Space(
    {
        "bias": Array(2, -1, 1).when(net="deep"),
        "net": Choice(["deep", "flat"]),
        "weights": Array((2, 3)),
        "lr": Float(0, 1),
    }
)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# --- the parameter ----------------------------------------------------------------------------


@settings(deadline=None)
@given(array_parameters(), st.data())
def test_an_array_lies_in_the_cube_one_coordinate_a_number(parameter, data):
    u = np.array(data.draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
    u = np.resize(u, (2, parameter.width))
    values = parameter.decode(u)
    assert values.shape == (2, *parameter.shape)
    for value in parameter.to_list(values):
        assert_array_equal(parameter.lookup(value), value)
    again = parameter.decode(parameter.encode(values))
    assert_allclose(again, values, rtol=1e-12, atol=1e-9)  # bounds may be far out, and near


@given(array_parameters())
def test_an_array_goes_to_json_and_prints_as_code(parameter):
    again = parameter_from_json(json.loads(json.dumps(parameter.to_json())))
    assert again == parameter
    assert hash(again) == hash(parameter)
    assert eval(repr(parameter), {"Array": Array}) == parameter


def test_a_default_is_kept():
    own = Array((2,), -1, 1, default=[0.5, -0.5])
    assert own.default.tolist() == [0.5, -0.5]
    assert own != Array((2,), -1, 1)
    assert parameter_from_json(own.to_json()) == own
    assert Array(3).default.tolist() == [0, 0, 0]
    assert Array(2, 2, 4).default.tolist() == [3, 3]


def test_without_bounds_places_are_quantiles():
    places = np.array([[0.0, 0.5, 0.8413447460685429, 1.0]])
    low, middle, one, high = Array(4).decode(places)[0]
    assert (low, middle) == (-high, 0)
    assert one == pytest.approx(1)
    assert 8 < high < 8.3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Array(0), "shape: expected an integer >= 1, or a tuple of them, found 0"),
        (lambda: Array(np.array([3, 2])), "shape: expected .* a tuple of them, found array"),
        (lambda: Array((2, 1.5)), "shape: expected an integer"),
        (lambda: Array(()), "shape: expected an integer"),
        (lambda: Array((10**5, 10**5)), "at most 1e8 numbers"),
        (lambda: Array(2, 0), "low, high: expected both or neither"),
        (lambda: Array(2, 1, 0), "Array low: expected low < high"),
        (lambda: Array(2, default=[1, 2, 3]), r"default: expected the shape \(2,\), found \(3,\)"),
        (lambda: Array(2, 0, 1, default=[1, 2]), r"values in \[0.0, 1.0\], found 2.0"),
        (lambda: Array(2, default=[1, np.nan]), "finite numbers, found nan"),
        (lambda: Array(2, default="ab"), "expected an array of numbers"),
        (lambda: parameter_from_json({"array": []}), r"expected \[shape\] or \[shape, low, high\]"),
        (lambda: Space({"a": Array(2), "b": Int(0, 1).when(a=1)}), "separate values, found Array"),
    ],
)
def test_mistakes_are_named(make, says):
    with pytest.raises(SpaceError, match=says):
        make()


# --- the space --------------------------------------------------------------------------------


def test_where_the_coordinates_are():
    assert SPACE.dim == len(SPACE.axes) == 10
    assert [(p.start, p.stop) for p in SPACE.places.values()] == [(0, 2), (2, 3), (3, 9), (9, 10)]
    x = np.full((2, 10), 0.5)
    x[:, 2] = [0.1, 0.9]
    assert SPACE.active(SPACE.decode(x)).sum(axis=1).tolist() == [10, 8]


@settings(max_examples=15, deadline=None)
@given(st.data(), spaces(max_parameters=4, arrays=True))
def test_configs_and_columns_are_inverse(data, space):
    columns = space.decode(data.draw(points(space, 3)))
    back = space.columns(columns.configs())
    for name in space.parameters:
        active = columns.active.get(name, np.ones(3, dtype=bool))
        assert_array_equal(back.numbers[name][active], columns.numbers[name][active])
    assert_array_equal(space.encode(back), space.encode(columns))
    assert_array_equal(space.encode(columns.take([2, 0])), space.encode(columns)[[2, 0]])


def test_columns_hold_arrays_and_configs_own_theirs():
    x = np.full((2, 10), 0.5)
    x[:, 2] = [0.1, 0.9]
    columns = SPACE.decode(x)
    assert columns["weights"].shape == (2, 2, 3)
    assert np.isnan(columns["bias"]).tolist() == [[False] * 2, [True] * 2]
    first, second = columns.configs()
    assert "bias" not in second
    first["weights"][:] = 7
    assert_array_equal(columns["weights"], np.zeros((2, 2, 3)))
    assert SPACE.contains(SPACE.default)
    assert "shape" in str(SPACE.contains({**SPACE.default, "weights": np.zeros(6)}))


def test_a_grid_has_levels_for_each_number():
    space = Space({"w": Array(2, 0, 2), "on": Choice([False, True])})
    strategy = rs.GridSearch(levels={"w": 3})
    _, batch = strategy.ask(strategy.init(space, 0), 100)
    assert len(batch) == 18
    assert {tuple(c["w"]) for c in space.decode(batch.x).configs()} == {
        (a, b) for a in (0, 1, 2) for b in (0, 1, 2)
    }


def test_a_grid_of_very_many_numbers_is_refused():
    with pytest.raises(UsageError, match=r"at most 10000 numbers .* found 10001; use"):
        rs.GridSearch().init(Space({"w": Array(10_001)}), 0)


def test_a_million_numbers_are_one_parameter():
    space = Space({"w": Array(1_000_000)})
    strategy = rs.RandomSearch()
    _, batch = strategy.ask(strategy.init(space, 0), 2)
    columns = space.decode(batch.x)
    assert columns["w"].shape == (2, 1_000_000)
    assert abs(columns["w"].mean()) < 0.01
    assert columns["w"].std() == pytest.approx(1, abs=0.01)
    assert space.size == np.inf


# --- the log ----------------------------------------------------------------------------------


def test_rows_keep_every_bit():
    rows = Rows(SPACE)
    finished = made_up(SPACE, 20)
    batch = rows.to_batch(finished)
    batch.validate(full=True)
    back = rows.from_batch(batch)
    assert all(map(same, back.columns.configs(), finished.columns.configs()))
    cut = rows.from_batch(batch.slice(5, 7))
    assert all(map(same, cut.columns.configs(), finished.columns.configs()[5:12]))
    with pytest.raises(StudyMismatch, match="expected lists of 4 numbers"):
        Rows(Space({**SPACE.parameters, "weights": Array(4)})).from_batch(batch)


def test_a_study_gives_back_arrays(tmp_path):
    def objective(config):
        return float((config["weights"] ** 2).sum() + config["lr"])

    quiet = {"address": "inline", "progress": False, "study": tmp_path / "study"}
    rs.search(objective, SPACE, rs.EvolutionStrategy(), trials=40, **quiet)
    study = rs.search(objective, SPACE, rs.EvolutionStrategy(), trials=60, **quiet)
    best = rs.Study.load(tmp_path / "study").best
    assert best.config["weights"].shape == (2, 3)
    assert objective(best.config) == best.metrics["loss"]
    assert study.best.number == best.number
    row = study.trials.slice(best.number, 1).to_pylist()[0]
    assert row["config.weights"] == best.config["weights"].ravel().tolist()
    for name in ("csv", "json"):
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        FORMATS[name](study.trials, sink)
        assert str(row["config.weights"][0]) in sink.getvalue().to_pybytes().decode()


def test_rows_that_no_reader_would_take_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("raysearch.log.appending.MOST", 10_000)
    with pytest.raises(StudyStorage, match="of rows at once are more than a study takes"):
        rs.search(
            lambda config: 1.0,
            {"w": Array(2_000)},
            trials=3,
            study=tmp_path / "study",
            address="inline",
            progress=False,
        )


def test_a_vectorized_objective_of_one_array_gets_it():
    @rs.vectorized
    class Squares:
        def __call__(self, w):
            return (w**2).sum(axis=(1, 2))

    space = {"w": rs.Array((3, 2), -1, 1)}
    study = rs.search(Squares, space, trials=20, address="inline", progress=False, confirm=2)
    best = study.best
    assert best.metrics["loss"] == pytest.approx((best.config["w"] ** 2).sum())


def test_a_gradient_of_an_array_is_refused():
    loop = rs.AskTell(Space({"w": Array(2)}), rs.GradientSearch(), seed=0)
    (trial,) = loop.ask(1)
    with pytest.raises(UsageError, match="expected a continuous parameter, a Float, found Array"):
        loop.tell(trial, 1.0, gradient={"w": 1.0})


# --- without bounds ---------------------------------------------------------------------------


def test_samples_of_numbers_without_bounds_lie_on_a_straight_line():
    space = Space({"a": Float(0, 1), "w": Array(3)})
    lines = straight(space)
    assert lines.tolist() == [False, True, True, True]
    y = np.array([[1.2, -1.0, 0.5, 2.0]])
    x = folded(y, lines)
    (values,) = space.decode(x)["w"]
    assert_allclose(values, np.sqrt(2 * np.pi) * (y[0, 1:] - 0.5), rtol=1e-9)
    assert_allclose(images(x, y[0], lines), y, rtol=1e-9)
    assert np.isfinite(images(np.array([[0.0, 0.0, 1.0, 1.0]]), y[0], lines)).all()


@pytest.mark.parametrize("strategy", [rs.EvolutionStrategy(), rs.CMAES()])
def test_evolution_finds_weights_far_out(strategy):
    target = np.array([3.0, -2.5, 0.1, 4.0])
    loop = rs.AskTell({"w": Array(4)}, strategy, seed=1)
    for _ in range(600):
        (trial,) = loop.ask(1)
        loop.tell(trial, float(((trial.config["w"] - target) ** 2).sum()))
    assert loop.best.value < 1e-3
