"""One trial that is over, for people."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class FinishedTrial:
    """One trial that is over.

    number    in its study, from 0
    config    of its active parameters
    metrics   that it returned
    state     complete, stopped, failed, invalid, timeout, crashed or oom
    seconds   it ran
    attempts  how often it was begun
    started   when, in UTC; None if it never came to that
    worker    that ran it, "" if unknown
    error     what went wrong, None if nothing did
    budget    how far it got; None: there was no budget
    parent    number of the trial that it went on from; None: none
    """

    number: int
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    state: str
    seconds: float
    attempts: int
    started: datetime | None
    worker: str
    error: str | None
    budget: float | None = None
    parent: int | None = None

    def _repr_html_(self) -> str:
        pairs = {"state": self.state, **self.metrics, **self.config}
        return html_table(f"Trial {self.number}", pairs)


def html_table(title: str, pairs: Mapping[str, Any]) -> str:
    """Names and values as a small table."""
    rows = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in pairs.items()
    )
    return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"
