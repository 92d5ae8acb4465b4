"""The seam behind which trials run: in this process, as Ray tasks, in simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .records import ExecutorEvent, Task


class Executor(Protocol):
    """Runs tasks and says what became of them. It holds no opinion about retries.

    For every task submitted exactly one `Done` or `Lost` comes out of `poll`, sooner or
    later, whatever happens to it; before it, any number of `Reported` if the objective is a
    generator. Nothing raises because of what a trial does.

    interruptible  whether trials run in this thread, so that KeyboardInterrupt ends them
    """

    interruptible: bool

    def slots(self) -> int:
        """How many tasks can run at once now; asked again and again, as clusters change."""

    def want(self, tasks: int) -> None:
        """So many tasks could run at once now, were there slots for all of them."""

    def submit(self, task: Task) -> None:
        """Start the task as soon as a slot is free. Returns at once."""

    def cancel(self, task: int) -> None:
        """End the task if it still runs: the trial is asked first, and forced after a moment.

        Its event (Lost, or Done) still comes, and its slot is taken until then.
        """

    def poll(self, timeout: float) -> Sequence[ExecutorEvent]:
        """What has happened, all of it; waits up to `timeout` seconds for something."""

    def close(self) -> None:
        """Cancel what runs and free everything. No events after this."""
