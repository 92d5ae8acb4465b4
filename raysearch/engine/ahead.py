"""Asking ahead: a slow strategy thinks in a thread, while trials run and results come in.

A suggestion of a model takes up to half a second. Slots do not wait for that: the loop holds
a few points ready, as many as trials have ended during the last ask, and a slot that becomes
free takes one of them while the next are thought of.

The thread computes from the state as it is; states never change, so nothing can come between.
What comes in meanwhile is told after the answer, and logged then: the log says in which order
it went, and a search is resumed as any other. Points that no slot has taken yet are pending
there. An ask that has not come to its end when the search does, or its driver dies, has never
been made; results that wait for it in a driver that dies are lost as work in flight is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from ..strategies.base import State
from ..trial import Batch
from .proposer import Proposer
from .records import Trials

T = TypeVar("T")


class Ahead:
    """Asks the strategy of a proposer in a thread, once at a time."""

    def __init__(self, proposer: Proposer) -> None:
        self._proposer = proposer
        self._answer: Future[tuple[State, Batch]] | None = None

    @property
    def busy(self) -> bool:
        """Whether there is an ask that has not been answered yet."""
        return self._answer is not None

    def ask(self, n: int) -> None:
        """Begin to ask for n points."""
        strategy, state = self._proposer.strategy, self._proposer.state
        self._answer = _in_thread(lambda: strategy.ask(state, n))

    def answer(self) -> Trials | None:
        """What was asked for, once it is there; raises what the strategy has raised."""
        if self._answer is None or not self._answer.done():
            return None
        answer, self._answer = self._answer.result(), None
        return self._proposer.adopt(*answer)

    def forget(self) -> None:
        """As if the ask that goes on had never been made."""
        self._answer = None


def _in_thread(compute: Callable[[], T]) -> Future[T]:
    """What a function returns or raises; the end of the program does not wait for it."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(compute())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=work, name="raysearch-ask", daemon=True).start()
    return future
