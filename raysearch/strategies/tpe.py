"""TPE: trials are split into good and bad ones, and points sought that resemble the good.

With densities l of the good points and g of the bad ones (`raysearch.models.parzen`), each a
product over the parameters i, a point is proposed that among c draws from l maximises

    sum_i log l_i(x_i) - log g_i(x_i)     over the parameters that are active in x

which orders points as their expected improvement on the split does. A draw takes each
parameter from a good trial of its own, so that what was good in several comes together; the
best draw is taken whole, not parameter by parameter. Good are the best ceil(0.1 n) of n trials,
at most 25; of m good ones the j-th weighs as 2 (m + 1 - j) / (m + 1), a bad one as 1. The
good density holds a kernel of the prior, too, which weighs 1, and the bad one a flat kernel of
the same weight. A trial counts for the parameters that are active in it.

Bergstra, Bardenet, Bengio & Kegl (2011), "Algorithms for hyper-parameter optimization";
Watanabe (2023), "Tree-structured Parzen estimator: understanding its algorithm components and
their roles for better empirical performance".

bandwidth    of continuous and ordered parameters, from the n centres of a density: Scott's
             rule, narrowed, s_i = 0.7 std_i n^(-1/5), where std_i counts the whole range
             as one more centre; at least 1 / min(100, n + 1) of half the range, and half
             the width of an ordered value's cell, so that its neighbours stay likely
constraints  trials that meet them come first, then by how far they are from meeting them
objectives   trials are ordered by non-dominated rank, then by crowding distance
pending      points count as bad, until they are told
memory       the 25 best trials and the newest 128 others: what a suggestion costs stays the
             same however long the search

Point k counts as pending those before b(k), the last multiple of q up to k; q is the greatest
power of 2 that is at most a quarter of the pending points. So a batch repels itself, while its
densities are fitted a number of times that grows with the logarithm of its size.

x      (k, d)      the trials remembered, the best first
key    (k, 1 + m)  what they broke of the constraints, and losses; NaN: failed
index  (k,)        the how-manieth trial told each of them was
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError, UsageError
from ..models.parzen import FLAT, Layout, Parzen, layout
from ..scalars import real
from ..space import Space
from ..space.names import nearest
from ..trial import Batch, Floats, Ints, Outcome
from .base import State, Strategy
from .known import Known
from .memo import per_space
from .options import check_int
from .pareto import crowding, fronts, violations
from .proposals import settle
from .quasi_random import QuasiRandom

_GOOD = 25  # good trials, at most
_SHARE = 0.1  # of all trials
_BAD = 128  # other trials that are remembered
_NARROW = 0.7  # kernels, beside those of Scott's rule
_LIARS = 64  # pending points that count, the newest
_BLOCK = 1024  # points that are proposed from one fit, at most
_DIGITS = 4  # to which scores are compared, so that rounding decides nothing


@dataclass(frozen=True, eq=False)
class TPEState(State):
    """What is remembered; see the head of this file. And the points pending, (p, d)."""

    x: Floats = field(kw_only=True)
    key: Floats = field(kw_only=True)
    index: Ints = field(kw_only=True)
    pending_x: Floats = field(kw_only=True)
    pending: Ints = field(kw_only=True)
    told: int = 0
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class TPE(Strategy[TPEState]):
    """Points that resemble the good trials and not the bad; any space, cheap suggestions.

    startup     evenly spread points that come first, >= 1; whatever the prior, as points of
                one region tell nothing of what is worse elsewhere
    candidates  draws of which the best is proposed, >= 1
    prior       parameter -> (value, spread): where a good value is expected, and how
                surely, as a standard deviation in parts of the parameter's range (for an
                unordered choice: the probability that it is any value, each equally
                likely), in (0, 1]. It weighs as much as one trial; parameters left out
                are uniform

    Raises UsageError if an option is out of range, SpaceError if a prior does not fit.

    >>> from raysearch.space import Float, Space
    >>> space = Space({"lr": Float(1e-5, 1e-1, log=True)})
    >>> search = TPE(prior={"lr": (1e-3, 0.1)})
    >>> state, batch = search.ask(search.init(space, seed=0), 4)
    >>> search.tell(state, batch, Outcome(loss=batch.x**2)).told
    4
    """

    multi_objective: ClassVar[bool] = True
    constrained: ClassVar[bool] = True
    beats_random: ClassVar[bool] = True

    startup: int = 6
    candidates: int = 24
    prior: Mapping[str, tuple[Any, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_int(self, "startup")
        check_int(self, "candidates")
        if not isinstance(self.prior, Mapping):
            raise UsageError(
                "option prior: expected a mapping of names to (value, spread), "
                f"found {self.prior!r}"
            )
        checked = {name: _belief(name, belief) for name, belief in self.prior.items()}
        object.__setattr__(self, "prior", checked)

    def init(self, space: Space, seed: int) -> TPEState:
        """Nothing remembered."""
        QuasiRandom().init(space, seed)
        _prior(space, self.prior)
        none = np.empty((0, space.dim))
        return TPEState(
            space,
            seed,
            x=none,
            key=np.empty((0, 2)),
            index=np.empty(0, dtype=np.int64),
            pending_x=none,
            pending=np.empty(0, dtype=np.int64),
        )

    def ask(self, state: TPEState, n: int) -> tuple[TPEState, Batch]:
        """The best of some draws from the density of the good, for each point."""
        first = state.asked
        while (missing := first + n - state.asked) > 0:
            since, until = _block(state.asked, len(state.pending))
            count = min(missing, until - state.asked)
            state, found = self._propose(state, count, since)
            if found < count:
                break
        new = slice(len(state.pending) - (state.asked - first), None)
        return state, Batch(state.pending_x[new].copy(), state.pending[new].copy())

    def _propose(self, state: TPEState, n: int, since: int) -> tuple[TPEState, int]:
        """The state with n more points pending, which counted those before `since`."""
        space, c, d = state.space, self.candidates, state.space.dim
        density = None
        if state.told >= self.startup and _usable(state.key):
            liars = state.pending_x[: state.pending.searchsorted(since)][-_LIARS:]
            density = _fit(state, liars, _prior(space, self.prior))

        def propose(numbers: Ints, draws: Floats) -> Floats:
            if density is None:
                return _spread_out(space, state.seed, numbers, draws)
            x = density.sample(draws.reshape(-1, d))
            log_l, log_g = density.log(x, _active(space, x)).T
            score = np.rint((log_l - log_g) * 10**_DIGITS).reshape(-1, c)
            return np.asarray(x.reshape(-1, c, d)[np.arange(len(score)), score.argmax(axis=1)])

        x, known = settle(space, state.known, state.seed, state.asked, n, c * d, propose)
        state = replace(
            state,
            asked=state.asked + len(x),
            pending_x=np.concatenate([state.pending_x, x]),
            pending=np.concatenate([state.pending, np.arange(state.asked, state.asked + len(x))]),
            known=known,
        )
        return state, len(x)

    def tell(self, state: TPEState, batch: Batch, outcome: Outcome) -> TPEState:
        """Remember the best and the newest."""
        if not len(batch):
            return state
        own = np.sort(batch.number)
        waiting = own.searchsorted(state.pending) == own.searchsorted(state.pending, "right")
        key = _keys(outcome)
        old = state.key if state.told else np.empty((0, key.shape[1]))
        x = np.concatenate([state.x, batch.x])
        key = np.concatenate([old, key])
        index = np.concatenate([state.index, np.arange(state.told, state.told + len(batch))])
        kept = _remembered(key, index, len(batch))
        return replace(
            state,
            x=x[kept],
            key=key[kept],
            index=index[kept],
            pending_x=state.pending_x[waiting],
            pending=state.pending[waiting],
            told=state.told + len(batch),
            known=state.known.tell(state.space, batch),
        )


def _spread_out(space: Space, seed: int, numbers: Ints, draws: Floats) -> Floats:
    """The points of a quasi-random sequence with these numbers; random where one comes again."""
    x = QuasiRandom().candidates(space, seed, int(numbers[0]), len(numbers))
    again = np.diff(numbers, prepend=-1) == 0
    x[again] = draws[again, : space.dim]
    return x


# --- the densities --------------------------------------------------------------------------


def _fit(state: TPEState, liars: Floats, prior: tuple[Floats, Floats]) -> Parzen:
    """The densities of good and bad trials, as two mixtures of the same kernels.

    Row 0 is the prior's kernel, row 1 a flat one, then come the good, the bad, and the liars.
    Only the good have the prior's: else it would forbid the bad what it promises of the good.
    """
    lay, good, trials = _layout(state.space), _good(state), np.concatenate([state.x, liars])
    active = _active(state.space, trials)
    known = np.ones(trials.shape) if active is None else active.astype(float)
    centre = np.concatenate([prior[0], trials])
    spread = np.concatenate([prior[1], _bandwidths(lay, trials, known, good)])
    weight = np.zeros((2, trials.shape[1], len(centre)))
    weight[0, :, 0] = weight[1, :, 1] = 1
    weight[0, :, 2 : 2 + good] = known[:good].T * (2 * (good - np.arange(good)) / (good + 1))
    weight[1, :, 2 + good :] = known[good:].T
    return Parzen(lay, centre, spread, weight)


def _good(state: TPEState) -> int:
    """How many of the trials, which are sorted, are good."""
    most = min(math.ceil(_SHARE * state.told), _GOOD)
    met = int((state.key[:, 0] <= 0).sum())
    return min(most, met or _usable(state.key))


def _bandwidths(lay: Layout, x: Floats, known: Floats, good: int) -> Floats:
    """(n, d) spreads of kernels at points x (n, d), in the density of the first, good ones, or
    in that of the others.

    known  (n, d) 1 where a point has the parameter, else 0
    """
    member = np.zeros((2, len(x)))
    member[0, :good] = member[1, good:] = 1
    own = known * x
    n = np.maximum(member @ known, 1)
    mean = member @ own / n
    squares = np.maximum(member @ (own * x) - n * mean * mean, 0)
    deviation = np.sqrt((squares + 1 / 12) / (n + 1))  # 1/12: of the whole edge
    least = np.maximum(1 / np.minimum(100, n + 1), lay.width) / 2
    scott = np.maximum(_NARROW * deviation * n**-0.2, least)
    spread = np.where(lay.unordered, 1 / (1 + np.sqrt(n)), scott)
    return spread.repeat([good, len(x) - good], axis=0)


def _active(space: Space, x: Floats) -> NDArray[np.bool_] | None:
    """(n, d) which parameters are active at the points; None: all are, everywhere."""
    return space.active(space.decode(x)) if space.conditional else None


@per_space
def _layout(space: Space) -> Layout:
    return layout(space)


def _block(k: int, pending: int) -> tuple[int, int]:
    """(b, e): points k .. e-1 count as pending those before b."""
    power = max(pending.bit_length() - 3, 0)
    q = min(2**power, _BLOCK)
    since = k // q * q
    return since, min(since + q, k + 2 ** (power + 3) - pending)


# --- the prior ------------------------------------------------------------------------------


def _belief(name: Any, belief: Any) -> tuple[Any, float]:
    if isinstance(belief, (tuple, list)) and len(belief) == 2:
        spread = real(belief[1])
        if spread is not None and 0 < spread <= 1:
            return belief[0], spread
    raise UsageError(
        f"option prior[{name!r}]: expected (value, spread) with 0 < spread <= 1, found {belief!r}"
    )


def _prior(space: Space, prior: Mapping[str, tuple[Any, float]]) -> tuple[Floats, Floats]:
    """Centres and spreads, (2, d) each, of the prior's kernel and of a flat one."""
    centre = np.full((2, space.dim), 0.5)
    spread = np.where(_layout(space).unordered, 1.0, FLAT) + np.zeros((2, 1))
    for name, (value, width) in prior.items():
        if name not in space.parameters:
            raise SpaceError(
                f"option prior: there is no parameter {name!r}; {nearest(name, space.parameters)}"
            )
        parameter, place = space.parameters[name], space.places[name]
        try:
            number = parameter.column([parameter.lookup(value)])
        except SpaceError as error:
            raise SpaceError(f"option prior[{name!r}]: {error}") from None
        centre[0, place], spread[0, place] = parameter.encode(number)[0], width
    return centre, spread


