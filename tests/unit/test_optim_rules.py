"""Transforms, state and the errors of update rules."""
# ruff: noqa: E501  (one mistake a line)

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch import optim
from raysearch.errors import UsageError

SGD1 = optim.SGD(lr=1.0)


def steps(rule: optim.Rule, grads: list[Any], start: float = 0.0) -> tuple[list[float], Any]:
    """The course of one parameter under these gradients, and the last state."""
    x = np.array([start])
    state, course = rule.init(x), []
    for g in grads:
        rule.step(x, np.array([float(g)]), state)
        course.append(float(x[0]))
    return course, state


def test_clipping_by_value_and_norm() -> None:
    x = [np.zeros(2), np.zeros(1)]
    g = [np.array([3.0, 0.0]), np.array([-4.0])]
    rule = optim.chain(optim.ClipByNorm(1.0), SGD1)
    rule.step(x, g, rule.init(x))
    np.testing.assert_allclose(np.concatenate(x), [-0.6, 0.0, 0.8])
    rule = optim.chain(optim.ClipByValue(1.0), SGD1)
    assert steps(rule, [5, -0.5])[0] == [-1.0, -0.5]


def test_short_gradients_are_not_scaled() -> None:
    assert steps(optim.chain(optim.ClipByNorm(10.0), SGD1), [3.0])[0] == [-3.0]


def test_limits_may_follow_schedules() -> None:
    rule = optim.chain(optim.ClipByValue(optim.Linear(1.0, 0.0, steps=4)), SGD1)
    assert steps(rule, [-9, -9, -9])[0] == [1.0, 1.75, 2.25]


def test_accumulation_steps_by_the_mean() -> None:
    course, state = steps(optim.chain(optim.Accumulate(3), SGD1), [1, 2, 6, 1, 1, 1])
    assert course == [0.0, 0.0, -3.0, -3.0, -3.0, -4.0]
    assert state.inner[-1].steps == 2


def test_averages_are_the_mean_or_exponential() -> None:
    x = np.zeros(1)
    for part, expected in [
        (optim.Average(), 2.0),
        (optim.Average(decay=0.5), 0.5 * (0.5 * 1 + 0.5 * 2) + 0.5 * 3),
        (optim.Average(start=1), 2.5),
        (optim.Average(every=2), 2.0),
    ]:
        _, state = steps(optim.chain(part, SGD1), [-1, -1, -1])
        assert optim.averaged(x, state).tolist() == [expected]


def test_lookahead_goes_part_of_the_way() -> None:
    course, _ = steps(optim.chain(optim.Lookahead(every=2, alpha=0.5), SGD1), [-1] * 4)
    assert course == [1.0, 1.0, 2.0, 2.0]


def test_bounds_are_kept() -> None:
    course, _ = steps(optim.chain(optim.Bounds(-0.5, 1.0), SGD1), [-5, 9])
    assert course == [1.0, -0.5]


def test_parts_nest_from_the_outside_in() -> None:
    clipped_then_summed = optim.chain(optim.ClipByValue(1.0), optim.Accumulate(2), SGD1)
    summed_then_clipped = optim.chain(optim.Accumulate(2), optim.ClipByValue(1.0), SGD1)
    assert steps(clipped_then_summed, [9, -1])[0][-1] == 0.0
    assert steps(summed_then_clipped, [9, -1])[0][-1] == -1.0


def test_options_reach_the_rule_through_a_chain() -> None:
    x = np.zeros(1)
    rule = optim.chain(optim.Lookahead(), SGD1)
    state = rule.init(x)
    rule.step(x, np.ones(1), state, lr=0.25)
    assert x.tolist() == [-0.25]


def test_a_chain_saves_and_restores() -> None:
    rule = optim.chain(optim.Average(decay=0.9), optim.Accumulate(2), optim.Adam(lr=0.1))
    _, state = steps(rule, [1, 2, 3])
    again = rule.init(np.zeros(1)).restore(state.arrays())
    assert {k: v.tolist() for k, v in again.arrays().items()} == {
        k: v.tolist() for k, v in state.arrays().items()
    }
    assert repr(rule).startswith("chain(Average(decay=0.9")


