"""Evolution strategies that follow a gradient in the parameters of a normal distribution.

Points y = m + sigma s, s ~ N(0, I), come in mirrored pairs s, -s. Losses only count by their
ranks, as weights w. A generation of lambda results estimates how the expected rank changes with
m: g = -sigma sum w_i s_i, the natural gradient. m goes against it by any rule of
`raysearch.optim`; sigma follows, coordinate by coordinate:

openai  w_i from 1/2 (best) to -1/2 (worst), over lambda;  sigma stays
pgpe    w_i as above;  sigma <- sigma (1 + clip(1/2 sum w_i (s_i^2 - 1), -0.2, 0.2))
snes    w_i ~ max(0, log(lambda/2 + 1) - log i) of sum 1, less 1 / lambda;
        sigma <- sigma exp(eta / 2 sum w_i (s_i^2 - 1)),  eta = (3 + log d) / (5 sqrt(d))

Each takes d numbers of memory for every pending point, and time in proportion to d. What lies
beyond the bounds is folded back (`coordinates.folded`); a discrete parameter has the value in
whose stretch of the unit interval a place lies.

No straggler is waited for: a generation closes with its lambda-th result. What was drawn from
an earlier distribution is measured from the present one, s = (y - m) / sigma, and shortened to
|s| <= sqrt(d) + 2 d / (d + 2); so is a point from elsewhere, if it is better than all before.
A failed trial takes no part. Once all steps have vanished the search begins anew elsewhere.

m  (d,)  mean        sigma  (d,)  steps, in edges of the unit cube

Salimans et al. (2017), "Evolution strategies as a scalable alternative to reinforcement
learning", arXiv:1703.03864; Sehnke et al. (2010), "Parameter-exploring policy gradients",
Neural Networks 23; Schaul, Glasmachers & Schmidhuber (2011), "High dimensions and heavy tails
for natural evolution strategies", GECCO; Wierstra et al. (2014), "Natural evolution
strategies", JMLR 15.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..errors import UsageError
from ..optim import VECTOR_RULES, Rule
from ..rng import uniform
from ..space import Space
from ..trial import Batch, Floats, Ints, Outcome
from .base import State, Strategy
from .coordinates import WIDEST, folded, images, straight
from .known import Known
from .options import check_choice, check_float, check_int
from .pending import Pending, counting
from .proposals import free, settle

_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity
_STREAM = 3  # of random numbers for beginning anew
_VANISHED = 1e-12  # of the initial step
_ELSEWHERE = -1.0  # generation of a point that no distribution has drawn
_MOST = 0.2  # change of sigma at once, for pgpe
#: the rules that have a learning rate
_MOVERS = {
    name: rule for name, rule in VECTOR_RULES.items() if "lr" in {f.name for f in fields(rule)}
}


@dataclass(frozen=True, eq=False)
class EvolutionState(State):
    """The distribution, and the generation that it is being told; see the head of this file.

    names       of the arrays that the rule remembers
    moments     these arrays
    generation  how many have closed
    since       number of the first point after the search last began
    pending     of each point: its place y (d), and the generation that drew it
    rows        (b, d + 1) the same of those that were told, b < lambda
    losses      (b,) of these
    best        loss so far
    """

    m: Floats = field(kw_only=True)
    sigma: Floats = field(kw_only=True)
    names: tuple[str, ...] = field(kw_only=True)
    moments: tuple[Any, ...] = field(kw_only=True)
    pending: Pending = field(kw_only=True)
    rows: Floats = field(kw_only=True)
    losses: Floats = field(kw_only=True)
    generation: int = 0
    since: int = 0
    best: float = math.inf
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class EvolutionStrategy(Strategy[EvolutionState]):
    """Follows estimated gradients in very many continuous parameters; noise does little harm.

    method      snes: steps adapt quickly; pgpe: slowly; openai: they stay
    population  results that make a generation, an even number >= 4; None: 4 + 3 ln(parameters)
    step        initial standard deviation, in edges of the unit cube, in (0, 0.25]
    rule        of `raysearch.optim` that moves the mean: its name, or itself, as in
                Adam(lr=0.1); None: SGD for snes, else Adam
    lr          learning rate of one that is named: of SGD in natural gradients, of Adam in
                edges of the unit cube; None: 1 for SGD, 0.02 for others

    Raises UsageError if an option is out of range, or the rule cannot move a vector.

    >>> from raysearch.space import Float, Space
    >>> search = EvolutionStrategy(population=4)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 4)
    >>> bool(np.allclose(batch.x[::2] + batch.x[1::2], 1))  # pairs around the middle
    True
    >>> state = search.tell(state, batch, Outcome(loss=batch.x))
    >>> bool(state.m[0] < 0.5)
    True
    """

    beats_random: ClassVar[bool] = True

    method: Literal["snes", "pgpe", "openai"] = "snes"
    population: int | None = None
    step: float = 0.2
    rule: str | Rule | None = None
    lr: float | None = None

    def __post_init__(self) -> None:
        check_choice(self, "method", ("snes", "pgpe", "openai"))
        if self.population is not None:
            check_int(self, "population", 4)
            if self.population % 2:
                raise UsageError(
                    f"option population: expected an even number, since members come in pairs, "
                    f"found {self.population}"
                )
        check_float(self, "step", 0, WIDEST)
        itself = type(self.rule) in _MOVERS.values()
        if self.rule is not None and not itself:
            check_choice(self, "rule", tuple(_MOVERS))
        if self.lr is not None:
            check_float(self, "lr", 0, math.inf)
            if itself:
                raise UsageError(f"option lr: {self.rule!r} has its own; leave it out")

    def mover(self) -> Rule:
        """The rule that moves the mean."""
        if isinstance(self.rule, Rule):
            return self.rule
        name = self.rule or ("SGD" if self.method == "snes" else "Adam")
        lr = self.lr or (1.0 if name == "SGD" else 0.02)
        return _MOVERS[name](lr=lr)  # type: ignore[call-arg]  # all of these have one

    def init(self, space: Space, seed: int) -> EvolutionState:
        """In the middle of the space."""
        m = np.full(space.dim, 0.5)
        moments = self.mover().init(m.copy()).arrays()
        return EvolutionState(
            space,
            seed,
            m=m,
            sigma=np.full(space.dim, self.step),
            names=tuple(moments),
            moments=tuple(moments.values()),
            pending=Pending.none(space.dim + 1),
            rows=np.zeros((0, space.dim + 1)),
            losses=np.zeros(0),
        )

    def ask(self, state: EvolutionState, n: int) -> tuple[EvolutionState, Batch]:
        """Samples of the distribution as it is now, in mirrored pairs where nothing is illegal."""
        space, seed, d, known = state.space, state.seed, state.space.dim, state.known

        lines = straight(space)

        def places(u: Floats) -> Floats:
            return state.m + state.sigma * ndtri(u + _HALF_ULP)

        def propose(numbers: Ints, u: Floats) -> Floats:
            return folded(places(u), lines)

        if free(space):
            even = state.asked - state.asked % 2
            y = places(uniform(seed, even, n + 1, d))
            which = np.arange(state.asked - even, state.asked - even + n)
            y = np.where(which[:, None] % 2, 2 * state.m - y[which - which % 2], y[which])
            x = folded(y, lines)
        else:
            x, known = settle(space, known, seed, state.asked, n, d, propose)
            y = images(x, state.m, lines)
        number = np.arange(state.asked, state.asked + len(x))
        rows = np.insert(y, d, state.generation, axis=1)
        pending = state.pending.add(number, rows)
        state = replace(state, asked=state.asked + len(x), pending=pending, known=known)
        return state, Batch(x, number)

    def tell(self, state: EvolutionState, batch: Batch, outcome: Outcome) -> EvolutionState:
        """Complete the generation, and others after it."""
        pending, rows, own = state.pending.take(batch.number)
        left, losses, best = counting(batch, outcome, state.best)
        known, lines = state.known.tell(state.space, batch), straight(state.space)
        state = replace(state, pending=pending, best=best, known=known)
        for i in left.tolist():
            if own[i] and batch.number[i] < state.since:
                continue  # from before the search began anew
            if not own[i]:
                rows[i] = np.append(images(batch.x[i : i + 1], state.m, lines)[0], _ELSEWHERE)
            told = np.concatenate([state.rows, rows[i : i + 1]])
            state = replace(state, rows=told, losses=np.append(state.losses, losses[i]))
            if len(told) == self._lambda(state.space):
                state = self._closed(state)
        return state

    def max_pending(self, state: EvolutionState, slots: int) -> int:
        """What the generation lacks, or every slot."""
        return max(slots, self._lambda(state.space) - len(state.losses))

    # --- generations --------------------------------------------------------------------------

    def _lambda(self, space: Space) -> int:
        return self.population or 2 * (2 + math.ceil(1.5 * math.log(space.dim)))

    def _closed(self, state: EvolutionState) -> EvolutionState:
        """The state after its generation."""
        d, lam = state.space.dim, len(state.losses)
        rows = state.rows[np.argsort(state.losses, kind="stable")]
        s = (rows[:, :-1] - state.m) / state.sigma
        length, longest = np.linalg.norm(s, axis=1), math.sqrt(d) + 2 * d / (d + 2)
        drawn = (rows[:, -1] == state.generation) & free(state.space)  # else some are replaced
        far = ~drawn & (length > longest)
        s[far] *= (longest / length[far])[:, None]
        w = weights(self.method, lam)
        sigma = state.sigma * growth(self.method, w @ (s**2 - 1))
        sigma = np.clip(sigma, _VANISHED * self.step, WIDEST)
        m, moments = self._moved(state, -state.sigma * (w @ s))
        state = replace(
            state,
            m=m,
            sigma=sigma,
            moments=moments,
            generation=state.generation + 1,
            rows=rows[:0],
            losses=state.losses[:0],
        )
        return self._anew(state) if sigma.max() <= _VANISHED * self.step else state

    def _moved(self, state: EvolutionState, gradient: Floats) -> tuple[Floats, tuple[Any, ...]]:
        """The mean after a step of the rule, and what the rule remembers."""
        m, rule = state.m.copy(), self.mover()
        memory = rule.init(m).restore(dict(zip(state.names, state.moments, strict=True)))
        rule.step(m, gradient, memory)
        return m, tuple(memory.arrays().values())

    def _anew(self, state: EvolutionState) -> EvolutionState:
        """The state at the beginning of a search somewhere else."""
        fresh = self.init(state.space, state.seed)
        m = uniform(state.seed, state.generation, 1, state.space.dim, _STREAM)[0]
        return replace(state, m=m, sigma=fresh.sigma, moments=fresh.moments, since=state.asked)


def weights(method: str, n: int) -> Floats:
    """(n,) the weights w of n results, best first."""
    if method == "snes":
        u = np.maximum(0.0, math.log(n / 2 + 1) - np.log(np.arange(1, n + 1)))
        return np.asarray(u / u.sum() - 1 / n)
    return np.asarray((0.5 - np.arange(n) / (n - 1)) / n)


def growth(method: str, v: NDArray[Any]) -> NDArray[Any]:
    """(d,) factors of sigma, given v = sum w_i (s_i^2 - 1)."""
    if method == "snes":
        eta = (3 + math.log(len(v))) / (5 * math.sqrt(len(v)))
        return np.asarray(np.exp(eta / 2 * v))
    if method == "pgpe":
        return np.asarray(1 + np.clip(v / 2, -_MOST, _MOST))
    return np.ones_like(v)
