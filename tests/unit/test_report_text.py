"""Texts for terminals: short, and harmless whatever users name their things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.report.text import clean, duration, line, number, settings, sparkline


@given(st.text())
def test_nothing_that_steers_a_terminal_survives(text: str) -> None:
    kept = clean(text)

    assert all(c in "\t\n" or c.isprintable() or ord(c) > 0x9F for c in kept)
    assert clean(kept) == kept
    kept.encode()  # no lone surrogates


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[2Jsafe",
        "\x1b]0;title\x07safe",
        "\x1b]8;;http://x\x1b\\safe",
        "sa\u202efe",
        "\rsafe\x00",
    ],
)
def test_known_tricks_leave_only_the_text(hostile: str) -> None:
    assert clean(hostile) == "safe"


@given(st.text(), st.integers(2, 50))
def test_a_line_is_one_line_of_the_width(text: str, width: int) -> None:
    assert len(line(text, width)) <= width
    assert "\n" not in line(text, width)


def test_numbers_have_six_digits() -> None:
    assert number(1 / 3) == "0.333333"
    assert number(1e-9) == "1e-09"
    assert number(123456789) == "123456789"  # integers are exact
    assert settings({"lr": 1 / 3, "=cmd": "a\nb"}) == "lr=0.333333 =cmd=a b"


@given(st.floats(0, 1e9))
def test_durations_are_short(seconds: float) -> None:
    assert len(duration(seconds)) <= 9


@given(st.lists(st.floats()), st.integers(1, 20))
def test_a_sparkline_fits_and_ends_with_the_last_value(values: list[float], width: int) -> None:
    finite = [v for v in values if abs(v) < float("inf")]

    shown = sparkline(values, width)

    assert len(shown) == min(width, len(finite))
    if len(set(finite[-2:])) == 2 and width >= len(finite):
        assert (shown[-1] > shown[-2]) == (finite[-1] > finite[-2]) or shown[-1] == shown[-2]