# --- the order of trials --------------------------------------------------------------------


def _keys(outcome: Outcome) -> Floats:
    """(k, 1 + m) what each trial broke of the constraints, and its losses; NaN: failed."""
    broken = violations(outcome.constraint, len(outcome.loss))
    key = np.concatenate([broken[:, None], outcome.loss], axis=1)
    key[np.isnan(outcome.loss).any(axis=1), 0] = math.inf
    return key


def _usable(key: Floats) -> int:
    """How many of the trials have not failed."""
    return len(key) - int(np.isnan(key[:, 1]).sum())


def _remembered(key: Floats, index: Ints, new: int) -> Ints:
    """Which trials are remembered, the best first, then the newest.

    The last `new` rows have come just now. Several objectives are compared as they come one
    by one, as crowding depends on the company.
    """
    if key.shape[1] > 2:
        best = np.arange(min(len(key) - new, _GOOD))
        for i in range(len(key) - new, len(key)):
            best = np.append(best, i)
            best = best[_order(key[best], index[best])][:_GOOD]
    else:
        best = np.lexsort((index, key[:, 1], key[:, 0]))[:_GOOD]
    age = -index
    age[best] = 1  # after all others
    return np.concatenate([best, age.argsort()[: min(_BAD, len(key) - len(best))]])


def _order(key: Floats, index: Ints) -> Ints:
    """The order of a few trials by constraints, non-dominated rank, crowding distance, age."""
    broken, loss = key[:, 0], key[:, 1:]
    rank, apart = fronts(loss, broken), np.zeros(len(key))
    for r in range(int(rank[broken <= 0].max(initial=-1)) + 1):
        front = rank == r
        apart[front] = crowding(loss[front])
    return np.lexsort((index, -apart, rank))
