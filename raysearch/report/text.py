"""Numbers, durations and texts as people read them in a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BLOCKS = "▁▂▃▄▅▆▇█"

# Escape sequences as a whole, then every C0 and C1 control but tab and newline, then the
# marks that change the direction of text.
_UNSAFE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window title, links
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def clean(text: str) -> str:
    r"""The text without anything that could steer a terminal.

    >>> clean("\x1b[31mred\x1b[0m\x07")
    'red'
    """
    return _UNSAFE.sub("", text)


def line(text: str, width: int = 200) -> str:
    r"""The text as one clean line of at most `width` characters.

    >>> line("two\nlines", 7)
    'two li…'
    """
    text = " ".join(clean(text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def number(value: object) -> str:
    """A value with six significant digits, if it is a real number; else as clean text.

    >>> number(0.123456789), number(64), number(float("inf")), number("sgd")
    ('0.123457', '64', 'inf', 'sgd')
    """
    return f"{value:.6g}" if isinstance(value, float) else line(str(value))


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> [duration(s) for s in (0.00002, 0.25, 4.2, 252, 7500, 266400)]
    ['20us', '250ms', '4.2s', '4m12s', '2h05m', '3d02h']
    """
    if not math.isfinite(seconds):
        return "?"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def settings(config: Mapping[str, Any]) -> str:
    """A configuration in a line.

    >>> settings({"lr": 0.00312345678, "optimizer": "sgd"})
    'lr=0.00312346 optimizer=sgd'
    """
    return " ".join(f"{line(name)}={number(value)}" for name, value in config.items())


def sparkline(values: Sequence[float], width: int = 10) -> str:
    """The course of some values, as a row of blocks; what is not finite is left out.

    >>> sparkline([1, 2, 3, 4, 5, 6, 7, 8])
    '▁▂▃▄▅▆▇█'
    """
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    n = min(width, len(finite))
    # the last value of each of n equal stretches, so that the end is always shown
    shown = [finite[(i + 1) * len(finite) // n - 1] for i in range(n)]
    low, high = min(shown), max(shown)
    if high == low:
        return _BLOCKS[3] * n
    top = len(_BLOCKS) - 1
    half = high / 2 - low / 2  # halves, because high - low may overflow
    return "".join(_BLOCKS[round((v / 2 - low / 2) / half * top)] for v in shown)


def plural(n: int, word: str) -> str:
    """The count with its word.

    >>> plural(1, "trial"), plural(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of cells as lines with aligned columns, two blanks apart.

    right  indices of the columns whose cells stand at the right, as numbers do

    >>> columns([("a", "1"), ("bcd", "22")], right=[1])
    ['a     1', 'bcd  22']
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
