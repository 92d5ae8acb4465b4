"""What a worker does with a generator: run it step by step, and report while it runs.

Reports are gathered here and sent together, so that a step costs microseconds. What the
strategy judges by is sent at once; of the rest, what comes faster than the task's pace is
left out, and nothing waits for an answer. A trial is told to stop by an exception,
KeyboardInterrupt, which closes the generator: its `finally` clauses run.
"""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import rng
from ..scalars import real
from ..trial import COMPLETE, CRASHED, TIMEOUT, Floats
from .checkpoint import packed, reported
from .evaluate import Outcomes, arguments_of, overdue, worker
from .gradients import flattened
from .member import Member, Save
from .metrics import Invalid, Row, clean, columns_of, impossible
from .objective import Signature
from .records import Checkpoint, Elsewhere, Job, Reports, Results, Task
from .saved import Packed
from .surroundings import Surroundings
from .watchdog import Watchdog

State = Mapping[str, Any] | Save

_FLUSH, _LATEST = 50_000_000, 5_000_000_000  # ns between two sendings, unless one is due at once
_PATIENT = 500.0  # a task with a long pace, one of many, gathers for so many paces
_SAVE = 10_000_000_000  # ns between two checkpoints that no rung asks for


def stream(
    job: Job,
    signature: Signature,
    task: Task,
    kill: bool = False,
    put: Callable[[Packed], bytes | Elsewhere] = Packed.tobytes,
) -> Generator[Reports | Results]:
    """Run the trials of a task; what they report, and at the end their results.

    Arguments are as of `evaluate`; put makes bytes of a checkpoint, or leaves it somewhere. The
    reports of a trial have steps that ascend.
    """
    epoch = time.time_ns() - time.perf_counter_ns()
    seeds = rng.trial_seeds(job.seed, task.trials.number).tolist()
    batch = Outcomes(len(task.trials))
    rows: list[Row] = []
    budget = np.full(len(task.trials), np.nan)
    gather = _Gather(task, epoch, put)
    with Watchdog(kill) as watchdog, Surroundings() as surroundings:
        for i in range(len(task.trials)):
            surroundings.renew(seeds[i])
            run = _Run(job, signature, task, i, seeds[i], gather)
            yield from run.steps(batch, watchdog)
            rows.append(run.row if batch.state[i] == COMPLETE else {})
            budget[i] = run.step if batch.state[i] == COMPLETE else np.nan
    batch.metrics = columns_of(rows)
    if gather:
        yield gather.flush()
    yield batch.results(job, epoch, _reached(budget, task))


