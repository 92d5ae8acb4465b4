"""The log of a simulated search: a study in memory, written in large pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

import numpy as np

from ..engine.records import Finished, Trials
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

    def append(self, finished: Sequence[Finished]) -> None:
        """As of any log."""
        self._parts += finished
        self._held += sum(map(len, finished))
        if self._held >= _ENOUGH:
            self.study_log()

    def study_log(self) -> MemoryLog:
        """The log with all that was told so far."""
        self._log.append([_together(list(parts)) for _, parts in groupby(self._parts, _kinds)])
        self._parts, self._held = [], 0
        return self._log


def _kinds(finished: Finished) -> list[tuple[str, Any]]:
    """Which metrics the trials have, of which types."""
    return [(name, values.dtype) for name, values in finished.metrics.items()]


def _together(parts: Sequence[Finished]) -> Finished:
    """The trials of all parts, which have the same metrics."""
    first = parts[0]
    arrays: dict[str, Any] = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(first)
        if isinstance(getattr(first, f.name), np.ndarray)
    }
    errors: dict[int, str] = {}
    start = 0
    for part in parts:
        errors |= {start + i: why for i, why in part.errors.items()}
        start += len(part)
    return Finished(
        trials=Trials.concat([part.trials for part in parts]),
        metrics={n: np.concatenate([part.metrics[n] for part in parts]) for n in first.metrics},
        errors=errors,
        **arrays,
    )
