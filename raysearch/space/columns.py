"""Columns: k configurations side by side, one typed array per parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choice import Choice
from .parameters import Array, Parameter


@dataclass(frozen=True, eq=False)
class Columns(Mapping[str, Array]):
    """k configurations, stored by column.

    As a mapping it gives what a vectorised objective works on: parameter name -> array of
    length k, not to be written to; float64 for `Float`, int64 for `Int` (float64 where
    conditional), values as objects for `Choice`, float64 (k, *shape) for `Array`. Inactive
    entries are NaN, or None for a `Choice`.

    parameters  name -> parameter
    numbers     name -> (k,) or (k, *shape) values as numbers; the index of a value of a `Choice`;
                meaningless where inactive
    active      name -> (k,) whether active, for conditional parameters only
    k           how many configurations
    """

    parameters: Mapping[str, Parameter]
    numbers: Mapping[str, Array]
    active: Mapping[str, NDArray[np.bool_]]
    k: int

    def __getitem__(self, name: str) -> Array:
        parameter, numbers = self.parameters[name], self.numbers[name]
        active = self.active.get(name)
        values: Array
        if isinstance(parameter, Choice):
            values = np.fromiter(parameter.to_list(numbers), dtype=object, count=self.k)
            if active is not None:
                values[~active] = None
        else:
            values = numbers.view()
            if active is not None:
                values = np.where(active.reshape(-1, *(1,) * (numbers.ndim - 1)), numbers, np.nan)
        values.flags.writeable = False
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self.parameters)

    def __len__(self) -> int:
        """How many parameters there are, as of any mapping; `k` counts configurations."""
        return len(self.parameters)

    def take(self, rows: Any) -> Columns:
        """The configurations with these indices (any numpy index: array, slice, mask)."""
        numbers = {name: values[rows] for name, values in self.numbers.items()}
        active = {name: mask[rows] for name, mask in self.active.items()}
        k = len(np.arange(self.k)[rows])
        return Columns(self.parameters, numbers, active, k)

    @staticmethod
    def concat(parts: Sequence[Columns]) -> Columns:
        """The configurations of all parts, which are of one space, one after the other."""
        first = parts[0]
        numbers = {n: np.concatenate([part.numbers[n] for part in parts]) for n in first.numbers}
        active = {n: np.concatenate([part.active[n] for part in parts]) for n in first.active}
        return Columns(first.parameters, numbers, active, sum(part.k for part in parts))

    def configs(self) -> list[dict[str, Any]]:
        """One dict per configuration, of its active parameters."""
        names = list(self.parameters)
        lists = [p.to_list(self.numbers[name]) for name, p in self.parameters.items()]
        configs = [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
        for name, mask in self.active.items():
            for i in np.flatnonzero(~mask).tolist():
                del configs[i][name]
        return configs
