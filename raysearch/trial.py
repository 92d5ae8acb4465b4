"""The records that travel: batches of points out, their outcomes back.

`Batch` and `Outcome` belong to the numerical world (arrays, unit cube, losses to be
minimised); `Trial` is what a user's objective or ask/tell loop sees of one point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: How a trial can end, in the order of their codes in compact arrays.
STATES = ("complete", "stopped", "failed", "invalid", "timeout", "crashed", "oom")
COMPLETE, STOPPED, FAILED, INVALID, TIMEOUT, CRASHED, OOM = range(len(STATES))


def has_result(state: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which trials, by the codes of their states, have a result that counts."""
    return np.less_equal(state, STOPPED)


#: Batch.number of a trial that the strategy did not propose itself.
FOREIGN = -1
#: Batch.parent of a trial that begins from its beginning.
ROOT = -1


@dataclass(frozen=True)
class Batch:
    """k points that are proposed together, or told together.

    x       (k, d) points in the unit cube
    number  (k,) the how-manieth point of this strategy each one is, from 0; FOREIGN for
            points that come from elsewhere (an earlier strategy, a retry, a colleague)
    budget  (k,) how far each is to be trained, in the unit of the objective's steps, as
            counted from the first of its ancestors; None: in full
    parent  (k,) number of the point that each goes on from: one with a lower budget, told
            already, and of the same configuration, unless the strategy changes that in
            training; ROOT: it begins from its beginning. None: all do
    """

    x: Floats
    number: Ints
    budget: Floats | None = None
    parent: Ints | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Outcome:
    """What became of the k points of a batch.

    loss        (k, m) losses, to be minimised, for m objectives; NaN in every column: failed
    budget      (k,) how far each got; less than its batch said if it was stopped. None: in full
    curve       (k, r, m) losses at the strategy's `rungs`; NaN at those not reached. None: nowhere
    constraint  (k, c) values that are to be at most 0; NaN: unknown. None: no constraints
    gradient    (k, d) of the first loss with respect to the point; NaN: unknown. None: nowhere
    cost        (k,) what each has cost, > 0, in any unit; NaN: unknown. None: it does not matter
    """

    loss: Floats
    budget: Floats | None = None
    curve: Floats | None = None
    constraint: Floats | None = None
    gradient: Floats | None = None
    cost: Floats | None = None

    def unconstrained(self) -> Outcome:
        """For whoever knows no constraints: what breaks one, or may, is infinitely bad."""
        if self.constraint is None:
            return self
        met = (self.constraint <= 0).all(axis=1, keepdims=True)
        loss = np.where(met | np.isnan(self.loss), self.loss, np.inf)
        return replace(self, loss=loss, constraint=None)


@dataclass(frozen=True)
class Trial:
    """One configuration on its way: what an objective may ask for as second argument.

    number  of the trial in its study, from 0
    config  parameter name -> value, of the active parameters
    seed    of the trial, in [0, 2**32), drawn from the seed of the search and the number
    data    what was passed as ``search(data=...)``
    budget  how far it is to be trained, in the unit of the objective's steps, as counted from
            the very beginning; None: in full
    parent  number of the trial that it goes on from, with a lower budget, and of the same
            configuration unless the strategy changes it in training; None: it begins from its
            beginning
    checkpoint  what the parent, or an earlier attempt, has saved last, of the parent's those
            entries that the strategy has it inherit; None: nothing
    device  "cuda:0" if there is a GPU for it, its only visible one or the first of several;
            else "cpu"
    """

    number: int
    config: Mapping[str, Any]
    seed: int
    data: Mapping[str, Any] = field(default_factory=dict)
    budget: float | None = None
    parent: int | None = None
    checkpoint: Mapping[str, Any] | None = None
    device: str = "cpu"

    @cached_property
    def rng(self) -> np.random.Generator:
        """A numpy generator of this trial's own, the same wherever the trial runs."""
        return np.random.default_rng(self.seed)
