"""Points that are all meant to be trained in full, and stopped on their way.

A running trial is judged at each rung, by its losses so far and those of the others. What is
asked does not depend on reports but on what is told at last, which holds the losses at the
rungs as well; so it is folded in twice, and counts once.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace

import numpy as np

from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import Mask
from .fidelity import NOBODY, Copies, Fidelity, FidelityState, row


@dataclass(frozen=True, eq=False)
class StoppingState(FidelityState):
    """Points on their way, and all losses at rungs.

    pending  (p, 4) points asked and not told: number, origin
    judged   (k,) numbers of points that have reached a rung
    curve    (k, r, m) their losses there; NaN: not reached
    """

    judged: Ints = field(kw_only=True)
    curve: Floats = field(kw_only=True)


@dataclass(frozen=True)
class Stopping(Fidelity[StoppingState]):
    """Stops running trials at rungs; subclasses say which."""

    @abstractmethod
    def stops(self, curve: Floats, i: int, rung: int) -> bool:
        """Whether row i of the losses at rungs (k, r, m) is to be stopped at a rung."""

    def rungs(self) -> tuple[float, ...]:
        return self.budgets()[:-1]

    def init(self, space: Space, seed: int) -> StoppingState:
        """Nothing asked, nothing judged."""
        return StoppingState(
            space,
            seed,
            copies=self._copies(space, seed),
            pending=np.zeros((0, 4), dtype=np.int64),
            judged=np.zeros(0, dtype=np.int64),
            curve=np.zeros((0, len(self.rungs()), 1)),
        )

    def ask(self, state: StoppingState, n: int) -> tuple[StoppingState, Batch]:
        """What the sampler proposes, in full."""
        first, points, entries = state.asked, [np.empty((0, state.space.dim))], [state.pending]
        copies = state.copies
        for number in range(first, first + n):
            copies, x, origin = copies.propose(self.sampler, 0)
            if not len(x):
                break
            points.append(x)
            entries.append(np.array([[number, *origin]]))
        k = len(points) - 1
        state = replace(state, asked=first + k, copies=copies, pending=np.concatenate(entries))
        budget = np.full(k, self.budgets()[-1])
        return state, Batch(np.concatenate(points), np.arange(first, first + k), budget)

    def tell(self, state: StoppingState, batch: Batch, outcome: Outcome) -> StoppingState:
        """Note the losses at all rungs reached, and let the samplers learn from them."""
        levels = self._level(batch, outcome).tolist()
        for i, (number, level) in enumerate(zip(batch.number.tolist(), levels, strict=True)):
            one, result = row(batch, outcome, i)
            losses = np.full((len(self.budgets()), outcome.loss.shape[1]), np.nan)
            if outcome.curve is not None:
                losses[:-1] = outcome.curve[i]
            copy, own = NOBODY, NOBODY
            if number != FOREIGN:
                at = int(np.argmax(state.pending[:, 0] == number))
                _, copy, own, _ = state.pending[at].tolist()
                state = replace(state, pending=np.delete(state.pending, at, axis=0))
                for r in np.flatnonzero(~np.isnan(losses[:-1]).any(axis=1)).tolist():
                    state = _noted(state, number, r, losses[r])
            if level >= 0 and np.isnan(losses[level]).any():
                losses[level] = result.loss[0]
            copies = self._learned(state.copies, losses, level, copy, own, one, result)
            state = replace(state, copies=copies)
        return state

    def _learned(
        self,
        copies: Copies,
        losses: Floats,
        level: int,
        copy: int,
        own: int,
        one: Batch,
        result: Outcome,
    ) -> Copies:
        """Tell each rung's copy its loss; and the one that waits for the point, in any case."""
        if np.isnan(result.loss).any():  # failed: what it promised earlier is forgotten
            at, own = (copy, own) if own != NOBODY else (max(level, 0), NOBODY)
            return copies.observe(self.sampler, at, own, one, result)
        if own != NOBODY and level >= copy and np.isnan(losses[copy]).any():
            losses[copy] = result.loss[0]  # it has not reported there
        for r in np.flatnonzero(~np.isnan(losses).any(axis=1)).tolist():
            known_as = own if r == copy else NOBODY
            there = replace(result, loss=losses[r : r + 1].copy())
            copies = copies.observe(self.sampler, r, known_as, one, there)
        if own != NOBODY and np.isnan(losses[copy]).any():
            copies = copies.pass_over(self.sampler, copy, own, one.x, losses.shape[1])
        return copies

    def report(
        self, state: StoppingState, batch: Batch, rung: Ints, loss: Floats
    ) -> tuple[StoppingState, Mask]:
        """Note losses at rungs, and judge them one after the other."""
        stop = np.zeros(len(batch), dtype=bool)
        for k, (number, r) in enumerate(zip(batch.number.tolist(), rung.tolist(), strict=True)):
            state = _noted(state, number, r, loss[k])
            stop[k] = self.stops(state.curve, int(np.argmax(state.judged == number)), r)
        return state, stop

    def max_pending(self, state: StoppingState, slots: int) -> int:
        """As many as the sampler bears: what is asked ahead of time is not worse for it."""
        return self.sampler.max_pending(state.copies.states[0], slots)


def _noted(state: StoppingState, number: int, rung: int, loss: Floats) -> StoppingState:
    """With a point's loss (m,) at a rung, be it known or not."""
    judged, curve = state.judged, state.curve.copy()
    if number not in judged:
        new = np.full((1, curve.shape[1], len(loss)), np.nan)
        curve = np.concatenate([curve, new]) if len(judged) else new
        judged = np.append(judged, number)
    curve[np.argmax(judged == number), rung] = loss
    return replace(state, judged=judged, curve=curve)
