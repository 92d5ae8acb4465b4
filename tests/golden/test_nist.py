"""Fits whose right answers are certified by the US National Institute of Standards."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from raysearch import optim

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "bench"))
from nist_problems import problems

FITS = {f"{p.name}-{p.start}": p for p in problems()}


def test_exact_jacobians_give_eight_certified_digits_in_every_fit() -> None:
    digits, counts = {}, []
    for name, problem in FITS.items():
        result = optim.least_squares(problem.residuals, problem.x0, "complex")
        assert result.success, (name, result.message)
        digits[name] = problem.digits(result.x)
        counts.append(result.nfev - problem.x0.size * result.njev)  # without those for Jacobians
        if problem.name != "Lanczos1":  # residuals of 1e-14: rounding
            assert_allclose(result.standard_errors, problem.errors, rtol=1e-4, err_msg=name)
    assert {name: d for name, d in digits.items() if d < 8} == {}
    assert np.median(counts) <= 20


@pytest.mark.parametrize(
    "name", ["BoxBOD-1", "MGH10-2", "MGH17-2", "MGH09-2", "Rat43-1", "Hahn1-1", "Kirby2-1"]
)
def test_differences_give_six_certified_digits(name: str) -> None:
    """The hardest fits; scripts/bench/nist.py does all 54."""
    problem = FITS[name]
    result = optim.least_squares(problem.residuals, problem.x0)
    assert result.success
    assert problem.digits(result.x) >= 6
