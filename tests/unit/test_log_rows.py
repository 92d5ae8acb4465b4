"""Trials become rows and rows become the same trials again."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.errors import StudyCorrupt, StudyMismatch, UsageError
from raysearch.log import Rows
from raysearch.log.metrics import MAX_METRICS, admit
from raysearch.log.schema import FLAG, NUMBER, TEXT, check_schema, fit, unify
from raysearch.space import Choice, Float, Int, Space
from raysearch.testing.told import made_up
from raysearch.trial import COMPLETE, INVALID

SPACE = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "units": Int(32, 256),
        "optimizer": Choice(["sgd", "adam"]),
        "momentum": Float(0.8, 0.99).when(optimizer="sgd"),
        "depth": Int(1, 4).when(optimizer="adam"),
        "nested": Choice(["a", "b"]).when(optimizer="sgd"),
    }
)


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def same(a, b):
    """Whether two columns of metrics are the same, to the bit."""
    if a.dtype != b.dtype:
        return False
    if a.dtype == np.float64:
        return a.tobytes() == b.tobytes()
    return all(x is y or x == y or (x != x and y != y) for x, y in zip(a, b, strict=True))


def assert_same(a, b):
    for field in dataclasses.fields(a):
        if field.name not in ("trials", "metrics", "errors"):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))
    assert a.errors == b.errors
    np.testing.assert_array_equal(a.number, b.number)
    assert a.columns.configs() == b.columns.configs()
    assert a.metrics.keys() == b.metrics.keys()
    assert all(same(a.metrics[name], b.metrics[name]) for name in a.metrics)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
metric = st.one_of(
    st.lists(st.floats(), min_size=4, max_size=4).map(np.array),
    *(
        st.lists(st.none() | values, min_size=4, max_size=4)
        .filter(lambda v: None in v and any(x is not None for x in v))
        .map(lambda v: objects(*v))
        for values in (st.floats(), texts, st.booleans())
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    metrics=st.dictionaries(texts, metric, max_size=4),
    errors=st.dictionaries(st.integers(0, 3), texts, max_size=3),
    states=st.lists(st.integers(0, 6), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
)
def test_rows_are_the_inverse_of_trials(metrics, errors, states, seed):
    trials = dataclasses.replace(
        made_up(SPACE, 4, seed=seed),
        metrics=metrics,
        errors=errors,
        state=np.array(states, np.uint8),
        started=np.array([0, 1, 2, 3]),
    )
    rows = Rows(SPACE)
    assert_same(rows.from_batch(rows.to_batch(trials)), trials)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["a", "b"], TEXT),
        ([16, 32], pa.int64()),
        ([0.5, 1.5], NUMBER),
        ([True, False], FLAG),
        ([1, "a"], TEXT),
        ([None, "a"], TEXT),
        ([[1, 2], {"k": "v"}], TEXT),
        ([2**70, 1], TEXT),
        ([0.0, -0.0], TEXT),
        ([1, 1.0, True], TEXT),
        ([len, print], TEXT),
    ],
)
def test_choices_are_typed_by_their_values(values, type_):
    space = Space({"c": Choice(values)})
    rows = Rows(space)
    trials = made_up(space, 20)
    batch = rows.to_batch(trials)
    assert batch.schema.field("config.c").type == type_
    assert_same(rows.from_batch(batch), trials)


@pytest.mark.parametrize("name", ["../x", "=cmd", 'a"b', "a.b", "ü ñ", "x" * 200, "number", "\0"])
def test_hostile_names_are_only_names(name):
    space = Space({name.replace("\0", "n"): Float(0, 1)})  # control characters: never in a space
    rows = Rows(space)
    trials = dataclasses.replace(made_up(space, 2), metrics={name: np.array([1.0, 2.0])})
    assert_same(rows.from_batch(rows.to_batch(trials)), trials)


def test_names_that_no_column_can_have_are_refused():
    with pytest.raises(UsageError, match="extension"):
        Rows(Space({"ARROW:extension:name": Float(0, 1)}))
    trials = dataclasses.replace(made_up(SPACE, 1), metrics={"\ud800": np.array([1.0])})
    with pytest.raises(UsageError, match="Unicode"):
        Rows(SPACE).to_batch(trials)


def test_texts_without_utf8_are_kept_readable():
    trials = dataclasses.replace(made_up(SPACE, 1), errors={0: "bad \ud800"})
    rows = Rows(SPACE)
    assert rows.from_batch(rows.to_batch(trials)).errors == {0: "bad \\ud800"}


def test_inactive_parameters_are_null():
    batch = Rows(SPACE).to_batch(made_up(SPACE, 50))
    sgd = [value == "sgd" for value in batch.column("config.optimizer").to_pylist()]
    assert batch.column("config.momentum").is_valid().to_pylist() == sgd
    assert batch.column("config.depth").is_null().to_pylist() == sgd


def test_points_can_be_found_again_from_rows_where_parameters_are_inactive():
    space = Space(
        {
            "rule": Choice(["sgd", "adam"]),
            "decay": Float(1e-5, 1e-1, log=True).when(rule="adam"),
            "steps": Int(1, 100, log=True).when(rule="adam"),
        }
    )
    trials = made_up(space, 40)
    again = Rows(space).from_batch(Rows(space).to_batch(trials))
    np.testing.assert_array_equal(space.encode(again.columns), space.encode(trials.columns))


def test_integers_are_numbers_and_other_types_conflict():
    rows = Rows(SPACE)
    trials = dataclasses.replace(made_up(SPACE, 2), metrics={"m": objects(1, None)})
    assert rows.to_batch(trials).column("metrics.m").to_pylist() == [1.0, None]
    with pytest.raises(StudyMismatch, match=r"metrics\['m'\].*a text.*found a number"):
        rows.to_batch(trials, {"m": TEXT})
    mixed = dataclasses.replace(trials, metrics={"m": objects(1, "a")})
    with pytest.raises(StudyMismatch, match="values of one type"):
        rows.to_batch(mixed)


def test_admit_makes_trials_invalid_whose_metrics_changed_their_type():
    trials = dataclasses.replace(
        made_up(SPACE, 4),
        metrics={"m": objects(1.0, "a", None, True), "loss": np.array([1.0, 2, 3, math.nan])},
        errors={2: "old"},
    )
    admitted = admit(trials, {})
    assert admitted.state.tolist() == [COMPLETE, INVALID, COMPLETE, INVALID]
    assert admitted.metrics["m"].tolist() == [1.0, None, None, None]
    assert set(admitted.errors) == {1, 2, 3}
    assert "expected a number" in admitted.errors[1]
    assert "found a text" in admitted.errors[1]
    Rows(SPACE).to_batch(admitted)

    known = admit(trials, {"loss": TEXT})
    assert (known.state == INVALID).all()
    Rows(SPACE).to_batch(known, {"loss": TEXT})


def test_admit_leaves_good_trials_alone_and_refuses_what_cannot_be_stored():
    trials = made_up(SPACE, 3)
    assert admit(trials, {"loss": NUMBER}) is trials
    odd = dataclasses.replace(made_up(SPACE, 2), metrics={"m": objects(10**400, {1})})
    admitted = admit(odd, {})
    assert admitted.state.tolist() == [INVALID, INVALID]
    assert "too large" in admitted.errors[0]
    assert "found set" in admitted.errors[1]
    Rows(SPACE).to_batch(admitted)


def test_admit_bounds_the_number_of_columns():
    known = {f"m{i}": NUMBER for i in range(MAX_METRICS)}
    trials = dataclasses.replace(made_up(SPACE, 2), metrics={"new": np.array([1.0, 2.0])})
    admitted = admit(trials, known)
    assert (admitted.state == INVALID).all()
    assert "different names" in admitted.errors[0]


def test_rows_of_another_space_are_refused_by_name():
    batch = Rows(SPACE).to_batch(made_up(SPACE, 20))
    without = Space({k: v for k, v in SPACE.parameters.items() if k != "lr"} | {"new": Int(0, 1)})
    with pytest.raises(StudyMismatch, match="new"):
        Rows(without).from_batch(batch)
    fewer = Space({**SPACE.parameters, "optimizer": Choice(["sgd", "rmsprop"]), "depth": Int(0, 9)})
    parameters = {k: v for k, v in fewer.parameters.items() if k in ("lr", "units", "optimizer")}
    with pytest.raises(StudyMismatch, match="adam"):
        Rows(Space(parameters)).from_batch(batch)


def test_schemas_unite_and_batches_fit():
    a = Rows(Space({"x": Choice([1, 2]), "y": Choice([1, 2])}))
    b = Rows(Space({"x": Choice([0.5, 1.5]), "y": Choice(["u", "v"]), "z": Float(0, 1)}))
    schema = unify([a.schema({"m": NUMBER}), b.schema({"n": TEXT})])
    assert schema.field("config.x").type == NUMBER
    assert schema.field("config.y").type == TEXT
    batch = fit(a.to_batch(made_up(a.space, 3)), unify([schema, a.schema({"loss": NUMBER})]))
    assert set(batch.column("config.y").to_pylist()) <= {"1", "2"}
    assert batch.column("metrics.n").null_count == 3
    with pytest.raises(StudyMismatch, match=r"metrics\['m'\]"):
        unify([schema, a.schema({"m": FLAG})])


def test_only_known_columns_are_read():
    good = Rows(SPACE).schema({"loss": NUMBER})
    check_schema(good, "file")
    check_schema(good.append(pa.field("of a later minor version", NUMBER)), "file")
    bad = [
        good.remove(0),
        good.append(pa.field("number", pa.int64())),
        good.append(pa.field("metrics.x", pa.list_(NUMBER))),
        good.append(pa.field("metrics.x", pa.int64())),
        good.set(0, pa.field("number", TEXT)),
        good.append(pa.field("config.x", TEXT, metadata={"ARROW:extension:name": "evil"})),
    ]
    for schema in bad:
        with pytest.raises(StudyCorrupt, match="file"):
            check_schema(schema, "file")
