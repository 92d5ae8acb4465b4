"""What every update rule keeps to, whatever its formula."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch import optim
from raysearch.optim import compiled, fused
from raysearch.optim.rules_base import Elementwise

RULES = [pytest.param(rule(), id=name) for name, rule in optim.RULES.items()]
#: rules with a learning rate that is read at every step
RATED = [p for p in RULES if not isinstance(p.values[0], (optim.Rprop, optim.ScheduleFree))]
ELEMENTWISE = [p for p in RULES if isinstance(p.values[0], Elementwise)]
DTYPES = [np.float32, np.float64]


def problem(rule: optim.Rule, dtype: Any = np.float64, seed: int = 0) -> tuple[Any, Any]:
    """A tree of parameters that the rule can move, and a gradient for every step."""
    rng = np.random.default_rng(seed)
    params: dict[str, Any] = {"w": rng.standard_normal((4, 3)).astype(dtype)}
    if not isinstance(rule, optim.Muon):
        params["more"] = [rng.standard_normal(5).astype(dtype), np.array(0.5, dtype)]

    start = copy.deepcopy(params)

    def gradients(k: int) -> Any:
        noise = np.random.default_rng([seed, k])
        return mapped(lambda x: noise.standard_normal(x.shape).astype(dtype) + x, start)

    return params, gradients


def mapped(function: Any, tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: mapped(function, x) for key, x in tree.items()}
    return [mapped(function, x) for x in tree] if isinstance(tree, list) else function(tree)


def flat(tree: Any) -> np.ndarray:
    parts: list[np.ndarray] = []
    mapped(lambda x: parts.append(np.asarray(x, np.float64).ravel()), tree)
    return np.concatenate(parts)


def run(rule: optim.Rule, params: Any, gradients: Any, steps: range, state: Any = None) -> Any:
    state = rule.init(params) if state is None else state
    for k in steps:
        rule.step(params, gradients(k), state)
    return state


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_are_in_place_in_the_dtype_given(rule: optim.Rule, dtype: Any) -> None:
    params, gradients = problem(rule, dtype)
    leaf, before = params["w"], flat(params)
    state = run(rule, params, gradients, range(3))
    assert params["w"] is leaf
    assert state.steps == 3
    assert np.isfinite(flat(params)).all()
    assert (flat(params) != before).any()
    kept = [x for slot in state.slots.values() for x in slot]
    assert all(x.dtype == dtype for x in kept)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_are_left_alone(rule: optim.Rule) -> None:
    params, gradients = problem(rule)
    g = gradients(0)
    before = copy.deepcopy(g)
    state = rule.init(params)
    for _ in range(3):
        rule.step(params, g, state)
    np.testing.assert_array_equal(flat(g), flat(before))


@pytest.mark.parametrize("rule", RULES)
def test_a_saved_state_goes_on_exactly(rule: optim.Rule) -> None:
    params, gradients = problem(rule)
    state = run(rule, params, gradients, range(5))
    resumed = copy.deepcopy(params)
    saved = {name: x.copy() for name, x in state.arrays().items()}
    run(rule, params, gradients, range(5, 12), state)

    again = rule.init(resumed).restore(saved)
    run(rule, resumed, gradients, range(5, 12), again)
    np.testing.assert_array_equal(flat(resumed), flat(params))


@pytest.mark.parametrize("rule", RULES)
def test_it_descends(rule: optim.Rule) -> None:
    """Half the distance to the minimum of a bowl, with a learning rate that suits."""
    params, _ = problem(rule)
    tuned = {"Adadelta": 1.0, "LARS": 50.0, "Prodigy": 1.0, "LAMB": 0.05, "Lion": 0.02}
    lr = tuned.get(type(rule).__name__, 0.05)
    options = {} if isinstance(rule, optim.Rprop) else {"lr": lr}
    start = np.linalg.norm(flat(params))
    state = rule.init(params)
    for _ in range(300):
        rule.step(params, mapped(lambda x: 2 * x, params), state, **options)
    limit = 0.98 if isinstance(rule, optim.Adadelta) else 0.5
    assert np.linalg.norm(flat(params)) < limit * start


@pytest.mark.parametrize("rule", RATED)
def test_options_of_a_step_replace_those_of_the_rule(rule: optim.Rule) -> None:
    other = type(rule)(lr=0.123)  # type: ignore[call-arg]
    params, gradients = problem(rule)
    same = copy.deepcopy(params)
    one, two = rule.init(params), other.init(same)
    for k in range(4):
        rule.step(params, gradients(k), one, lr=0.123)
        other.step(same, gradients(k), two)
    np.testing.assert_array_equal(flat(params), flat(same))


@pytest.mark.parametrize("rule", RATED)
def test_a_schedule_is_its_numbers(rule: optim.Rule) -> None:
    schedule = optim.Warmup(optim.Cosine(0.1, steps=5), steps=2, initial=0.01)
    params, gradients = problem(rule)
    same = copy.deepcopy(params)
    annealed = type(rule)(lr=schedule)  # type: ignore[call-arg]
    one, two = annealed.init(params), rule.init(same)
    for k in range(8):
        g = gradients(k)
        annealed.step(params, g, one)
        rule.step(same, g, two, lr=schedule(k))
    np.testing.assert_array_equal(flat(params), flat(same))


@pytest.mark.parametrize("rule", ELEMENTWISE)
@given(cuts=st.lists(st.integers(0, 40), max_size=5), seed=st.integers(0, 99))
def test_how_elements_are_grouped_into_leaves_is_irrelevant(
    rule: optim.Rule, cuts: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole, g = rng.standard_normal(40), rng.standard_normal((3, 40))
    edges = sorted(cuts)
    split = [x.copy() for x in np.split(whole, edges)]
    one, two = rule.init(whole), rule.init(split)
    for row in g:
        rule.step(whole, row, one)
        rule.step(split, np.split(row, edges), two)
    np.testing.assert_array_equal(np.concatenate(split), whole)


@pytest.mark.parametrize("rule", RULES)
def test_memory_layout_is_irrelevant(rule: optim.Rule) -> None:
    rng = np.random.default_rng(3)
    plain = rng.standard_normal((6, 4))
    strided = np.zeros((12, 8))[::2, ::2]
    strided[...] = plain
    fortran = np.asfortranarray(plain)
    states = [rule.init(x) for x in (plain, strided, fortran)]
    for k in range(4):
        g = np.random.default_rng(k).standard_normal((6, 4))
        for x, state in zip((plain, strided, fortran), states, strict=True):
            rule.step(x, np.asfortranarray(g) if k % 2 else g, state)
    np.testing.assert_allclose(strided, plain, rtol=1e-12)
    np.testing.assert_allclose(fortran, plain, rtol=1e-12)


@pytest.mark.skipif(not compiled.AVAILABLE, reason="llvmlite (extra fast) is not installed")
@pytest.mark.parametrize("rule", ELEMENTWISE)
def test_compiled_steps_are_those_of_numpy(
    rule: optim.Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, gradients = problem(rule)
    same = copy.deepcopy(params)
    run(rule, params, gradients, range(20))
    monkeypatch.setattr(fused, "COMPILE_FROM", 0)
    run(rule, same, gradients, range(20))
    np.testing.assert_allclose(flat(same), flat(params), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_torch_tensors_move_as_numpy_arrays_do(rule: optim.Rule) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; CI=1 scripts/test does it")
    params, gradients = problem(rule)
    tensors = mapped(lambda x: torch.tensor(x, requires_grad=True), params)
    one, two = rule.init(params), rule.init(tensors)
    for k in range(10):
        g = gradients(k)
        rule.step(params, g, one)
        rule.step(tensors, mapped(torch.tensor, g), two)
    found = flat(mapped(lambda x: x.detach().numpy(), tensors))
    # SOAP divides rounding errors by eps along the singular vectors that g does not have.
    rtol = 1e-7 if isinstance(rule, optim.SOAP) else 1e-10
    np.testing.assert_allclose(found, flat(params), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_prints_as_the_code_that_makes_it(rule: optim.Rule) -> None:
    assert eval(repr(rule), dict(vars(optim))) == rule


@pytest.mark.parametrize("rule", RATED)
def test_negative_rates_are_refused(rule: optim.Rule) -> None:
    with pytest.raises(ValueError, match=r"lr=\.\.\.\): expected >= 0, found -0\.1"):
        type(rule)(lr=-0.1)  # type: ignore[call-arg]
