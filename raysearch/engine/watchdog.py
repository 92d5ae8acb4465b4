"""Ends trials that run too long, from inside their own process.

In two steps. First a timer signal raises `TimeUp` in the trial, which ends Python code
and what waits in the kernel (sleep, read, a subprocess), and leaves the process as it is.
Code that does not come back to Python, or swallows the exception, is ended by the second
step, where allowed: after a grace period a thread of C code, which needs no interpreter
lock, writes out where the trial hangs and ends the process.
"""

from __future__ import annotations

import faulthandler
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

GRACE = 2.0  # seconds between the two steps
_AGAIN = 0.1  # seconds until the timer rings again, which may ring just before a sleep begins
_STALE = 0.5  # arming the second step costs 50 us; this much later it is done again
_STDERR = 2


class TimeUp(BaseException):
    """The trial has run for as long as it may. Not an Exception, to pass `except` clauses."""


class Watchdog:
    """Watches one trial after the other: `begin(seconds)`, `end()`.

    The first step needs the main thread, where Python handles signals; in other threads
    only the second works.

    kill  whether the second step is allowed, which ends the whole process
    """

    def __init__(self, kill: bool) -> None:
        self._kill = kill
        self._deadline: float | None = None  # of the trial that runs
        self._ticking = False  # whether the timer of the first step runs
        self._armed_at: float | None = None  # when the second step was armed last
        self._handler: Any = None
        self._signals = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._signals:
            self._handler = signal.signal(signal.SIGALRM, self._ring)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._signals:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handler)
        if self._armed_at is not None:
            faulthandler.cancel_dump_traceback_later()

    def begin(self, seconds: float) -> None:
        """A trial begins that may run for so long."""
        now = time.monotonic()
        if self._kill and (self._armed_at is None or now - self._armed_at > _STALE):
            faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=_STDERR)
            self._armed_at = now
        self._deadline = now + seconds
        if self._signals and not self._ticking:  # else `_ring` sets it anew
            self._ticking = True
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)

    def end(self) -> None:
        """The trial is over."""
        self._deadline = None

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        """The timer has run out, be it for this trial or an earlier, shorter one."""
        left = 0.0 if self._deadline is None else self._deadline - time.monotonic()
        if left > 0:
            signal.setitimer(signal.ITIMER_REAL, left, _AGAIN)
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._ticking = False
        if self._deadline is not None:
            self._deadline = None
            raise TimeUp
