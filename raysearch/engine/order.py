"""Lets results through in the order in which their trials were asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .records import Finished


class InOrder:
    """Holds results, one by one, until all that were asked before them have gone through.

    numbers  of the trials that are expected first, in order
    """

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._turn = deque(numbers)
        self._held: dict[int, Finished] = {}

    def __len__(self) -> int:
        """How many results are held."""
        return len(self._held)

    @property
    def due(self) -> bool:
        """Whether the result whose turn it is has come in."""
        return bool(self._turn) and self._turn[0] in self._held

    def expect(self, numbers: Iterable[int]) -> None:
        """These have been asked, too."""
        self._turn.extend(numbers)

    def hold(self, finished: Finished) -> None:
        """These have come in."""
        for i, number in enumerate(finished.number.tolist()):
            self._held[number] = finished.take(slice(i, i + 1))

    def next(self) -> Finished:
        """The result that is due."""
        return self._held.pop(self._turn.popleft())

    def release(self) -> list[Finished]:
        """All that is held, due or not."""
        return list(self._held.values())
