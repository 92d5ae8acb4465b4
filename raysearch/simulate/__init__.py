"""Searches in virtual time: what would so many workers take, and how busy would they be?

`run` searches with pretended workers, `replay` runs the trials of a finished study again, and
`Lookup` answers for any strategy with the nearest trial of a finished study or table.
Both use the engine of the real search; only the executor and the clock are not real.
"""

from __future__ import annotations

from .chance import Crashes, LogNormal, Measured, Preemptions
from .executor import Outage
from .lookup import Lookup
from .replay import replay
from .result import Simulation
from .run import run

__all__ = [
    "Crashes",
    "LogNormal",
    "Lookup",
    "Measured",
    "Outage",
    "Preemptions",
    "Simulation",
    "replay",
    "run",
]
