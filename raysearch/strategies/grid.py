"""Grid search: every combination of chosen levels, once.

Continuous parameters get a number of levels, evenly spread over their scale, both bounds
included; discrete ones all their values, or so many of them. Parameters that are not
active have no level, so that conditional spaces have no repeated points. The i-th
combination is computed from i (`space.lattice`), so that grids of any size start at once; in
shuffled order any beginning of the grid covers all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from ..errors import UsageError
from ..space import Space
from ..space.lattice import Lattice
from ..space.names import nearest
from ..trial import Batch, Outcome
from .base import ANY_NUMBER, State, Strategy
from .known import Known
from .memo import per_space
from .options import check_choice, check_int, integer
from .proposals import listed

_MOST = 10_000  # coordinates, whose combinations have numbers of as many digits


@dataclass(frozen=True, eq=False)
class GridState(State):
    """How far the grid has been gone through.

    known   points from elsewhere; the grid's own need not be remembered
    cursor  how many combinations have been used up, illegal ones among them
    """

    known: Known = field(default_factory=Known)
    cursor: int = 0


@dataclass(frozen=True)
class GridSearch(Strategy[GridState]):
    """Every combination of levels, once; complete, for few parameters.

    levels  of continuous parameters, an integer >= 1; or a mapping from names to the levels
            of these parameters, continuous ones that it leaves out having 5
    order   lexicographic: the last parameter changes fastest; shuffled: by the seed

    Raises UsageError if an option is wrong, or `levels` names an unknown parameter.

    >>> from raysearch.space import Choice, Float, Space
    >>> space = Space({"rule": Choice(["sgd", "adam"]), "lr": Float(0, 1)})
    >>> grid = GridSearch(levels=2)
    >>> state, batch = grid.ask(grid.init(space, seed=0), 3)
    >>> [(c["rule"], c["lr"]) for c in space.decode(batch.x).configs()]
    [('sgd', 0.0), ('sgd', 1.0), ('adam', 0.0)]
    """

    multi_objective: ClassVar[bool] = True
    seedless: ClassVar[bool] = True

    levels: int | Mapping[str, int] = 5
    order: Literal["lexicographic", "shuffled"] = "lexicographic"

    def __post_init__(self) -> None:
        if isinstance(self.levels, Mapping):
            each = {name: integer(f"levels[{name!r}]", n) for name, n in self.levels.items()}
            object.__setattr__(self, "levels", each)
        else:
            check_int(self, "levels")
        check_choice(self, "order", ("lexicographic", "shuffled"))

    def init(self, space: Space, seed: int) -> GridState:
        """At the first combination."""
        if space.dim > _MOST:
            raise UsageError(
                f"strategy: GridSearch expects at most {_MOST} numbers in a configuration, found "
                f"{space.dim}; use RandomSearch()"
            )
        for name in self.levels if isinstance(self.levels, Mapping) else ():
            if name not in space.parameters:
                raise UsageError(
                    f"option levels: expected names of parameters, found {name!r}; "
                    + nearest(name, space.parameters)
                )
        return GridState(space, seed)

    def ask(self, state: GridState, n: int) -> tuple[GridState, Batch]:
        """The next n combinations that meet the constraints; fewer at the end of the grid."""
        each = tuple(sorted(self.levels.items())) if isinstance(self.levels, Mapping) else ()
        continuous = self.levels if isinstance(self.levels, int) else 5
        lattice = _lattice(state.space, each, continuous)
        seed = state.seed if self.order == "shuffled" else None
        x, _, cursor = listed(state.space, state.known, state.cursor, n, lattice, seed)
        batch = Batch(x, np.arange(state.asked, state.asked + len(x)))
        return replace(state, asked=state.asked + len(x), cursor=cursor), batch

    def tell(self, state: GridState, batch: Batch, outcome: Outcome) -> GridState:
        """Losses change nothing; points from elsewhere are not proposed again."""
        return replace(state, known=state.known.tell(state.space, batch))

    def max_pending(self, state: GridState, slots: int) -> int:
        """Any number: the grid does not depend on losses."""
        return ANY_NUMBER


@per_space
def _lattice(space: Space, levels: tuple[tuple[str, int], ...], continuous: int) -> Lattice:
    return Lattice(space.parameters, dict(levels), continuous)
