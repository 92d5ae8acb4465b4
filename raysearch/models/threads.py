"""One thread for linear algebra, where matrices are small and other cores have trials to run.

With a few hundred points several threads gain nothing on an idle machine. On a busy one each
product waits for the slowest thread: a suggestion then takes up to ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, the BLAS of this process uses one thread.

    >>> with one_thread():
    ...     numbers_of_threads()
    {1}
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


def numbers_of_threads() -> set[int]:
    """How many threads each BLAS of this process uses."""
    return {library.num_threads for library in _libraries().select(user_api="blas").lib_controllers}


@cache
def _libraries() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  (whose BLAS has to be there to be found)

    return ThreadpoolController()