class _Run:
    """One trial at work.

    step  that it has reached
    row   metrics of its last report
    """

    def __init__(
        self, job: Job, signature: Signature, task: Task, i: int, seed: int, gather: _Gather
    ) -> None:
        self._job, self._signature, self._task, self._i = job, signature, task, i
        self._seed, self._gather = seed, gather
        self._start = task.starts.get(i) if signature.takes_trial else None  # else it cannot know
        self._budget = float(task.trials.budgets[i])
        self.step = self._start.step if self._start else 0.0
        self.row: Row = {}
        self._live = False  # whether an instance is where the trial goes on

    def steps(self, batch: Outcomes, watchdog: Watchdog) -> Iterator[Reports]:
        """Run it to its end, or its budget; how it ended goes into the batch."""
        i, timeout, gather = self._i, self._job.timeout, self._gather
        self._fetch()
        began = batch.began[i] = time.perf_counter_ns()
        deadline = math.inf if timeout is None else began + timeout * 1e9
        generator: Any = iter(())
        try:
            generator = self._begin()
            while not self.step >= self._budget:  # which may be NaN
                if timeout is not None:
                    watchdog.begin(max(deadline - time.perf_counter_ns(), 1) / 1e9)
                value = next(generator, _END)
                watchdog.end()  # what follows is ours, and not to be interrupted
                if value is _END:
                    break
                self._take(value, time.perf_counter_ns() - began)
                if gather.due:
                    yield gather.flush()
            if not self.row and self._start:
                self.row = reported(self._start.content)  # it had come to its end
            if not self.row:
                raise Invalid("expected a generator that yields metrics, found one without yield")
            self._check(self.row)
            gather.end(i)
            if gather.due:  # before anything changes what was saved
                yield gather.flush()
            if isinstance(self._job.objective, Member):
                self._job.objective.at = int(self._task.trials.number[i]), self.step
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            watchdog.end()
            batch.fail(i, error, timeout)
        finally:
            batch.took[i] = time.perf_counter_ns() - began
            gather.forget()
            _close(generator)
        if time.perf_counter_ns() > deadline and batch.state[i] not in (CRASHED, TIMEOUT):
            batch.state[i] = TIMEOUT
            batch.errors.setdefault(i, overdue(timeout or 0.0))

    def _fetch(self) -> None:
        """Bring the checkpoint here, where it is needed; if it is lost, so is the task."""
        objective, start = self._job.objective, self._start
        if isinstance(objective, Member):
            there = start is not None and objective.at == (start.number, start.step)
            self._live = there and self._task.trials.inherits[self._i] is None
            objective.at = None
        if start is not None and not self._live:
            self._start = replace(start, data=_Here(start.content), near=None)

    def _begin(self) -> Iterator[Any]:
        """The objective at work; an instance that is where the trial goes on loads nothing."""
        start = None if self._live else self._start
        run: Any = self._job.objective
        if self._live and isinstance(run, Member):
            run = run.go_on
        trial = self._task.trials.take(slice(self._i, self._i + 1))
        starts = {} if start is None else {0: start}
        (arguments,) = arguments_of(self._job, self._signature, trial, [self._seed], starts)
        generator: Iterator[Any] = run(*arguments)
        return generator

    def _take(self, value: Any, spent: int) -> None:
        """Take in what was yielded."""
        metrics, state = _split(value)
        row = clean(flattened(metrics, self._job.space), self._job.objectives)
        rungs = self._job.rungs
        step = _snapped(_step(row, self.step), (*rungs, self._budget))
        rung = bisect_right(rungs, step) - 1
        if rung >= 0 and rungs[rung] <= self.step:
            rung = -1  # it was reached before
        if rung >= 0:
            self._check(row, f"at step {step:g}, where it is compared with others: ")
        at_end = step >= self._budget
        if at_end:
            self._check(row)
        self.step, self.row = step, row
        kept = at_end
        if state is not None:  # what is saved is reported, too
            kept |= self._gather.save(self._i, step, state, row, rung >= 0 or at_end)
        self._gather.add(self._i, step, rung, spent, row, kept)

    def _check(self, row: Row, where: str = "") -> None:
        """Refuse what is no result, before it is saved as one."""
        if why := impossible(columns_of([row]), self._job.objectives):
            raise Invalid(f"{where}{why[0]}")


