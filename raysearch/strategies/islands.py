"""Islands: several searches apart from each other, between which the best points travel.

Each of I islands runs a strategy of its own, with draws of its own. After every M of its
results an island ends an epoch, and sends the best point of these M to its neighbours; they
are told it as a point from elsewhere. So what one has found spreads slowly enough for the
others to find something else (Cohoon et al., 1987).

At the beginning of its epoch e an island takes in what its sources sent at the end of their
epoch e - 2. One epoch of delay lets islands run at different speeds, and still makes each of
them depend on results alone, never on timing, wherever all are told at about the same rate. From
a source that has fallen behind nothing comes, from one that is far ahead the oldest of the last
two points it has sent.

ring    island i hears of island i - 1
full    of all others
random  of one other, drawn anew for every epoch

Points are given to the islands in turn. In a space of which every configuration may come twice,
an island whose proposal another one has made already is told that it failed, and asked again.
Of several objectives, the best point is that of one of them, each epoch of another.

Cohoon, Hegde, Martin & Richards (1987), "Punctuated equilibria: a parallel genetic algorithm",
ICGA; Whitley, Rana & Heckendorn (1999), "The island model genetic algorithm", CIT 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np

from ..errors import UsageError
from ..rng import derived, uniform
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import ANY_NUMBER, AnyStrategy, State, Strategy
from .genetic import GeneticAlgorithm
from .known import Known, coding, keys_of
from .options import check_choice, check_int
from .pending import Pending

_STREAM = 5  # of random numbers for neighbours


@dataclass(frozen=True, eq=False)
class Migrant:
    """A point that travels: x (1, d), with its loss (1, m)."""

    x: Floats
    loss: Floats


@dataclass(frozen=True, eq=False)
class Island:
    """One of the islands.

    state  of its strategy
    told   how many of its results have come; it is in epoch told // M
    best   point of this epoch so far
    sent   at the end of its last two epochs, the later one last
    """

    state: State
    told: int = 0
    best: Migrant | None = None
    sent: tuple[Migrant | None, Migrant | None] = (None, None)


@dataclass(frozen=True, eq=False)
class IslandsState(State):
    """All islands.

    islands  (I) of them
    turn     which is given the next point
    pending  (island, its own number) of each point
    known    configurations that may come twice, of all islands
    """

    islands: tuple[Island, ...] = field(kw_only=True)
    pending: Pending = field(kw_only=True)
    turn: int = 0
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class Islands(Strategy[IslandsState]):
    """Runs a strategy on islands, between which good points travel; throughput grows with them.

    strategy       that every island runs, or its name
    islands        how many, >= 1
    migrate_every  results of an island after which it sends its best one, >= 1
    topology       ring: to the next island; full: to all; random: to some, drawn anew each time

    Raises UsageError if an option is out of range, or the strategy judges trials or gives them
    budgets: put it around the islands if it can be, as in ``ASHA(Islands())``. Likewise if it, or
    one that it consists of, proposes the same points whatever the seed, as `GridSearch` does.

    >>> from raysearch.space import Float, Space
    >>> search = Islands(GeneticAlgorithm(population=4), islands=2, migrate_every=8)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 6)
    >>> [island.state.asked for island in state.islands]
    [3, 3]
    """

    strategy: AnyStrategy = field(default_factory=GeneticAlgorithm)
    islands: int = 8
    migrate_every: int = 100
    topology: Literal["ring", "full", "random"] = "ring"

    def __post_init__(self) -> None:
        from . import check, get

        if isinstance(self.strategy, str):
            object.__setattr__(self, "strategy", get(self.strategy)())
        check(self.strategy)
        if self.strategy.budgets() or self.strategy.rungs():
            name = type(self.strategy).__name__
            around = f"put it around the islands, as in {name}(Islands(...))"
            takes_one = hasattr(self.strategy, "sampler")
            raise UsageError(
                f"option strategy: {name} gives budgets to trials, or judges them, and needs all "
                f"of them for that; {around if takes_one else 'leave the islands out'}"
            )
        for part in _parts(self.strategy):
            if part.seedless:
                raise UsageError(
                    f"option strategy: {type(part).__name__} proposes the same points whatever the "
                    "seed, and every island would run them again; leave the islands out, or put "
                    "it around them if it takes a strategy, as in WarmStart(Islands(...))"
                )
        check_int(self, "islands")
        check_int(self, "migrate_every")
        check_choice(self, "topology", ("ring", "full", "random"))

    def takes(self, objectives: int) -> bool:
        """What the islands' strategy takes."""
        return self.strategy.takes(objectives)

    def init(self, space: Space, seed: int) -> IslandsState:
        """All islands at their beginning."""
        islands = tuple(self.island(space, seed, i) for i in range(self.islands))
        return IslandsState(space, seed, islands=islands, pending=Pending.none(2))

    def ask(self, state: IslandsState, n: int) -> tuple[IslandsState, Batch]:
        """The islands' points, in turn; of those that have none for now, nothing."""
        if coding(state.space).endless:
            after, batch = self._ask_all(state, n)
            if len(batch) == n:
                return after, batch
        batches = []
        for _ in range(n):
            state, batch = self._ask_one(state)
            if not len(batch):
                break
            batches.append(batch)
        x = np.concatenate([np.zeros((0, state.space.dim)), *(b.x for b in batches)])
        return state, Batch(x, np.arange(state.asked - len(x), state.asked))

    def tell(self, state: IslandsState, batch: Batch, outcome: Outcome) -> IslandsState:
        """Let each island hear of its own points, and all of points from elsewhere."""
        pending, row, own = state.pending.take(batch.number)
        owner = np.where(own, row[:, 0], FOREIGN).astype(np.int64)
        number = np.where(own, row[:, 1], FOREIGN).astype(np.int64)
        islands, left = list(state.islands), np.arange(len(batch))
        while len(left):
            these, left, ended = self._until_an_epoch_ends(islands, owner, left)
            heard = {*owner[these].tolist()}
            for i in range(self.islands) if FOREIGN in heard else heard:
                mine = these[(owner[these] == i) | (owner[these] == FOREIGN)]
                told = Batch(batch.x[mine], number[mine])
                islands[i] = self.told(islands[i], told, _part(outcome, mine))
            if ended is not None:
                islands[ended] = self.taken_in(islands[ended], self._arrived(islands, ended, state))
        return replace(state, islands=tuple(islands), pending=pending)

    def max_pending(self, state: IslandsState, slots: int) -> int:
        """As many as can be given out in turn, until one island has enough; or every slot."""
        pending = np.bincount(state.pending.row[:, 0].astype(np.int64), minlength=self.islands)
        share, most = -(-slots // self.islands), ANY_NUMBER
        for i, island in enumerate(state.islands):
            room = max(share, self.room(island, share)) - int(pending[i])
            most = min(most, (i - state.turn) % self.islands + self.islands * max(room, 0))
        return min(ANY_NUMBER, max(slots, len(state.pending.number) + most))

    # --- one island ---------------------------------------------------------------------------

    def island(self, space: Space, seed: int, i: int) -> Island:
        """Island i at its beginning."""
        return Island(self.strategy.init(space, derived(seed, i)))

    def room(self, island: Island, slots: int = 1) -> int:
        """How many points of an island may be pending; never more than its epoch lacks."""
        lacking = self.migrate_every - island.told % self.migrate_every
        return min(lacking, self.strategy.max_pending(island.state, slots))

    def told(self, island: Island, batch: Batch, outcome: Outcome) -> Island:
        """The island after results none of which but the last may end its epoch."""
        state = self.strategy.tell(island.state, batch, outcome)
        loss, counts = outcome.loss, batch.number != FOREIGN
        mine = int(np.count_nonzero(counts))
        told = island.told + mine
        turn = island.told // self.migrate_every % loss.shape[1]
        counts &= ~np.isnan(loss).any(axis=1)
        if outcome.constraint is not None:
            counts &= (outcome.constraint <= 0).all(axis=1)
        best = island.best
        if counts.any():
            value = np.where(counts, loss[:, turn], np.nan)
            k = int(np.nanargmin(value))
            if best is None or value[k] < best.loss[0, turn]:
                best = Migrant(batch.x[[k]], loss[[k]])
        if mine and told % self.migrate_every == 0:
            return Island(state, told, None, (island.sent[1], best))
        return Island(state, told, best, island.sent)

    def taken_in(self, island: Island, migrants: Sequence[Migrant]) -> Island:
        """The island after migrants have arrived."""
        state = island.state
        for migrant in migrants:
            batch = Batch(migrant.x, np.array([FOREIGN]))
            state = self.strategy.tell(state, batch, Outcome(migrant.loss))
        return replace(island, state=state)

    def sources(self, i: int, epoch: int, seed: int) -> list[int]:
        """The islands of which island i hears at the beginning of an epoch."""
        others = [j for j in range(self.islands) if j != i]
        if self.topology == "full" or not others:
            return others
        if self.topology == "ring":
            return [(i - 1) % self.islands]
        u = uniform(seed, epoch, 1, self.islands, _STREAM)[0, i]
        return [others[int(u * len(others))]]

    # --- all of them --------------------------------------------------------------------------

    def _ask_all(self, state: IslandsState, n: int) -> tuple[IslandsState, Batch]:
        """Points for all islands at once; not all of n if one of them has no more."""
        turns = (state.turn + np.arange(n)) % self.islands
        islands, x, local = list(state.islands), np.empty((n, state.space.dim)), np.empty(n)
        for i in range(self.islands):
            mine = turns == i
            inner, batch = self.strategy.ask(islands[i].state, int(np.count_nonzero(mine)))
            if len(batch) < np.count_nonzero(mine):
                return state, Batch(x[:0], np.arange(0))
            islands[i] = replace(islands[i], state=inner)
            x[mine], local[mine] = batch.x, batch.number
        number = np.arange(state.asked, state.asked + n)
        pending = state.pending.add(number, np.column_stack([turns, local]))
        turn = (state.turn + n) % self.islands
        state = replace(
            state, islands=tuple(islands), pending=pending, asked=state.asked + n, turn=turn
        )
        return state, Batch(x, number)

    def _ask_one(self, state: IslandsState) -> tuple[IslandsState, Batch]:
        """A point of the island whose turn it is, or of the next one that has any."""
        islands, known = list(state.islands), state.known
        for i in (state.turn + np.arange(self.islands)) % self.islands:
            while True:
                inner, batch = self.strategy.ask(islands[i].state, 1)
                keys, finite = keys_of(state.space, state.space.decode(batch.x))
                twice = finite & known.has(keys)
                if twice.any():
                    nothing = Outcome(np.full((1, 1), np.nan))
                    inner = self.strategy.tell(inner, batch, nothing)
                islands[i] = replace(islands[i], state=inner)
                if not twice.any():
                    break
            if len(batch):
                row = np.array([[i, batch.number[0]]], dtype=np.float64)
                state = replace(
                    state,
                    islands=tuple(islands),
                    turn=int(i + 1) % self.islands,
                    asked=state.asked + 1,
                    pending=state.pending.add(np.array([state.asked]), row),
                    known=known.add(keys[finite]),
                )
                return state, batch
        return replace(state, islands=tuple(islands)), Batch(state.pending.row[:0], np.arange(0))

    def _until_an_epoch_ends(
        self, islands: Sequence[Island], owner: Ints, left: Ints
    ) -> tuple[Ints, Ints, int | None]:
        """The rows up to the first that ends an island's epoch; the others; that island."""
        end, ended = len(left), None
        for i in {*owner[left].tolist()} - {FOREIGN}:
            lacking = self.migrate_every - islands[i].told % self.migrate_every
            mine = np.flatnonzero(owner[left] == i)
            if len(mine) >= lacking and mine[lacking - 1] < end:
                end, ended = int(mine[lacking - 1]) + 1, i
        return left[:end], left[end:], ended

    def _arrived(self, islands: Sequence[Island], i: int, state: IslandsState) -> list[Migrant]:
        """What island i takes in at the beginning of its epoch."""
        epoch = islands[i].told // self.migrate_every
        found = []
        for j in self.sources(i, epoch, state.seed):
            ended = islands[j].told // self.migrate_every
            k = max(epoch - 2, ended - 2)  # the epoch whose best point is wanted
            if 0 <= k < ended:
                found.append(islands[j].sent[k - ended])
        return [migrant for migrant in found if migrant is not None]


def _parts(strategy: AnyStrategy) -> Iterator[AnyStrategy]:
    """The strategy, and all that it consists of."""
    yield strategy
    for option in (getattr(strategy, f.name) for f in fields(strategy)):
        for part in option if isinstance(option, tuple) else (option,):
            if isinstance(part, Strategy):
                yield from _parts(part)


def _part(outcome: Outcome, rows: Ints) -> Outcome:
    """The outcomes of some points."""
    return Outcome(
        outcome.loss[rows],
        constraint=None if outcome.constraint is None else outcome.constraint[rows],
        gradient=None if outcome.gradient is None else outcome.gradient[rows],
    )
