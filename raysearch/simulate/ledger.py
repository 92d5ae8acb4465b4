"""The log of a simulated search: a study in memory, written in large pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from ..engine.records import Checkpoint, Finished, Reports, Trials
from ..log import MemoryLog
from ..space import Space

_ENOUGH = 8192  # trials that are put together


class Ledger:
    """Gathers trials that were told one by one, because their rows cost less together.

    space  whose trials will be told
    spec   what is searched
    """

    def __init__(self, space: Space, spec: Mapping[str, Any]) -> None:
        self._log = MemoryLog(space, spec)
        self._parts: list[Finished] = []
        self._held = 0
        self._numbers: dict[str, Any] = {}  # metrics known as numbers: they may always be added

    def admit(self, finished: Finished) -> Finished:
        """As of any log."""
        if all(self._numbers.get(n) == v.dtype for n, v in finished.metrics.items()):
            return finished
        finished = self._log.admit(finished)
        self._numbers |= {n: v.dtype for n, v in finished.metrics.items() if v.dtype == np.float64}
        return finished

    def record(self, reports: Sequence[Reports]) -> None:
        """As of any log."""
        self._log.record(reports)

    def save(self, saved: Sequence[Checkpoint]) -> None:
        """As of any log."""
        self._log.save(saved)

    def starts(self, trials: Trials) -> Mapping[int, Checkpoint]:
        """As of any log."""
        return self._log.starts(trials)

    def retain(self, numbers: frozenset[int] | None) -> None:
        """As of any log."""
        self._log.retain(numbers)

    def behind(self) -> Callable[[], None] | None:
        """As of any log."""
        return self._log.behind()

    def settle(self) -> None:
        """As of any log."""
        self._log.settle()

    def append(self, finished: Sequence[Finished]) -> None:
        """As of any log."""
        self._parts += finished
        self._held += sum(map(len, finished))
        if self._held >= _ENOUGH:
            self.study_log()

    def study_log(self) -> MemoryLog:
        """The log with all that was told so far."""
        self._log.append(
            [Finished.concat(list(parts)) for _, parts in groupby(self._parts, attrgetter("kinds"))]
        )
        self._parts, self._held = [], 0
        return self._log
