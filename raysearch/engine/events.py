"""What the loop hears, and what it commands.

The executor's own events, `Done`, `Lost` and `Reported`, are in `raysearch.engine.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .records import Done, Finished, Lost, Reported, Reports, Task, Trials

# --- events -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """The strategy has proposed trials; fewer than wanted if it has no more for now."""

    trials: Trials
    max_pending: int


@dataclass(frozen=True)
class Told:
    """The strategy has taken in results."""

    max_pending: int


@dataclass(frozen=True)
class Judged:
    """The strategy wants a trial, alone in its task, stopped where report number `at` stood."""

    task: int
    reports: Reports
    at: int


@dataclass(frozen=True)
class Slots:
    """How many tasks can run at once from now on."""

    n: int


@dataclass(frozen=True)
class Stop:
    """Somebody wants the search to end: let trials finish, or cancel them."""

    how: Literal["drain", "cancel"]


Event = Done | Lost | Reported | Asked | Told | Judged | Slots | Stop

# --- commands -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """Ask the strategy for n trials. Nothing more is asked until Asked comes."""

    n: int


@dataclass(frozen=True)
class Tell:
    """Tell the strategy these results, and make them durable before any later Submit."""

    finished: Finished


@dataclass(frozen=True)
class Report:
    """Keep these reports, and show them to the strategy, before anything else is handled."""

    task: int
    trials: Trials
    reports: Reports


@dataclass(frozen=True)
class Submit:
    """Have the executor run a task."""

    task: Task


@dataclass(frozen=True)
class Cancel:
    """Have the executor end a task: asked first, then by force."""

    task: int


Why = Literal["trials", "exhausted", "time", "failures", "stopped"]


@dataclass(frozen=True)
class Finish:
    """The search is over.

    why  trials: as many as wanted; exhausted: the strategy has no more; time: the limit
         is reached; failures: the first trials all failed; stopped: somebody wished it
    """

    why: Why


Command = Ask | Tell | Report | Submit | Cancel | Finish
