"""Searches among troubles drawn from seeds; `scripts/faults` plays many more."""

from __future__ import annotations

import pytest

from raysearch.testing.faults import play

SEEDS = 300
GROUP = 30


@pytest.mark.parametrize("start", range(0, SEEDS, GROUP))
def test_every_promise_is_kept_among_troubles(start):
    for seed in range(start, start + GROUP):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"again: scripts/faults --start {seed} --seeds 1")
            raise
