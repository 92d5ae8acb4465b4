"""Made-up trials that are over, for tests of whatever reads or writes them."""

from __future__ import annotations

import numpy as np

from ..engine.records import Finished, Trials
from ..rng import uniform
from ..space import Space

_EPOCH = 1_700_000_000_000_000_000  # ns


def made_up(space: Space, k: int, first: int = 0, seed: int = 0) -> Finished:
    """Complete trials first .. first+k-1 at random points, with a metric "loss".

    >>> from raysearch.space import Float
    >>> made_up(Space({"x": Float(0, 1)}), 3, first=5).number
    array([5, 6, 7])
    """
    draws = uniform(seed, first, k, space.dim + 2)
    number = np.arange(first, first + k)
    begin = _EPOCH + number * 1_000_001
    return Finished(
        trials=Trials(number, space.decode(draws[:, :-2])),
        state=np.zeros(k, np.uint8),
        metrics={"loss": draws[:, -2].copy()},
        errors={},
        attempts=np.ones(k, np.int64),
        worker=np.full(k, "host:1", dtype=object),
        after=number,
        asked=begin,
        submitted=begin + 10,
        started=begin + 20,
        finished=begin + 30,
        told=begin + 40,
        seconds=draws[:, -1].copy(),
        budget=np.full(k, np.nan),
    )