def test_bad_gradients_by_policy() -> None:
    x = {"w": np.zeros(2), "b": np.zeros(1)}
    bad = {"w": np.array([np.nan, 1.0]), "b": np.array([np.inf])}
    raising = optim.chain(optim.Finite(), SGD1)
    state = raising.init(x)
    with pytest.raises(
        FloatingPointError, match=r"grads\['w'\]: expected finite .* found 1 .*step 0"
    ):
        raising.step(x, bad, state)
    assert x["w"].tolist() == [0.0, 0.0]
    assert state.steps == 0

    skipping = optim.chain(optim.Finite("skip"), SGD1)
    state = skipping.init(x)
    skipping.step(x, bad, state)
    assert x["b"].tolist() == [0.0]
    assert state.inner[0].numbers["skipped"] == 1

    clipping = optim.chain(optim.Finite("clip"), optim.ClipByValue(1.0), SGD1)
    clipping.step(x, bad, clipping.init(x))
    assert x["w"].tolist() == [0.0, -1.0]
    assert x["b"].tolist() == [-1.0]


def step(params: Any, grads: Any, rule: optim.Rule = SGD1, **options: Any) -> None:
    rule.step(params, grads, rule.init(params), **options)


SHARED = np.zeros(2)
READ_ONLY = np.zeros(2)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: step({"w": np.zeros(2)}, {"w": np.zeros(3)}),
         r"grads\['w'\]: expected the shape of params\['w'\], \(2,\), found \(3,\)"),
        (lambda: step([np.zeros(2)], [np.zeros(2, np.float32)]),
         r"grads\[0\]: expected the dtype of params\[0\], float64, found float32"),
        (lambda: step({"w": np.zeros(2)}, {"v": np.zeros(2)}),
         r"missing: params\['w'\]; not in params: params\['v'\]"),
        (lambda: step(np.zeros(2), [1.0, 2.0]), "expected the structure of params"),
        (lambda: step(np.zeros(2), 1.0), "grads: expected ndarray, as params is, found float"),
        (lambda: step(np.zeros(2, int), np.zeros(2)), "params: expected float32 or float64, found int64"),
        (lambda: step([1.0], [1.0]), r"params\[0\]: expected an array, found float: 1.0"),
        (lambda: step({}, {}), "params: expected at least one array"),
        (lambda: step(READ_ONLY, np.zeros(2)), "update in place, found a read-only"),
        (lambda: step(np.zeros(2), np.zeros(2), rate=1.0), "SGD: no option 'rate'; it has lr, momentum"),
        (lambda: step(np.zeros(2), np.zeros(2), momentum=0.5), r"state: expected the arrays \['v'\]"),
        (lambda: SGD1.step([np.zeros(2)], [np.zeros(2)], optim.State(slots={"v": []}), momentum=0.5),
         "expected 1 arrays v"),
        (lambda: optim.Adam().step(np.zeros(3), np.zeros(3), optim.Lion().init(np.zeros(3))), "one made by init of Adam, found one of Lion"),
        (lambda: optim.Lion().step(np.zeros(3), np.zeros(3), optim.LBFGS().init(np.zeros(3))), "one made by init of Lion, found SolverState"),
        (lambda: optim.Lion().step(np.zeros(3), np.zeros(3), optim.Lion().init(np.zeros(2))), r"made for params of shape \(3,\), found one made for shape \(2,\)"),
        (lambda: step(np.zeros(2, ">f8"), np.zeros(2, ">f8")), "expected float32 or float64, found >f8"),
        (lambda: optim.SGD(lr="fast"), "a finite number or a schedule, found 'fast'"),
        (lambda: optim.Muon().init({"b": np.zeros(3)}), r"params\['b'\]: Muon expected a matrix"),
        (lambda: optim.SGD(lr=-1.0), r"SGD\(lr=...\): expected >= 0, found -1.0"),
        (lambda: optim.SGD(lr=math.nan), "finite"),
        (lambda: optim.Adam(betas=(0.9, 1.5)), "betas"),
        (lambda: optim.Adam(betas=(1.0, 0.9)), r"betas=...\): expected in \[0, 1\)"),
        (lambda: optim.Adam(betas=(0.9,)), r"betas=...\): expected 2 values, found \(0.9,\)"),
        (lambda: optim.Adam(betas=[0.9, 0.9]), r"betas=...\): expected a tuple"),
        (lambda: optim.Adam(eps=None), r"eps=...\): expected a finite number"),
        (lambda: optim.Adam(amsgrad=1), r"amsgrad=...\): expected True or False"),
        (lambda: optim.Adam(lr=True), r"lr=...\): expected a finite number or a schedule"),
        (lambda: optim.Muon(adjust_lr_fn="torch"), "'original' or 'match_rms_adamw', found 'torch'"),
        (lambda: optim.Muon(ns_steps=2.5), r"ns_steps=...\): expected a whole number"),
        (lambda: optim.SOAP(precondition_frequency=0), r"expected >= 1, found 0"),
        (lambda: optim.ScheduleFree(0.1), r"rule=...\): expected a rule"),
        (lambda: step(np.zeros(2), np.zeros(2), lr=optim.Constant(-1.0)), "expected >= 0, found -1.0"),
        (lambda: SGD1.init({"a": SHARED, "b": SHARED}), r"params\['b'\]: expected memory of its own, found that of params\['a'\]"),
        (lambda: SGD1.step(np.zeros(2), np.zeros(2), None), "one made by init of SGD, found None"),
        (lambda: optim.SGD(nesterov=True), "momentum > 0"),
        (lambda: optim.Rprop(etas=(2.0, 0.5)), "etas"),
        (lambda: optim.chain(optim.ClipByNorm(1.0)), "expected a rule as the last part"),
        (lambda: optim.chain(SGD1, SGD1), "expected transforms before the rule"),
        (lambda: optim.ClipByNorm(0.0), "limit"),
        (lambda: optim.Accumulate(1.5), r"every=...\): expected a whole number, found 1.5"),
        (lambda: optim.Finite("ignore"), "policy"),
        (lambda: optim.Bounds(1.0, 0.0), "upper"),
        (lambda: optim.averaged(np.zeros(1), SGD1.init(np.zeros(1))), "ScheduleFree"),
        (lambda: SGD1.init(np.zeros(2)).restore({}), "restore: expected the arrays"),
    ],
)  # fmt: skip
def test_mistakes_are_named(act: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        act()


def test_momentum_may_pass_through_zero() -> None:
    momentum = optim.Linear(0.0, 0.5, steps=1)
    assert steps(optim.SGD(lr=1.0, momentum=momentum), [1, 1])[0] == [-1.0, -2.5]


def test_soap_follows_a_rotation_of_the_problem() -> None:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    plain, rotated = np.zeros((3, 3)), np.zeros((3, 3))
    rule = optim.SOAP(lr=0.1, eps=1e-3)  # without a floor, rounding errors of zero would count
    one, two = rule.init(plain), rule.init(rotated)
    for _ in range(15):
        g = rng.standard_normal((3, 3))
        rule.step(plain, g, one)
        rule.step(rotated, left @ g @ right, two)
    np.testing.assert_allclose(rotated, left @ plain @ right, rtol=1e-9, atol=1e-12)


def test_soap_renews_its_basis_at_the_first_step_and_every_so_often() -> None:
    rng = np.random.default_rng(0)
    x = np.zeros((3, 2))
    rule = optim.SOAP(precondition_frequency=3)
    state = rule.init(x)
    bases = [state.slots["q_left"][0].copy()]
    for _ in range(7):
        rule.step(x, rng.standard_normal(x.shape), state)
        bases.append(state.slots["q_left"][0].copy())
    changed = [bool((a != b).any()) for a, b in pairwise(bases)]
    assert changed == [True, False, False, True, False, False, True]


def test_gradients_may_share_memory_with_parameters() -> None:
    x, y = np.array([4.0, 2.0]), np.array([4.0, 2.0])
    rule = optim.Lion(lr=0.5)
    one, two = rule.init(x), rule.init(y)
    for _ in range(2):
        rule.step(x, x, one)
        rule.step(y, y.copy(), two)
    np.testing.assert_array_equal(one.slots["m"][0], two.slots["m"][0])


def test_a_dict_may_list_its_leaves_in_another_order() -> None:
    x = {"a": np.zeros(1), "b": np.zeros(1)}
    step(x, {"b": np.array([2.0]), "a": np.array([1.0])})
    assert (x["a"].tolist(), x["b"].tolist()) == ([-1.0], [-2.0])


def test_many_leaves_of_mixed_dtype_and_size() -> None:
    rng = np.random.default_rng(0)
    sizes = [1, 70000, 3, 20000, 5, 7, *[15000] * 6]
    x = [rng.standard_normal(n).astype("f4" if n % 2 else "f8") for n in sizes]
    before = [a.copy() for a in x]
    step(x, [np.ones_like(a) for a in x], optim.SGD(lr=0.25))
    for a, b in zip(x, before, strict=True):
        np.testing.assert_array_equal(a, b - a.dtype.type(0.25))


DOCUMENT = (Path(__file__).parents[2] / "docs" / "optim.md").read_text("utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n+```text\n(.*?)^```", DOCUMENT, re.M | re.S)


@pytest.mark.parametrize(("program", "output"), PROGRAMS, ids=range(len(PROGRAMS)))
def test_the_programs_of_the_document_print_what_it_shows(
    program: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(program, "docs/optim.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == output
