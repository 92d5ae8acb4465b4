"""Parameters: maps between [0, 1] and their values, exact for every legal value."""

from __future__ import annotations

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
from raysearch.space import Choice, Float, Int, Space, bins, parameter_from_json
from raysearch.testing.spaces import legal_value, parameters

unit = st.lists(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1), min_size=1, max_size=8)


def relu(x):
    return max(x, 0)


def tanh(x):
    return math.tanh(x)


# --- the unit interval ----------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 505, bins._FEW])
@pytest.mark.parametrize("ratio", [1e-9, 0.125, 1000.0])
def test_logarithmic_bins_end_where_they_would_without_a_table(monkeypatch, n, ratio):
    few, many = bins.LogBins(n, ratio), bins.LogBins(n, ratio)
    ends = np.linspace(0, 1, 4 * n + 1)
    u = np.concatenate(
        [ends, np.nextafter(ends, 0), few.place(np.arange(n)), uniform(0, 0, 1, n)[0]]
    )
    found = few.bin(u)
    monkeypatch.setattr(bins, "_FEW", 0)
    assert_array_equal(found, many.bin(u))


@pytest.mark.parametrize("log", [False, True])
def test_a_single_number_is_decoded(log):
    parameter = Float(1, 4, log=log)
    assert parameter.decode(np.array(1.0)) == 4
    assert parameter.decode(np.array(0.5)) == pytest.approx(2.0 if log else 2.5)


@given(parameter=parameters(), u=unit)
def test_decode_then_encode_then_decode_changes_nothing(parameter, u):
    values = parameter.decode(np.array(u))

    places = parameter.encode(values)
    again = parameter.decode(places)

    assert values.dtype == parameter.dtype
    assert ((places >= 0) & (places <= 1)).all()
    if math.isinf(parameter.size):
        np.testing.assert_allclose(
            again, values, rtol=1e-9, atol=1e-12 * np.ptp([parameter.low, parameter.high])
        )
    else:
        assert_array_equal(again, values)
        assert_array_equal(parameter.encode(again), places)


@given(parameter=parameters(), u=unit)
def test_what_decode_gives_is_legal_and_looked_up_as_itself(parameter, u):
    values = parameter.decode(np.array(u))

    shown = parameter.to_list(values)

    assert [parameter.lookup(value) for value in shown] == values.tolist()


@given(parameter=parameters(), u=unit)
def test_decode_rises_and_never_leaves_the_range(parameter, u):
    values = parameter.decode(np.sort(np.array(u)))

    assert (np.diff(values) >= 0).all()
    if not isinstance(parameter, Choice):
        assert (values >= parameter.low).all()
        assert (values <= parameter.high).all()


@given(parameter=parameters(), data=st.data())
def test_parameters_go_to_json_and_back(parameter, data):
    parameter = parameter.when({"an other": [1, "x"], "b": [[1, 2]]})

    back = parameter_from_json(json.loads(json.dumps(parameter.to_json())))

    assert back == parameter
    assert hash(back) == hash(parameter)
    assert back.conditions == parameter.conditions
    assert back.lookup(legal_value(data.draw, parameter)) is not None


@given(parameter=parameters())
def test_parameters_print_as_the_code_that_makes_them(parameter):
    parameter = parameter.when({"an other": [1, "x"], "b": [[1, 2]], "c": 0.5})

    assert eval(repr(parameter), {"Float": Float, "Int": Int, "Choice": Choice}) == parameter


@given(parameter=parameters(), data=st.data())
def test_a_default_is_what_was_given(parameter, data):
    value = legal_value(data.draw, parameter)
    described = {**parameter.to_json(), "default": value}

    again = parameter_from_json(described)

    assert again.lookup(again.default) == parameter.lookup(value)
    assert pickle.loads(pickle.dumps(again)) == again


