"""The live view, seen through the stream that it writes to."""

from __future__ import annotations

import io

import pytest

from raysearch.engine.progress import Best, Progress
from raysearch.report.live import Live, block, sentence


def progress(done: int = 37, value: float = 0.9731, **changes: object) -> Progress:
    best = Best(29, "accuracy", value, {"lr": 0.003123456789, "depth": 6}, since=8)
    given: dict[str, object] = {
        "name": "digits",
        "strategy": "random",
        "done": done,
        "failed": 1,
        "running": 2,
        "busy": 2,
        "slots": 2,
        "elapsed": 74.0,
        "trials": 64,
        "best": best,
        "history": (0.1, 0.5, 0.97),
    } | changes
    return Progress(**given)  # type: ignore[arg-type]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_block_says_what_matters_within_the_width() -> None:
    lines = block(progress(error="#12 ValueError: boom"), width=80)

    text = "\n".join(lines)
    for part in ("37/64 done", "1 failed", "0.9731", "#29", "8 trials ago", "lr=0.00312346"):
        assert part in text
    assert "2/2 slots busy" in text
    assert "▁" in text
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 80


def test_what_is_left_follows_from_this_sessions_pace_and_the_nearer_limit() -> None:
    assert progress(done=32, elapsed=32.0).left == 32
    assert progress(done=32, resumed=30, elapsed=32.0).left == 16 * 32
    assert progress(done=32, elapsed=32.0, time_limit=40.0).left == 8
    assert progress(done=0, trials=64).left is None
    assert progress(trials=None).left is None


def test_files_get_a_line_per_improvement_or_half_minute() -> None:
    stream, clock = io.StringIO(), Clock()

    with Live(stream, clock) as live:
        for second in range(100):
            clock.now = second
            live.update(progress(value=0.5 if second < 40 else 0.6, elapsed=float(second)))

    lines = stream.getvalue().splitlines()
    assert [line.rsplit("· ", 1)[1].split(",")[0] for line in lines] == [
        "0us", "30s", "40s", "1m10s", "1m39s",
    ]  # fmt: skip
    assert all("\x1b" not in line for line in lines)


def test_quick_improvements_do_not_flood_a_file() -> None:
    stream, clock = io.StringIO(), Clock()

    with Live(stream, clock) as live:
        for k in range(1000):
            clock.now = k / 1000
            live.update(progress(value=float(k)))

    assert len(stream.getvalue().splitlines()) == 2


def test_a_terminal_is_drawn_in_place_and_left_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream, clock = Terminal(), Clock()

    with Live(stream, clock) as live:
        for k in range(100):
            clock.now = k / 100
            live.update(progress(done=k))
        live.note("a worker died")

    written = stream.getvalue()
    assert "99/64 done" in written  # the last state is always shown
    assert written.count(" done · ") <= 8  # four a second, the last, and after the note
    assert "a worker died" in written
    assert written.rstrip().endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize("color", [True, False])
def test_no_color_is_honoured(color: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()

    with Live(stream) as live:
        live.update(progress())

    assert ("\x1b[32m" in stream.getvalue()) == color


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()

    with Live(stream) as live:
        live.update(progress())

    assert stream.getvalue() == sentence(progress()) + "\n"


def test_hostile_names_do_not_reach_the_terminal() -> None:
    shown = progress(name="\x1b[2J", error="\x1b]0;owned\x07", study="\x1b[31m")
    stream = io.StringIO()

    with Live(stream) as live:
        live.update(shown)

    assert "\x1b" not in stream.getvalue() + "".join(block(shown))


def test_reports_are_counted_where_there_are_any() -> None:
    assert "report" not in sentence(progress())
    assert "1 failed · 1,234 reports" in sentence(progress(reports=1234))
