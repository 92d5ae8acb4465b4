"""Deterministic simulation of faults: a search among troubles, all drawn from one seed.

Workers and machines die, events are late, doubled, reordered or lost, capacity comes and
goes, clocks jump, the disk fills up or tears a write, and the driver dies between any two
steps and is started again. `play` runs a whole search through all that, with the real
engine, strategies and log, and checks that every promise was kept.
"""

from __future__ import annotations

from .world import play

__all__ = ["play"]