class _Gather:
    """Reports that wait to be sent together, and the state that was saved last."""

    def __init__(self, task: Task, epoch: int, put: Callable[[Packed], bytes | Elsewhere]) -> None:
        self._task, self._epoch, self._put = task, epoch, put
        self._pace = round(task.pace * 1e9)
        self._flush = min(max(_FLUSH, round(_PATIENT * self._pace)), _LATEST)
        self._items: list[tuple[int, float, int, int, int, Row]] = []
        self._held: tuple[int, float, int, int, int, Row] | None = None  # left out, if none follows
        self._saved: list[Checkpoint] = []
        self._state: tuple[float, State, Row] | None = None  # saved, and not sent
        self._at_once = False
        self._kept = self._sent = -math.inf  # when; never so far, however young the clock is
        self._stored = time.perf_counter_ns()

    def __bool__(self) -> bool:
        return bool(self._items or self._saved)

    def add(self, i: int, step: float, rung: int, spent: int, row: Row, keep: bool) -> None:
        """A report of trial i; it may be left out unless it is to be kept."""
        now = time.perf_counter_ns()
        item = (i, step, rung, now, spent, row)
        if rung < 0 and not keep and now - self._kept < self._pace:
            self._held = item
            return
        self._items.append(item)
        self._held, self._kept = None, now
        self._at_once |= rung >= 0

    def save(self, i: int, step: float, state: State, row: Row, at_rung: bool) -> bool:
        """A state of trial i: kept now, and True, if it stands at a rung or the last one is old."""
        now = time.perf_counter_ns()
        self._state = (step, state, row)
        if now_due := at_rung or now - self._stored > _SAVE:
            self._store(i, at_rung)
        return now_due

    def _store(self, i: int, at_rung: bool) -> None:
        if self._state is not None:
            number = int(self._task.trials.number[i])
            step, state, row = self._state
            data = packed(state() if isinstance(state, Save) else state, row)
            self._saved.append(Checkpoint(number, step, self._put(data), at_rung))
            self._state, self._stored = None, time.perf_counter_ns()

    def end(self, i: int) -> None:
        """Trial i is over: its last report and state count, however soon they came."""
        if self._held is not None:
            self._items.append(self._held)
        self._store(i, True)

    def forget(self) -> None:
        """What was held of a trial that is over; the next one's first report is kept."""
        self._held = self._state = None
        self._kept = -math.inf

    @property
    def due(self) -> bool:
        """Whether it is time to send."""
        if self._at_once or self._saved:
            return True
        return bool(self._items) and time.perf_counter_ns() - self._sent > self._flush

    def flush(self) -> Reports:
        """All that waits."""
        items, self._items = self._items, []
        saved, self._saved = tuple(self._saved), []
        self._sent, self._at_once = time.perf_counter_ns(), False
        row = np.array([item[0] for item in items], dtype=np.int64)
        attempts = self._task.attempts
        return Reports(
            row=row,
            number=self._task.trials.number[row],
            attempt=np.ones(len(row), dtype=np.int64) if attempts is None else attempts[row],
            step=np.array([item[1] for item in items], dtype=np.float64),
            rung=np.array([item[2] for item in items], dtype=np.int64),
            time=np.array([item[3] for item in items], dtype=np.int64) + self._epoch,
            seconds=np.array([item[4] for item in items], dtype=np.float64) * 1e-9,
            metrics=columns_of([item[5] for item in items]),
            saved=saved,
            worker=worker(),
        )


@dataclass(frozen=True)
class _Here:
    """What was elsewhere."""

    state: bytes | Packed

    def get(self) -> bytes | Packed:
        """It is here."""
        return self.state


_END = object()


def _split(value: Any) -> tuple[Any, State | None]:
    """What was yielded: metrics, and perhaps a state."""
    if not isinstance(value, tuple):
        return value, None
    if len(value) != 2 or not isinstance(value[1], (Mapping, Save)):
        raise Invalid(
            "expected `yield metrics` or `yield metrics, state` with a mapping as state, found a "
            f"tuple of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
        )
    return value


def _step(row: Row, last: float) -> float:
    """The step that a report is about: its own, if it says so, else one more."""
    if "step" not in row:
        return last + 1
    given = row.pop("step")
    step = real(given)
    if step is None or not last < step < math.inf:
        raise Invalid(f"step: expected a number above {last:g}, as steps ascend, found {given!r}")
    return step


def _snapped(step: float, marks: tuple[float, ...]) -> float:
    """The step, or the mark that it misses by rounding alone, as sums of 0.1 miss 0.3."""
    return next((mark for mark in marks if math.isclose(step, mark, rel_tol=1e-9)), step)


def _reached(budget: Floats, task: Task) -> Floats | None:
    """How far the trials got, if there are budgets."""
    return None if task.trials.budget is None else budget


def _close(generator: Any) -> None:
    """End the trial, and give back the memory of its device."""
    try:
        getattr(generator, "close", lambda: None)()
    except BaseException as error:  # a `finally` clause of the user's that fails
        if isinstance(error, KeyboardInterrupt):
            raise
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        import gc

        gc.collect()
        torch.cuda.empty_cache()
