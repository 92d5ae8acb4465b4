"""Virtual time: it stands still until it is told to pass."""

from __future__ import annotations

#: ns since the epoch at which virtual time begins: the first moment of the year 2000, so
#: that a time of day in a simulated study reads as the time since it began
START = 946_684_800 * 10**9


class VirtualClock:
    """A clock that is called as `time.time_ns` is.

    >>> clock = VirtualClock()
    >>> clock.sleep(1.5)
    >>> clock() - START
    1500000000
    """

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.advance(self.now + round(seconds * 1e9))

    def advance(self, to: int) -> None:
        """Let time pass until then; nothing if that is over."""
        self.now = max(self.now, to)
