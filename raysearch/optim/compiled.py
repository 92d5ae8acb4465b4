"""Programs compiled by numba, if it is installed (extra ``fast``), into one pass each.

The program of a formula is written out as a loop over the elements and compiled. Memory
is then the limit: every array is read and written once. The machine code is kept on disk
by numba, so that the next process need not compile again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .trace import Program

Kernel = Callable[..., None]

_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}
_PREFIX = {"negative": "-", "positive": "", "sqrt": "np.sqrt", "absolute": "abs", "sign": "np.sign"}
#: what numba may assume: sums and products in another order, a / b as a * (1 / b) if b is
#: the same for all elements; not that numbers are finite
_FASTMATH = {"contract", "arcp", "nsz"}

AVAILABLE = find_spec("numba") is not None


def source(program: Program) -> str:
    """The text of ``kernel(x0, x1, ..., n)``: arrays, and an array of all numbers.

    >>> from raysearch.optim.trace import trace
    >>> print(source(trace(lambda p, g, *, lr: (p - lr * g,), ["p", "g"], ["lr"], {})))
    def kernel(x0, x1, n):
        n3 = n[0]
        for i in range(x0.size):
            r0 = x0[i]
            r1 = x1[i]
            r2 = n3 * r1
            r0 = r0 - r2
            x0[i] = r0
    <BLANKLINE>
    """
    arrays, first = program.n_arrays, program.n_arrays + program.scratch
    count = len(program.options) + len(program.literals) + len(program.numbers)

    def value(register: int) -> str:
        return f"r{register}" if register < first else f"n{register}"

    lines = [f"def kernel({', '.join(f'x{i}' for i in range(arrays))}, n):"]
    lines += [f"    n{first + j} = n[{j}]" for j in range(count)]
    lines += ["    for i in range(x0.size):"]
    lines += [f"        r{i} = x{i}[i]" for i in range(arrays)]
    for op, args, target in program.ops:
        names = [value(a) for a in args]
        if op in _INFIX:
            expression = f"{names[0]} {_INFIX[op]} {names[1]}"
        elif op in _PREFIX:
            expression = f"{_PREFIX[op]}({names[0]})"
        else:
            expression = f"np.{op}({', '.join(names)})"
        lines.append(f"        r{target} = {expression}")
    changed = sorted({target for _, _, target in program.ops if target < arrays})
    lines += [f"        x{i}[i] = r{i}" for i in changed]
    return "\n".join(lines) + "\n"


@cache
def kernel(program: Program) -> Kernel:
    """The compiled program, for float32 and float64: ``kernel(p, g, *slots, numbers)``."""
    import numba

    text = source(program)
    path = _kept(text)
    scope: dict[str, Any] = {"np": np, "__name__": __name__}  # a name numba finds again
    exec(compile(text, path or "<kernel>", "exec"), scope)  # the text made just above
    decorate = numba.njit(
        nogil=True, error_model="numpy", fastmath=_FASTMATH, cache=path is not None
    )
    compiled: Kernel = decorate(scope["kernel"])
    return compiled


def _kept(text: str) -> str | None:
    """A file with this text, which numba needs to keep the machine code beside it."""
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    path = Path(root, "raysearch", f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:16]}.py")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
                file.write(text)
            os.replace(file.name, path)
    except OSError:  # read-only or no home: compile again in every process
        return None
    return str(path)
