"""Wakes a Ray task that sleeps when it is cancelled.

Ray cancels a task by a note to the interpreter, as if there had been a Ctrl-C, and that is
read between two steps of Python code: a sleep first goes on to its end. The note is seen
here by the interpreter's wakeup descriptor; a signal that does nothing then interrupts what
waits in the kernel, and the note is read.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNAL = signal.SIGURG  # ignored where nobody handles it, so that it can do no harm
_END = 0  # no signal has this number


@contextmanager
def awake() -> Iterator[None]:
    """Inside, being cancelled interrupts what waits. For the main thread; else it does nothing."""
    main = threading.main_thread().ident
    if main is None or threading.get_ident() != main:
        yield
        return
    notes, told = os.pipe()
    os.set_blocking(told, False)

    def watch() -> None:
        while (number := os.read(notes, 1)[0]) != _END:
            if number == signal.SIGINT:
                signal.pthread_kill(main, _SIGNAL)

    handler = signal.signal(_SIGNAL, lambda number, frame: None)
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(told, bytes([_END]))
        watcher.join()
        os.close(notes)
        os.close(told)
        signal.signal(_SIGNAL, handler)
