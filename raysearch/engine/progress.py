"""What the engine says about itself while it runs, for people who watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Best:
    """The best trial so far.

    number   of the trial
    metric   name of the objective
    value    of the objective, as the user reports it
    config   its configuration, of the active parameters
    since    how many trials have been told after it
    """

    number: int
    metric: str
    value: float
    config: Mapping[str, Any]
    since: int = 0


@dataclass(frozen=True)
class Progress:
    """A search at one moment.

    name        of the search, in a word or two
    strategy    in a word or two
    done        trials told, failed ones included, those of earlier sessions included
    failed      of these, how many have no result
    running     trials at work now
    busy        slots at work now
    slots       how many could be
    elapsed     seconds since this session began
    resumed     how many of `done` earlier sessions had told
    trials      how many are to be told in all; None: no such limit
    time_limit  seconds this session may take; None: no such limit
    reports     what generators have yielded in this session
    best        the best trial, if there is one and one objective
    history     best objective value so far, in the order told; thinned at will
    overhead    share of the slots' time spent on anything but trials, in [0, 1]; None: unknown
    error       what went wrong last, in a line
    study       where the study lies; None: in memory
    require     bounds that the best trial meets, such as "gb <= 8"
    notes       what is to be said once, at the start
    """

    name: str
    strategy: str
    done: int
    failed: int
    running: int
    busy: int
    slots: int
    elapsed: float
    resumed: int = 0
    trials: int | None = None
    time_limit: float | None = None
    reports: int = 0
    best: Best | None = None
    history: tuple[float, ...] = field(default=())
    overhead: float | None = None
    error: str | None = None
    study: str | None = None
    require: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> float | None:
        """Seconds until the first limit is met, at the pace so far; None: unknown."""
        told = self.done - self.resumed
        limits = []
        if self.time_limit is not None:
            limits.append(self.time_limit - self.elapsed)
        if self.trials is not None and told > 0:
            limits.append((self.trials - self.done) * self.elapsed / told)
        return max(0.0, min(limits)) if limits else None
