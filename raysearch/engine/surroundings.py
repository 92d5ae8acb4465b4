"""What trials of one process share, put back so that none feels the one before it."""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np

_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD]
_SIGNALS += [signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE]


class Surroundings:
    """Folder, environment, signal handlers and the global random generators.

    Inside, `renew(seed)` prepares for the next trial; the generators start from its seed,
    so that objectives that draw from them are as reproducible as they can be. At the end
    everything, the generators included, is as it was.
    """

    def __enter__(self) -> Self:
        self._folder = _folder()
        self._mapping, self._environ = os.environ, _environ()
        self._main = threading.current_thread() is threading.main_thread()
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._random = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 (kept from the user's code)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()
        random.setstate(self._random)
        np.random.set_state(self._numpy)  # noqa: NPY002 (likewise)

    def renew(self, seed: int) -> None:
        """Put everything back, and start the global generators from the seed."""
        self._restore()
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (that the user's code may draw from)

    def _restore(self) -> None:
        if self._folder is not None and _folder() != self._folder:
            with suppress(OSError):  # the trial may have removed it
                os.chdir(self._folder)
        os.environ = self._mapping  # noqa: B003 (a trial may have put another in its place)
        if _environ() != self._environ:
            for name in os.environb.keys() - self._environ.keys():
                del os.environb[name]
            os.environb.update(self._environ)
        if self._main:  # elsewhere Python lets nobody set handlers
            for number, handler in self._handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _environ() -> dict[bytes, bytes]:
    """The environment. What os.environb wraps is copied in a hundredth of the time of itself."""
    return dict(getattr(os.environb, "_data", os.environb))


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return None
