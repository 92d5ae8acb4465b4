"""The live view of a search: a block in a terminal, a line in a notebook, else a log.

`Live` is told what is going on (`update`, as often as one likes) and decides by itself
what is worth showing, and when. It writes to standard error, because standard output is
for data.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

from ..engine.progress import Progress
from .text import clean, duration, line, number, plural, settings, sparkline

_REDRAW = 0.25  # s between two drawings of the block
_LINE = 30.0  # s between two lines of a log when nothing has improved
_IMPROVED = 2.0  # s between two lines of a log that report improvements
_WIDTH = 96


def headline(p: Progress) -> str:
    """How far the search is: "37/64 done · 2 running · 1 failed · 812 reports"."""
    total = f"{p.done:,}/{p.trials:,} done" if p.trials is not None else f"{p.done:,} done"
    failed = f" · {p.failed:,} failed" if p.failed else ""
    reports = f" · {plural(p.reports, 'report')}" if p.reports else ""
    return f"{total} · {p.running:,} running{failed}{reports}"


def pace(p: Progress) -> str:
    """How long it has taken, and how long it will: "1m12s, ~52s left"."""
    soon = p.left is None or p.left < 1 or not p.running
    left = "" if soon else f", ~{duration(p.left or 0)} left"
    return f"{duration(p.elapsed)}{left}"


def block(p: Progress, width: int = _WIDTH) -> list[str]:
    """The lines of the view in a terminal, six at most."""
    lines = [f"{line(p.name)}  {line(p.strategy)}  {headline(p)}  {pace(p)}"]
    if p.best is None:
        meets = " that meets " if p.require else ""
        lines.append(f"no result yet{meets}{' and '.join(map(line, p.require))}")
    else:
        since = "just now" if not p.best.since else f"{plural(p.best.since, 'trial')} ago"
        lines.append(
            f"best {line(p.best.metric)} {number(p.best.value)}  #{p.best.number}, {since}"
            f"  {sparkline(p.history)}"
        )
        lines.append(f"     {settings(p.best.config)}")
    overhead = "" if p.overhead is None else f" · overhead {100 * p.overhead:.1f} %"
    lines.append(f"{p.busy}/{p.slots} slots busy{overhead}")
    if p.error:
        lines.append(f"last failure: {line(p.error)}")
    return [text if len(text) <= width else text[: width - 1] + "…" for text in lines]


def sentence(p: Progress) -> str:
    """All of it in a line, for logs and notebooks."""
    best = ""
    if p.best is not None:
        best = f" · best {line(p.best.metric)} {number(p.best.value)} (#{p.best.number})"
    return f"{line(p.name)}: {headline(p)}{best} · {pace(p)}"


class _View(ABC):
    """One way to show progress; `Live` chooses it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self.stream = stream
        self.clock = clock

    @abstractmethod
    def update(self, progress: Progress, *, last: bool = False) -> None:
        """Show it, if it is time to; the last one is always shown."""

    def note(self, text: str) -> None:
        """Show a text of its own, which stays."""
        print(clean(text), file=self.stream, flush=True)

    def close(self) -> None:  # noqa: B027 - most views leave nothing behind
        """Leave the terminal as it was."""


class _Log(_View):
    """A plain line now and then, for files and pipes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        super().__init__(stream, clock)
        self._due = clock()
        self._may = clock()
        self._best: float | None = None
        self._shown: Progress | None = None

    def update(self, progress: Progress, *, last: bool = False) -> None:
        now = self.clock()
        best = progress.best.value if progress.best else None
        improved = best != self._best and now >= self._may
        due = improved or now >= self._due or last
        if progress is self._shown or not due:
            return
        self._due, self._may = now + _LINE, now + _IMPROVED
        self._best, self._shown = best, progress
        print(sentence(progress), file=self.stream, flush=True)


class _Notebook(_View):
    """One line that is written again and again."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        super().__init__(stream, clock)
        self._due = clock()
        self._width = 0

    def _write(self, text: str, end: str) -> None:
        print("\r" + text.ljust(self._width), end=end, file=self.stream, flush=True)
        self._width = len(text) if not end else 0

    def update(self, progress: Progress, *, last: bool = False) -> None:
        if last or self.clock() >= self._due:
            self._due = self.clock() + 2 * _REDRAW
            self._write(sentence(progress), end="\n" if last else "")

    def note(self, text: str) -> None:
        self._write(clean(text), end="\n")


class _Terminal(_View):
    """A block of lines, drawn in place."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        from rich.console import Console
        from rich.live import Live as Region

        super().__init__(stream, clock)
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._region = Region(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._region.start()
        self._region.update("starting", refresh=True)
        self._started = False
        self._due = clock()

    def update(self, progress: Progress, *, last: bool = False) -> None:
        if last or self.clock() >= self._due:
            self._due = self.clock() + _REDRAW
            self._started = True
            self._region.update(self._draw(progress), refresh=True)

    def _draw(self, progress: Progress) -> Any:
        from rich.text import Text

        lines = block(progress, self._console.width)
        text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
        name = len(line(progress.name))
        text.stylize("bold", 0, name)
        if progress.best is not None:
            start = len(lines[0]) + 1
            text.stylize("green", start, start + len(lines[1]))
        if progress.error:
            text.stylize("red", len(text.plain) - len(lines[-1]))
        return text

    def note(self, text: str) -> None:
        self._console.print(clean(text), soft_wrap=True)

    def close(self) -> None:
        if not self._started:
            self._region.update("", refresh=True)
        self._region.stop()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _view(stream: TextIO) -> type[_View]:
    if _in_notebook():
        return _Notebook
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return _Terminal
    return _Log


class Live:
    """Shows how a search goes on; a context manager.

    stream  where to; standard error if left out

    >>> with Live(sys.stdout) as live:
    ...     live.update(Progress("digits", "random", 3, 1, 2, 2, 2, elapsed=4.0, trials=8))
    digits: 3/8 done · 2 running · 1 failed · 4.0s, ~6.7s left
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._last: Progress | None = None

    def __enter__(self) -> Self:
        self._view = _view(self._stream)(self._stream, self._clock)
        return self

    def update(self, progress: Progress) -> None:
        """Take note of how it stands; cheap enough for every turn of a loop."""
        for text in progress.notes if self._last is None else ():
            self.note(text)
        self._last = progress
        self._view.update(progress)

    def note(self, text: str) -> None:
        """Show a text that stays."""
        self._view.note(text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._last is not None:
                self._view.update(self._last, last=True)
        finally:
            self._view.close()