@pytest.mark.parametrize(
    "parameter",
    [
        Int(1, 300),
        Int(1, 300, log=True),
        Int(1, 300, log=True, step=7),
        Int(-3, 300, step=11),
        Float(0.0, 1.0, step=0.01),
        Float(0.5, 9.0, step=0.25, log=True),
        Choice(list(range(37))),
    ],
    ids=repr,
)
def test_every_value_has_a_stretch_of_its_own(parameter):
    u = np.linspace(0, 1, 200_001)

    values = parameter.decode(u)

    assert len(np.unique(values)) == parameter.size
    assert values[0] == parameter.decode(np.array([0.0]))


@given(
    low=st.integers(1, 2**20), width=st.integers(1, 2**40), step=st.integers(1, 9), data=st.data()
)
def test_every_log_integer_is_reached(low, width, step, data):
    parameter = Int(low, low + min(width, (2**40 - 1) * step), log=True, step=step)
    k = data.draw(st.integers(0, parameter.size - 1))
    value = np.array([low + k * step])

    assert parameter.decode(parameter.encode(value)) == value


def test_log_integers_are_as_likely_as_their_logarithms_are_far_apart():
    counts = np.bincount(Int(1, 4, log=True).decode(np.linspace(0, 1, 100_001)))[1:]

    edges = np.log(
        [1 / math.sqrt(2), math.sqrt(2), math.sqrt(6), math.sqrt(12), 4 * math.sqrt(4 / 3)]
    )
    np.testing.assert_allclose(counts / counts.sum(), np.diff(edges) / np.ptp(edges), atol=1e-4)


def test_even_values_are_equally_likely():
    counts = np.bincount(Int(0, 9).decode((np.arange(1000) + 0.5) / 1000))

    assert counts.tolist() == [100] * 10


@pytest.mark.parametrize(
    ("parameter", "last"),
    [
        (Float(0.0, 0.5, step=0.1), 0.5),
        (Float(0.0, 0.3, step=0.1), 0.3),
        (Float(0.1, 0.7, step=0.2), 0.7),
        (Float(-0.3, 0.3, step=0.1), 0.3),
        (Float(0.0, 1.0, step=0.3), 0.9),
        (Float(0.0, 1.0, step=5), 0.0),
        (Float(0.0, 0.25, step=0.0625), 0.25),
        (Int(0, 10, step=3), 9),
        (Int(0, 9, step=3), 9),
        (Int(1, 10, step=100, log=True), 1),
    ],
    ids=repr,
)
def test_the_upper_bound_is_reached_where_it_can_be(parameter, last):
    assert parameter.decode(np.array([1.0])).item() == last


def test_steps_are_the_decimals_a_person_would_write():
    values = Float(-0.3, 0.7, step=0.1).decode((np.arange(11) + 0.5) / 11)

    assert str(values.tolist()) == "[-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]"


