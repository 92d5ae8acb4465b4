"""Programs compiled into one pass each, by LLVM, if it is installed (extra ``fast``).

The program of a formula is written out as a loop over the elements in LLVM's language,
for which LLVM finds vector instructions. Memory is then the limit: every array is read and
written once. Compiling takes some ten milliseconds, so nothing need be kept on disk.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .trace import Program


def _is_available() -> bool:
    """Whether an llvmlite is installed that knows this language (LLVM 20 or later)."""
    try:
        major, minor, *_ = version("llvmlite").split(".")
    except PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (0, 45)


AVAILABLE = _is_available()

#: what LLVM may assume: that a product and a sum may round once, that a / b may be a * (1 / b)
#: if b is the same for all elements, and that the sign of zero is no matter
_FLAGS = "contract arcp nsz"
_BINARY = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_CALLS = {"sqrt": "sqrt", "absolute": "fabs", "maximum": "maximum", "minimum": "minimum"}


def assembly(program: Program, real: str) -> str:
    r"""The program as an LLVM function ``kernel(x0, x1, ..., numbers, size)``.

    real  "float" or "double"

    The body of every element's turn, for p - lr * g:

    >>> from raysearch.optim.trace import trace
    >>> sgd = trace(lambda p, g, *, lr: (p - lr * g,), ["p", "g"], ["lr"], {})
    >>> print(*_body(sgd, "double"), sep="\n")
    %v2 = fmul contract arcp nsz double %n3, %v1
    %v3 = fsub contract arcp nsz double %v0, %v2
    store double %v3, ptr %p0
    """
    arrays, first = program.n_arrays, program.n_arrays + program.scratch
    count = len(program.options) + len(program.literals) + len(program.numbers)
    lines = []
    for j in range(count):
        lines += [
            f"%q{j} = getelementptr {real}, ptr %numbers, i64 {j}",
            f"%n{first + j} = load {real}, ptr %q{j}",
        ]
    lines += [
        "%some = icmp sgt i64 %size, 0",
        "br i1 %some, label %loop, label %done",
        "loop:",
        "%i = phi i64 [0, %entry], [%next, %loop]",
    ]
    for i in range(arrays):
        lines += [
            f"%p{i} = getelementptr {real}, ptr %x{i}, i64 %i",
            f"%v{i} = load {real}, ptr %p{i}",
        ]
    lines += _body(program, real)
    lines += [
        "%next = add nuw nsw i64 %i, 1",
        "%more = icmp slt i64 %next, %size",
        "br i1 %more, label %loop, label %done",
        "done:",
        "ret void",
    ]
    kind = {"float": "f32", "double": "f64"}[real]
    declared = [f"declare {real} @llvm.{f}.{kind}({real})" for f in ("sqrt", "fabs")]
    declared += [f"declare {real} @llvm.{f}.{kind}({real}, {real})" for f in ("maximum", "minimum")]
    pointers = [f"ptr noalias %x{i}" for i in range(arrays)] + ["ptr noalias %numbers"]
    head = f"define void @kernel({', '.join(pointers)}, i64 %size) {{"
    return "\n".join([*declared, head, "entry:", *lines, "}"])


def _body(program: Program, real: str) -> list[str]:
    """The operations on one element; every result has a name of its own."""
    first = program.n_arrays + program.scratch
    kind = {"float": "f32", "double": "f64"}[real]
    now = {r: f"%v{r}" for r in range(program.n_arrays)}  # register -> name of its value
    lines = []
    for k, (op, args, target) in enumerate(program.ops, program.n_arrays):
        a = [now[r] if r < first else f"%n{r}" for r in args]
        if op in _BINARY:
            lines.append(f"%v{k} = {_BINARY[op]} {_FLAGS} {real} {a[0]}, {a[1]}")
        elif op in _CALLS:
            given = ", ".join(f"{real} {x}" for x in a)
            lines.append(f"%v{k} = call {real} @llvm.{_CALLS[op]}.{kind}({given})")
        elif op == "negative":
            lines.append(f"%v{k} = fneg {real} {a[0]}")
        elif op == "sign":  # NaN and zero are their own signs
            lines += [
                f"%below{k} = fcmp olt {real} {a[0]}, 0.0",
                f"%above{k} = fcmp ogt {real} {a[0]}, 0.0",
                f"%part{k} = select i1 %below{k}, {real} -1.0, {real} {a[0]}",
                f"%v{k} = select i1 %above{k}, {real} 1.0, {real} %part{k}",
            ]
        else:  # "positive": a copy
            lines.append(f"%v{k} = fadd {real} {a[0]}, -0.0")
        now[target] = f"%v{k}"
    changed = sorted({t for _, _, t in program.ops if t < program.n_arrays})
    return lines + [f"store {real} {now[r]}, ptr %p{r}" for r in changed]


class Kernel:
    """A compiled program: ``kernel.on(arrays, numbers)()`` changes flat arrays in place.

    The arrays must not overlap, and live until it has run; Python's lock is released then.
    """

    def __init__(self, program: Program, real: str) -> None:
        llvm = _llvm()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
        )
        module = llvm.parse_assembly(assembly(program, real))
        tuning = llvm.create_pipeline_tuning_options(speed_level=3)
        tuning.loop_vectorization = tuning.loop_interleaving = True
        builder = llvm.create_pass_builder(machine, tuning)
        builder.getModulePassManager().run(module, builder)
        self._engine = llvm.create_mcjit_compiler(module, machine)  # owns the machine code
        self._engine.finalize_object()
        types = [ctypes.c_void_p] * (program.n_arrays + 1) + [ctypes.c_int64]
        address = self._engine.get_function_address("kernel")
        self._call = ctypes.CFUNCTYPE(None, *types)(address)

    def on(self, arrays: list[NDArray[Any]], numbers: NDArray[Any]) -> Callable[[], None]:
        """The call, made ready, so that a thread has nothing to do in Python."""
        pointers = [x.__array_interface__["data"][0] for x in [*arrays, numbers]]
        return partial(self._call, *pointers, arrays[0].size)


_lock = threading.Lock()


def kernel(program: Program, dtype: np.dtype[Any]) -> Kernel:
    """The compiled program for float32 or float64."""
    with _lock:
        return _kernel(program, "float" if dtype.char == "f" else "double")


_kernel = cache(Kernel)


@cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm
