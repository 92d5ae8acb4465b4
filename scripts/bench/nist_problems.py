"""The nonlinear regressions of the NIST Statistical Reference Datasets (public domain).

27 data sets with certified parameters to 11 digits, each with a start far from the solution and
one near it. The models accept complex parameters, so that the complex step gives exact Jacobians.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import arctan, cos, exp, pi, sin
from numpy.typing import NDArray

Array = NDArray[Any]
DATA = Path(__file__).parents[2] / "tests" / "golden" / "nist_strd.json"


def gauss(b: Array, x: Array) -> Array:
    """Two Gaussian peaks on a decaying exponential."""
    peaks = b[2] * exp(-(((x - b[3]) / b[4]) ** 2)) + b[5] * exp(-(((x - b[6]) / b[7]) ** 2))
    return b[0] * exp(-b[1] * x) + peaks


def cubic_ratio(b: Array, x: Array) -> Array:
    """A ratio of cubics."""
    top = b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3
    return top / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def enso(b: Array, x: Array) -> Array:
    """A year's cycle and two others."""
    cycles = b[0] + b[1] * cos(2 * pi * x / 12) + b[2] * sin(2 * pi * x / 12)
    cycles = cycles + b[4] * cos(2 * pi * x / b[3]) + b[5] * sin(2 * pi * x / b[3])
    return cycles + b[7] * cos(2 * pi * x / b[6]) + b[8] * sin(2 * pi * x / b[6])


def lanczos(b: Array, x: Array) -> Array:
    """Three exponentials."""
    return b[0] * exp(-b[1] * x) + b[2] * exp(-b[3] * x) + b[4] * exp(-b[5] * x)


def chwirut(b: Array, x: Array) -> Array:
    """Ultrasonic reference block."""
    return exp(-b[0] * x) / (b[1] + b[2] * x)


MODELS: dict[str, Callable[[Array, Array], Array]] = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": lambda b, x: b[0] * (1 - exp(-b[1] * x)),
    "Chwirut1": chwirut,
    "Chwirut2": chwirut,
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "ENSO": enso,
    "Eckerle4": lambda b, x: b[0] / b[1] * exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": gauss,
    "Gauss2": gauss,
    "Gauss3": gauss,
    "Hahn1": cubic_ratio,
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Lanczos3": lanczos,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * exp(-x * b[3]) + b[2] * exp(-x * b[4]),
    "Misra1a": lambda b, x: b[0] * (1 - exp(-b[1] * x)),
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2.0),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda b, x: b[0] - b[1] * x[:, 0] * exp(-b[2] * x[:, 1]),
    "Rat42": lambda b, x: b[0] / (1 + exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - arctan(b[2] / (x - b[3])) / pi,
    "Thurber": cubic_ratio,
}


@dataclass(frozen=True)
class Problem:
    """One regression from one of its starts."""

    name: str
    start: int
    x0: Array
    certified: Array
    errors: Array
    x: Array
    y: Array

    def residuals(self, b: Array) -> Array:
        """Model minus data; not finite where the model is not defined."""
        with np.errstate(all="ignore"):
            return MODELS[self.name](b, self.x) - self.y

    def digits(self, b: Array) -> float:
        """Correct digits of the worst parameter, at most 11."""
        with np.errstate(divide="ignore", invalid="ignore"):
            lre = -np.log10(np.max(abs(b - self.certified) / abs(self.certified)))
        return float(np.clip(np.nan_to_num(lre, nan=0.0, posinf=11.0), 0.0, 11.0))


def problems() -> list[Problem]:
    """All 54: 27 data sets, two starts each."""
    sets = json.loads(DATA.read_text())["problems"]
    return [
        Problem(
            name, start, np.array(data[f"start{start}"]), np.array(data["certified"]),
            np.array(data["standard_error"]), np.array(data["x"]), np.array(data["y"]),
        )
        for name, data in sorted(sets.items())
        for start in (1, 2)
    ]  # fmt: skip
