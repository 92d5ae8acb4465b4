"""Ctrl-C and SIGTERM, heard while a search runs.

Once: the search ends in order. Twice: what runs is cancelled. A third time, the process
gets the signal as if nobody listened.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from .events import Stop

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Heard:
    """Which signal has been heard, if any, and how often."""

    number: int | None = None
    times: int = 0


@contextmanager
def listening(tell: Callable[[Stop], None], *, interrupt: bool) -> Iterator[Heard]:
    """Turn signals into wishes to stop, in the main thread; elsewhere do nothing.

    tell       gets the wishes
    interrupt  raise KeyboardInterrupt at the second signal, for trials that run in this
               process and would not end otherwise
    """
    heard = Heard()
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        heard.number = number
        heard.times += 1
        how: Literal["drain", "cancel"] = "drain" if heard.times == 1 else "cancel"
        tell(Stop(how))
        if heard.times > 1:
            restore()
            if interrupt:
                raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield heard
    finally:
        restore()
