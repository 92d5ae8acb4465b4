"""What a search may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When the search ends, and how often a trial is tried again.

    trials        finished trials in the study, failed ones included; None: no limit
    deadline      ns since the epoch; None: no limit
    retries       how often a trial whose worker died is tried again
    max_failures  as many failures at the start, and nothing else, end it; None: never
    timeout       seconds per trial, or None; the worker holds it, here it tells a hang from
                  a crash, and what is long overdue from what still runs
    """

    trials: int | None
    deadline: int | None = None
    retries: int = 1
    max_failures: int | None = 10
    timeout: float | None = None
