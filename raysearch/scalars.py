"""What counts as a number: Python's own, and those of numpy, torch, jax and others."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """The Python value in a scalar or 0-d array of any library; all else as it is."""
    if type(value) is not float and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value


def real(value: Any) -> float | None:
    """The value as a float if it is a real number, which a bool is not; else None.

    Raises OverflowError for an integer beyond the range of float.

    >>> import numpy as np
    >>> real(np.float32(0.5)), real(3), real(True), real("3")
    (0.5, 3.0, None, None)
    """
    value = plain(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def whole(value: Any) -> int | None:
    """The value as an int if it is of an integer type, which bool and float are not; else None.

    >>> import numpy as np
    >>> whole(np.int64(3)), whole(3.0), whole(True)
    (3, None, None)
    """
    value = plain(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