@pytest.mark.parametrize(
    ("low", "high"),
    [(1e-5, 1e-1), (1e-300, 1.0), (1e300, 1.0000001e300), (1.0, math.nextafter(1, 2))],
)
def test_both_bounds_of_a_log_float_are_reached_exactly(low, high):
    parameter = Float(low, high, log=True)

    assert parameter.decode(np.array([0.0, 1.0])).tolist() == [low, high]
    assert parameter.encode(np.array([low, high])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("n", [2**20 + 1, 10**9 + 7, 2**40])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("low", [1, 2**52])
def test_huge_ranges_stay_exact_at_both_ends(n, log, low):
    parameter = Int(low, low + n - 1, log=log)
    values = low + np.array([0, 1, 2, n // 2, n - 3, n - 2, n - 1])

    assert_array_equal(parameter.decode(parameter.encode(values)), values)


def test_neighbours_whose_logarithms_hardly_differ_are_told_apart():
    values = 2**53 - 20 + np.arange(20)
    parameter = Int(2**53 - 20, 2**53 - 1, log=True)

    assert_array_equal(parameter.decode(parameter.encode(values)), values)


# --- values ---------------------------------------------------------------------------


def test_a_choice_tells_apart_what_python_takes_for_equal():
    parameter = Choice([1, 1.0, True, "1", None, [1], {"a": 1}])

    assert [parameter.lookup(v) for v in parameter.values] == list(range(7))
    assert Choice([1]) != Choice([1.0])
    assert Choice([1]) != Choice([True])


def test_the_order_of_keys_makes_no_difference():
    assert Choice(["x", {"a": 1, "b": 2}]).lookup({"b": 2, "a": 1}) == 1


def test_none_is_a_value_like_any_other_and_may_be_the_default():
    parameter = Choice(["a", None], default=None)

    assert parameter.default is None
    assert parameter.to_json() == {"choice": ["a", None], "default": None}
    assert parameter_from_json(parameter.to_json()).default is None
    assert Choice(["a", None]).default == "a"


def test_tuples_are_lists_to_json_but_stay_tuples_for_the_objective():
    parameter = Choice([(3, 3), (5, 5)])

    assert parameter.to_list(np.array([1])) == [(5, 5)]
    assert parameter.lookup([5, 5]) == parameter.lookup((5, 5)) == 1
    assert parameter.to_json() == {"choice": [[3, 3], [5, 5]]}


def test_objects_are_known_by_name():
    plain, named = Choice([relu, tanh]), Choice({"small": object(), "f": lambda x: x, "relu": 3})

    assert plain.to_json() == {"choice": ["relu", "tanh"]}
    assert plain.lookup(tanh) == plain.lookup("tanh") == 1
    assert [named.lookup(v) for v in named.values] == [0, 1, 2]
    assert named.lookup("f") == 1
    assert named.when(a=1).names == named.names
    assert parameter_from_json(plain.to_json()) == plain


def test_identity_goes_before_the_name_of_an_object():
    assert Choice({"tanh": relu, "relu": tanh}).lookup(relu) == 0


def test_a_trial_cannot_change_the_values_of_a_choice():
    parameter = Choice([[32, 32], {"a": [1]}, "x"])

    for value in parameter.to_list(np.array([0, 1])):
        value.clear()

    assert parameter.values == ([32, 32], {"a": [1]}, "x")


@pytest.mark.parametrize(
    ("parameter", "value", "number"),
    [
        (Float(0.0, 0.3, step=0.1), 0.1 * 3, 0.3),
        (Float(0, 1), np.float32(0.5), 0.5),
        (Float(0, 1), 1, 1.0),
        (Int(0, 5), 3.0, 3),
        (Int(0, 5), np.int8(3), 3),
    ],
)
def test_numbers_are_taken_as_people_give_them(parameter, value, number):
    found = parameter.lookup(value)

    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize(
    ("parameter", "middle"),
    [
        (Float(1e-5, 1e-1, log=True), 0.001),
        (Float(0, 1), 0.5),
        (Int(0, 10), 5),
        (Choice([1, 2, 3]), 1),
        (Choice([1, 2, 3], ordered=True), 2),
        (Float(0, 1, step=7), 0.0),
    ],
    ids=repr,
)
def test_the_default_is_the_middle(parameter, middle):
    assert parameter.default == middle


def test_set_conditions_have_an_order_of_their_own():
    assert Int(0, 1).when(a={"b", "c", "a"}).conditions == (("a", ("a", "b", "c")),)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(1, 0), r"Float low: expected low < high, found low=1.0, high=0.0; swap"),
        (lambda: Float(1, 1), r"for a constant use Choice\(\[value\]\)"),
        (
            lambda: Float(0, 1, log=True),
            r"Float low: expected low > 0 for log=True, found 0.0; raise",
        ),
        (lambda: Float(math.nan, 1), r"Float low: expected a finite number, found nan"),
        (lambda: Float(0, math.inf), r"Float high: expected a finite number, found inf"),
        (lambda: Float("0", 1), r"Float low: expected a number, found '0'"),
        (lambda: Float(False, True), r"Float low: expected a number, found False"),
        (lambda: Float(0, 10**400), r"Float high: expected a number that fits a float"),
        (lambda: Float(-1.7e308, 1.7e308), r"expected high - low to be finite"),
        (lambda: Float(1e-300, 1e300, log=True), r"expected high / low to be finite"),
        (lambda: Float(0, 1, step=0), r"Float step: expected step > 0, found 0.0"),
        (lambda: Float(0, 1, step=-1), r"Float step: expected step > 0"),
        (lambda: Float(0, 1, step=1e-13), r"Float step: expected at most 2\*\*40 values"),
        (lambda: Float(1e9, 1e9 + 1e-5, step=1e-6), r"Float step: expected at least 2\*\*-48"),
        (lambda: Float(0, 1, log="yes"), r"Float log: expected True or False, found 'yes'"),
        (
            lambda: Float(0, 1, default=2),
            r"Float default: expected a value in \[0.0, 1.0\], found 2",
        ),
        (lambda: Float(0, 1, default=None), r"Float default: expected a number, found None"),
        (lambda: Float(0, 1, step=0.25, default=0.3), r"the nearest is 0.25"),
        (lambda: Int(0.5, 3), r"Int low: expected an integer, found 0.5"),
        (lambda: Int(0, 10**400), r"Int high: expected at most 2\*\*53 in size"),
        (lambda: Int(0, 2**41), r"Int step: expected at most 2\*\*40 values"),
        (lambda: Int(0, 9, default="3"), r"Int default: expected a number, found '3'"),
        (lambda: Choice([]), r"Choice: expected at least one value"),
        (lambda: Choice("abc"), r"Choice: expected a list of values, found 'abc'"),
        (lambda: Choice({"a", "b"}), r"Choice: expected a list of values"),
        (lambda: Choice(3), r"Choice: expected a list of values, found 3"),
        (lambda: Choice([1, 2, 1]), r"Choice: 1 is there twice"),
        (lambda: Choice([(1, 2), [1, 2]]), r"Choice: \[1, 2\] is there twice"),
        (lambda: Choice({"a": "b", "b": "a"}), r"Choice: 'b' is there twice"),
        (lambda: Choice([math.nan]), r"nan is neither a JSON value nor has it a __name__"),
        (lambda: Choice([object()]), r"give it a name: Choice\(\{'name': value\}\)"),
        (lambda: Choice([lambda: 0]), r"give it a name"),
        (lambda: Choice([{1: 2}]), r"neither a JSON value"),
        (lambda: Choice({1: relu}), r"expected names \(texts\) as keys, found 1"),
        (lambda: Choice(["a"], default="b"), r"Choice default: expected one of 'a', found 'b'"),
        (lambda: Choice(["a"], ordered=1), r"Choice ordered: expected True or False, found 1"),
        (lambda: Int(0, 9).when(), r"\.when\(\): name a parent"),
        (lambda: Int(0, 9).when(a=[]), r"\.when\(a=\[\]\): name at least one value"),
        (lambda: Int(0, 9).when(a=object()), r"\.when\(a=\.\.\.\): .* nor has it a __name__"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            {"flaot": [0, 1]},
            r"of the keys 'float', 'int', 'choice', 'array', found 'flaot'",
        ),
        ({"float": [0, 1], "lgo": True}, r"float: there is no option 'lgo'; did you mean 'log'\?"),
        ({"float": [0]}, r"float: expected \[low, high\], found \[0\]"),
        ({"float": 3}, r"float: expected a list, found 3"),
        ({"choice": "ab"}, r"choice: expected a list, found 'ab'"),
        ({"int": [0, 1], "when": 3}, r"when: expected a table"),
        ({"int": [0, 1], "conditions": 3}, r"there is no option 'conditions'"),
        ([0, 1], r"expected a table such as"),
    ],
)
def test_mistakes_in_files_are_named(description, message):
    with pytest.raises(SpaceError, match=message):
        parameter_from_json(description)


def test_conditions_may_be_written_as_a_table():
    assert parameter_from_json({"int": [0, 1], "when": {"a": 3}}) == Int(0, 1).when(a=3)


@settings(max_examples=30)
@given(parameter=parameters())
def test_equal_spaces_of_one_parameter_are_interchangeable_keys(parameter):
    assert len({Space({"p": parameter}), Space({"p": parameter}), Space({"q": parameter})}) == 2
