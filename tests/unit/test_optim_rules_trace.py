"""One formula, several ways to run it: they must agree."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raysearch import optim
from raysearch.optim import compiled, fused
from raysearch.optim.trace import absolute, maximum, minimum, sign, sqrt, trace

SLOTS = ["p", "g", "m", "v"]
KNOBS = {"a": 0.75, "b": 1.5}
ATOMS: list[Any] = [*SLOTS, *KNOBS, 0.0, 1.0, 2.0]
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / (absolute(y) + 0.5),
    "max": maximum,
    "min": minimum,
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: -x,
    "sqrt": lambda x: sqrt(absolute(x)),
    "sign": sign,
}
expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: (
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner)
        | st.tuples(st.sampled_from(sorted(UNARY)), inner)
    ),
    max_leaves=8,
)


def value(expression: Any, names: dict[str, Any]) -> Any:
    if isinstance(expression, tuple):
        op, *args = expression
        return {**BINARY, **UNARY}[op](*(value(a, names) for a in args))
    return names[expression] if isinstance(expression, str) else expression


def formula_of(outputs: list[Any]) -> Callable[..., tuple[Any, ...]]:
    """A formula whose results for p, m and v are these expressions."""

    def formula(p: Any, g: Any, m: Any, v: Any, *, a: Any, b: Any) -> tuple[Any, ...]:
        names = {"p": p, "g": g, "m": m, "v": v, "a": a, "b": b}
        return tuple(value(expression, names) for expression in outputs)

    return formula


@given(outputs=st.lists(expressions, min_size=3, max_size=3))
@example(outputs=["p", "p", "m"])
@example(outputs=["p", ("+", ("*", "m", "g"), "v"), ("*", "m", "g")])
def test_the_program_computes_what_the_formula_says(outputs: list[Any]) -> None:
    """In place, whatever is read after it was to be overwritten; the gradient is left alone."""
    formula = formula_of(outputs)
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(7) for name in SLOTS}
    expected = [np.broadcast_to(x, 7) for x in formula(**arrays, **KNOBS)]
    gradient = arrays["g"].copy()

    columns = {name: [x.copy()] for name, x in arrays.items()}
    fused.run(formula, columns, KNOBS)

    for name, x in zip(["p", "m", "v"], expected, strict=True):
        np.testing.assert_allclose(columns[name][0], x, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(columns["g"][0], gradient)


@pytest.mark.skipif(not compiled.AVAILABLE, reason="llvmlite (extra fast) is not installed")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_compiled_program_computes_the_same(dtype: type) -> None:
    def formula(p: Any, g: Any, m: Any, v: Any, *, a: Any, b: Any) -> tuple[Any, ...]:
        m = a * m + (1 - a) * g
        v = maximum(minimum(v, absolute(g) / b), sqrt(absolute(p)))
        return p - m / (v + 1) * sign(g) - -g, m, v

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(1001).astype(dtype) for _ in SLOTS]
    arrays[1][:3] = np.nan, np.inf, 0.0
    program = trace(formula, SLOTS, list(KNOBS), {})
    numbers = np.array(program.evaluate_numbers(KNOBS), dtype)
    plain, fast = ([x.copy() for x in arrays] for _ in range(2))

    fused.run(formula, {name: [x] for name, x in zip(SLOTS, plain, strict=True)}, KNOBS)
    compiled.kernel(program, np.dtype(dtype)).on(fast, numbers)()

    for x, y in zip(plain, fast, strict=True):
        np.testing.assert_allclose(x, y, rtol=8 * np.finfo(dtype).eps)


def test_zero_options_leave_the_program() -> None:
    def formula(p: Any, g: Any, *, lr: Any, decay: Any) -> tuple[Any, ...]:
        return (p - lr * (g + decay * p),)

    full = trace(formula, ["p", "g"], ["lr", "decay"], {})
    short = trace(formula, ["p", "g"], ["lr"], {"decay": 0.0})
    assert [op for op, _, _ in full.ops] == ["multiply", "add", "multiply", "subtract"]
    assert [op for op, _, _ in short.ops] == ["multiply", "subtract"]
    assert full.scratch == short.scratch == 1


def test_equal_terms_are_computed_once() -> None:
    program = trace(lambda p, g: (p - g * g / sqrt(g * g + 1),), ["p", "g"], [], {})
    assert [op for op, _, _ in program.ops].count("multiply") == 1


def test_a_formula_cannot_branch_on_values() -> None:
    with pytest.raises(TypeError, match="cannot branch"):
        trace(lambda p, g: (p if p else g,), ["p", "g"], [], {})
    with pytest.raises(TypeError, match="powers"):
        trace(lambda p, g: (p**2,), ["p", "g"], [], {})


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("fast", [False, True])
def test_large_arrays_are_shared_among_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, fast: bool
) -> None:
    monkeypatch.setattr(fused, "SPLIT_FROM", 100)
    monkeypatch.setattr(fused, "TILE", 64)
    monkeypatch.setattr(fused, "COMPILE_FROM", 0 if fast else 10**9)
    monkeypatch.setattr(fused, "_workspace", fused._Workspace())
    monkeypatch.setattr(fused, "_num_threads", threads)
    p, g = np.arange(1001.0), np.ones(1001)
    fused.run(lambda p, g, *, lr: (p - lr * g,), {"p": [p], "g": [g]}, {"lr": 0.5})
    np.testing.assert_array_equal(p, np.arange(1001.0) - 0.5)


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_num_threads", None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert fused.get_num_threads() == 3
    fused.set_num_threads(2)
    assert fused.get_num_threads() == 2
    with pytest.raises(ValueError, match=">= 1"):
        fused.set_num_threads(0)


@pytest.mark.parametrize("compile_from", [0, 10**9])
@pytest.mark.parametrize("shapes", [[(400, 500)], [(20, 25)] * 40], ids=["large", "small"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_step_allocates_no_arrays_after_the_first(
    monkeypatch: pytest.MonkeyPatch, compile_from: int, shapes: list[Any], order: Any
) -> None:
    monkeypatch.setattr(fused, "COMPILE_FROM", compile_from)
    p, g = ([np.ones(shape, order=order) for shape in shapes] for _ in range(2))
    rule = optim.Adam()
    state = rule.init(p)
    rule.step(p, g, state)
    tracemalloc.start()
    rule.step(p, g, state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000  # bytes; the arrays together have 160,000 at least
