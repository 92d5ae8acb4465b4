"""Space: the door between the unit cube and typed columns."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from raysearch.errors import SpaceError
from raysearch.rng import uniform
from raysearch.space import Choice, Float, Int, Space
from raysearch.testing.spaces import points, spaces

few = settings(max_examples=40)  # a space is a large thing to draw

SGD = Space(
    {
        "momentum": Float(0.8, 0.99).when(optimizer="sgd"),
        "optimizer": Choice(["adam", "sgd"]),
        "nesterov": Choice([False, True]).when(optimizer="sgd"),
        "ramp": Int(1, 9).when(nesterov=True),
    }
)


def fits(config):
    return config["units"] >= config["batch"]


def columns_fit(columns):
    return columns["units"] >= columns["batch"]


columns_fit.__vectorized__ = True


# --- properties -----------------------------------------------------------------------


@few
@given(data=st.data(), space=spaces())
def test_configs_and_columns_are_inverse(data, space):
    columns = space.decode(data.draw(points(space, 3)))

    configs = columns.configs()
    back = space.columns(configs)

    assert [bool(space.contains(config)) for config in configs] == [True] * 3
    assert repr(back.configs()) == repr(configs)  # repr, as 1 == True
    assert_array_equal(space.encode(back), space.encode(columns))
    for name, mask in columns.active.items():
        assert [name in config for config in configs] == mask.tolist()


@few
@given(data=st.data(), space=spaces())
def test_a_snapped_point_stays_where_it_is(data, space):
    x = data.draw(points(space, 3))

    once = space.snap(x)
    twice = space.snap(once)

    assert ((once >= 0) & (once <= 1)).all()
    for i, parameter in enumerate(space.parameters.values()):
        if math.isinf(parameter.size):
            width = parameter.high - parameter.low  # places are as exact as values can be
            coarse = np.spacing(max(abs(parameter.low), abs(parameter.high))) / width
            tolerance = max(
                1e-12, 8 * coarse * (parameter.high / parameter.low if parameter.log else 1)
            )
            np.testing.assert_allclose(twice[:, i], once[:, i], atol=tolerance)
        else:
            assert_array_equal(twice[:, i], once[:, i])


@few
@given(data=st.data(), space=spaces())
def test_how_points_are_grouped_does_not_matter(data, space):
    x = data.draw(points(space, 4))

    together = space.decode(x).configs()

    assert repr(together) == repr([space.decode(row[None]).configs()[0] for row in x])


@few
@given(data=st.data(), space=spaces())
def test_taking_rows_takes_configurations(data, space):
    columns = space.decode(data.draw(points(space, 4)))
    configs = columns.configs()

    for rows in ([2, 0], slice(1, 3), np.array([True, False, False, True]), np.arange(0)):
        taken = columns.take(rows)
        picked = np.arange(4)[rows].tolist()
        assert repr(taken.configs()) == repr([configs[i] for i in picked])
        assert taken.k == len(picked)


@few
@given(data=st.data(), space=spaces())
def test_spaces_go_to_json_and_to_other_processes(data, space):
    x = data.draw(points(space, 3))

    for back in (
        Space.from_json(json.loads(json.dumps(space.to_json()))),
        pickle.loads(pickle.dumps(space)),
    ):
        assert back == space
        assert repr(back.decode(x).configs()) == repr(space.decode(x).configs())
        assert repr(back.default) == repr(space.default)


@few
@given(space=spaces())
def test_the_default_is_legal(space):
    assert space.contains(space.default)


@few
@given(data=st.data(), space=spaces())
def test_columns_hold_what_configs_say(data, space):
    columns = space.decode(data.draw(points(space, 3)))

    for name, parameter in space.parameters.items():
        array = columns[name]
        assert array.shape == (3,)
        for i, config in enumerate(columns.configs()):
            absent = None if isinstance(parameter, Choice) else math.nan
            assert repr(array.tolist()[i]) == repr(config.get(name, absent)) or (
                array[i] == config[name]  # a conditional Int is a float64
            )


@few
@given(data=st.data())
def test_the_size_of_a_space_is_how_many_configurations_it_has(data):
    parameters = {}
    for i in range(data.draw(st.integers(1, 5))):
        parameter = Int(0, data.draw(st.integers(1, 3)))
        for parent in (
            data.draw(st.lists(st.sampled_from(sorted(parameters)), max_size=2)) if i else ()
        ):
            parameter = parameter.when({parent: data.draw(st.lists(st.integers(0, 1), min_size=1))})
        parameters[f"p{i}"] = parameter
    space = Space(dict(data.draw(st.permutations(list(parameters.items())))))

    places = [p.encode(np.arange(p.size)) for p in space.parameters.values()]
    configs = space.decode(np.array(list(itertools.product(*places)))).configs()

    assert space.size == len({repr(config) for config in configs})


# --- shape and size -------------------------------------------------------------------


def test_sizes_are_counted_not_enumerated():
    many = {f"p{i}": Choice(["a", "b"]) for i in range(300)}
    children = {f"c{i}": Int(1, 3).when({f"p{i}": "a"}) for i in range(300)}

    assert Space({"a": Int(1, 10**6), "b": Int(1, 10**6)}).size == 10**12
    assert Space({**many, **children}).size == 4**300
    assert Space({"a": Choice([1]), "b": Float(0, 1)}).size == math.inf
    assert SGD.size == math.inf
    huge = {f"n{i}": Int(1, 1000) for i in range(150)}
    assert Space({**huge, "x": Float(0, 1)}).size == math.inf
    never = {"a": Choice([1, 2]), "b": Int(1, 2).when(a=1), "x": Float(0, 1).when(a=2).when(b=1)}
    assert Space(never).size == 3


def test_a_chain_of_a_thousand_conditions():
    chain = {"p0": Choice([0, 1])}
    for i in range(1, 1000):
        chain[f"p{i}"] = Choice([0, 1]).when({f"p{i - 1}": 1})
    space = Space(chain)

    assert space.size == 1001
    assert space.decode(np.array([[1.0] * 500 + [0.0] * 500])).configs()[0]["p500"] == 0
    assert len(space.default) == 1


def test_a_thousand_parameters():
    kinds = [Float(0, 1), Float(1e-3, 1, log=True), Int(1, 100, log=True), Choice(["a", "b"])]
    space = Space({f"p {i}": kinds[i % 4] for i in range(1000)})
    x = uniform(0, 0, 2, 1000)

    configs = space.decode(x).configs()

    assert space.dim == len(configs[0]) == 1000
    assert_array_equal(
        space.decode(space.encode(space.columns(configs)))["p 2"], space.decode(x)["p 2"]
    )


def test_no_points_are_points():
    columns = SGD.decode(np.empty((0, 4)))

    assert columns.k == 0
    assert columns.configs() == []
    assert SGD.encode(columns).shape == (0, 4)
    assert SGD.columns([]).k == 0
    assert SGD.allowed(columns).shape == (0,)


def test_points_beside_the_cube_are_moved_to_its_surface():
    space = Space({"a": Int(0, 9), "b": Float(1, 2, log=True)})

    assert space.decode(np.array([[-0.5, 1.5]])).configs() == [{"a": 0, "b": 2.0}]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(4), r"x: expected the shape \(n, 4\), found \(4,\)"),
        (np.zeros((1, 3)), r"x: expected the shape \(n, 4\), found \(1, 3\)"),
        (np.full((1, 4), np.nan), r"x: .* found NaN"),
    ],
)
def test_what_is_no_point_is_refused(x, message):
    with pytest.raises(SpaceError, match=message):
        SGD.decode(x)


def test_columns_have_types_and_cannot_be_written_to():
    x = np.array([[0.5, 0.9, 0.9, 0.0], [0.5, 0.0, 0.9, 0.0]])
    space = Space(
        {
            "shape": Choice([[1, 2], [3, 4]]),
            "n": Int(1, 3),
            "m": Int(1, 3).when(n=3),
            "f": Float(0, 1),
        }
    )

    columns = space.decode(x)

    assert dict(columns.items())["shape"].tolist() == [[3, 4], [3, 4]]
    assert (columns["n"].dtype, columns["m"].dtype, columns["f"].dtype) == (int, float, float)
    assert_array_equal(columns["m"], [3, np.nan])
    with pytest.raises(ValueError, match="read-only"):
        columns["n"][0] = 7


# --- conditions -----------------------------------------------------------------------


def test_a_child_is_active_only_if_its_parent_is():
    x = np.array([[0.0, 0.9, 0.9, 0.0], [0.0, 0.9, 0.1, 0.0], [0.0, 0.1, 0.9, 0.0]])

    assert SGD.decode(x).configs() == [
        {"momentum": 0.8, "optimizer": "sgd", "nesterov": True, "ramp": 1},
        {"momentum": 0.8, "optimizer": "sgd", "nesterov": False},
        {"optimizer": "adam"},
    ]


def test_a_space_knows_whether_it_is_conditional():
    assert SGD.conditional
    assert not Space({"x": Float(0, 1)}).conditional


def test_inactive_parameters_lie_in_the_middle():
    assert SGD.snap(np.array([[0.1, 0.1, 0.9, 0.9]])).tolist() == [[0.5, 0.25, 0.5, 0.5]]


def test_numbers_with_steps_can_be_parents():
    space = Space(
        {"rate": Float(0, 0.5, step=0.1), "seed": Int(0, 9).when(rate=[0.3, 0.1 * 3, 0.5])}
    )

    on = space.decode(np.column_stack([(np.arange(6) + 0.5) / 6, np.zeros(6)])).active["seed"]

    assert on.tolist() == [False, False, False, True, False, True]


# --- single configurations ------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"optimizer": "adam"}, "legal"),
        ({"optimizer": "adma"}, "optimizer: expected one of 'adam', 'sgd', found 'adma'"),
        (
            {"optimizer": "adma", "momentum": 0.9},
            "optimizer: expected one of 'adam', 'sgd', found 'adma'",
        ),
        ({}, "optimizer: missing"),
        ({"optimizer": "sgd"}, "momentum: missing; nesterov: missing"),
        (
            {"optimizer": "adam", "ramp": 3},
            "ramp: given, but not active; it needs nesterov in [True]",
        ),
        ({"optimizer": "sgd", "nesterov": False}, "momentum: missing"),
        (
            {"optimizer": "adam", "momentun": 1},
            "momentun: there is no such parameter; did you mean 'momentum'?",
        ),
        (
            {"optimizer": "sgd", "nesterov": True, "momentum": 2, "ramp": 10},
            "momentum: expected a value in [0.8, 0.99], found 2; "
            "ramp: expected a value in [1, 9], found 10",
        ),
    ],
)
def test_contains_explains_what_is_wrong(config, message):
    verdict = SGD.contains(config)

    assert str(verdict) == message
    assert bool(verdict) == (message == "legal")


def test_columns_name_the_configuration_that_is_wrong():
    with pytest.raises(SpaceError, match=r"configuration 1: optimizer: missing"):
        SGD.columns([{"optimizer": "adam"}, {}])
    with pytest.raises(SpaceError, match=r"expected a mapping of names to values, found 3"):
        SGD.contains(3)


# --- constraints ----------------------------------------------------------------------


@pytest.mark.parametrize("constraint", [fits, columns_fit])
def test_constraints_are_asked(constraint):
    space = Space({"units": Int(1, 4), "batch": Int(1, 4)}, constraints=[constraint])

    columns = space.decode(np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]))

    assert space.allowed(columns).tolist() == [True, False, True]
    assert space.contains({"units": 2, "batch": 2})
    name = constraint.__name__
    assert str(space.contains({"units": 1, "batch": 2})) == f"constraint {name}: not met"
    assert space.to_json()["constraints"] == [name]
    assert Space.from_json(space.to_json(), [constraint]) == space
    assert Space.from_json(space.to_json()) != space


def test_every_constraint_must_be_met():
    odd, small = (lambda c: c["n"] % 2), (lambda c: c["n"] < 6)
    space = Space({"n": Int(0, 9)}, constraints=[odd, small])

    allowed = space.allowed(space.decode((np.arange(10)[:, None] + 0.5) / 10))

    assert np.flatnonzero(allowed).tolist() == [1, 3, 5]


def test_a_constraint_that_raises_is_named_with_what_to_do():
    space = Space(SGD.parameters, constraints=[lambda c: c["momentum"] > 0.9])

    with pytest.raises(SpaceError, match=r"raised KeyError: 'momentum' .* use config\.get\(name\)"):
        space.contains({"optimizer": "adam"})


def test_a_constraint_on_columns_answers_for_each():
    def total(columns):
        return True

    total.__vectorized__ = True
    with pytest.raises(SpaceError, match=r"total: expected one answer for each of 1 .* shape \(\)"):
        Space({"n": Int(0, 9)}, [total]).contains({"n": 1})


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["learning rate", "a.b", 'it\'s "it"', "größe", "学习率", "🙂", "="]
)
def test_names_are_any_printable_text(name):
    space = Space({name: Int(0, 1), "child": Int(0, 1).when({name: 1})})

    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert space.decode(np.ones((1, 2))).configs() == [{name: 1, "child": 1}]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, r"space: expected a mapping of at least one name to a parameter.* found \{\}"),
        ([("a", Int(0, 1))], r"space: expected a mapping"),
        ({"": Int(0, 1)}, r"space: expected a name \(a text\), found ''"),
        ({1: Int(0, 1)}, r"space: expected a name \(a text\), found 1"),
        ({"a": 3}, r"space\['a'\]: expected a Float, Int, Choice or Array, found 3"),
        ({"a\0": Int(0, 1)}, r"control character"),
        ({"\x1b[31m": Int(0, 1)}, r"control character"),
        ({"a\ud800": Int(0, 1)}, r"half a surrogate"),
        ({"a" * 10_000: Int(0, 1)}, r"at most 200 characters, found one of 10000"),
        ({"é": Int(0, 1), "e\u0301": Int(0, 1)}, r"'\\xe9' and 'e\\u0301' are the same text"),
        (
            {"optimizer": Choice([1]), "a": Int(0, 1).when(optimiser=1)},
            r"did you mean 'optimizer'\?",
        ),
        ({"b": Choice([1]), "a": Int(0, 1).when(xyz=1)}, r"no parameter 'xyz'; known are 'b', 'a'"),
        (
            {"b": Choice([1]), "a": Int(0, 1).when(b=2)},
            r"space\['a'\]\.when\(b=\.\.\.\): .* found 2",
        ),
        ({"b": Float(0, 1), "a": Int(0, 1).when(b=0.5)}, r"separate values, found Float"),
        ({"a": Int(0, 1).when(a=1)}, r"in a circle: a -> a"),
        (
            {"a": Int(0, 1).when(b=1), "b": Int(0, 1).when(a=1)},
            r"in a circle: (a -> b -> a|b -> a -> b)",
        ),
    ],
)
def test_mistakes_are_named(parameters, message):
    with pytest.raises(SpaceError, match=message):
        Space(parameters)


@pytest.mark.parametrize("constraints", [fits, [3], 3])
def test_constraints_are_a_list_of_functions(constraints):
    with pytest.raises(SpaceError, match="constraints: expected"):
        Space({"a": Int(0, 1)}, constraints)


@pytest.mark.parametrize(
    "description", [{}, [], {"parameters": [1]}, {"parameters": {"a": {"int": [1, 0]}}}]
)
def test_mistakes_in_files_are_named(description):
    with pytest.raises(SpaceError, match="space"):
        Space.from_json(description)


# --- for people -----------------------------------------------------------------------


def test_equal_spaces_lie_in_the_cube_alike():
    a, b = Int(0, 1), Float(0, 1)

    assert Space({"a": a, "b": b}) == Space({"a": a, "b": b})
    assert Space({"a": a, "b": b}) != Space({"b": b, "a": a})
    assert Space({"a": Choice([1])}) != Space({"a": Choice([1.0])})


def test_a_space_prints_as_the_code_that_makes_it():
    text = repr(SGD)

    assert text.startswith(
        "Space({'momentum': Float(0.8, 0.99).when(optimizer='sgd'), 'optimizer': Cho"
    )
    assert eval(text, {"Space": Space, "Float": Float, "Int": Int, "Choice": Choice}) == SGD


def test_a_notebook_sees_names_escaped():
    page = Space({"<script>": Choice(["<b>"])})._repr_html_()

    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page
