"""What a worker does: run the trials of a task, one after the other, and report on them.

Nothing that a trial does gets out of here, except an end of the process and Ctrl-C. For
trials of microseconds, what is done per trial is kept under one microsecond: values are
collected as they come, and checked and laid out for the whole batch.
"""

from __future__ import annotations

import math
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import rng
from ..secret import mask
from ..trial import COMPLETE, CRASHED, FAILED, INVALID, ROOT, TIMEOUT, Floats, Trial
from .checkpoint import inherited
from .gradients import flattened
from .metrics import Invalid, Row, clean, clean_columns, columns_of, impossible, text
from .objective import Signature, together
from .records import Checkpoint, Job, Metrics, Results, Trials
from .surroundings import Surroundings
from .watchdog import TimeUp, Watchdog

_BRIEF = 1_000_000  # ns; a shorter trial is not cleaned up after on its own
_HEAD, _TAIL = 48_000, 16_000  # bytes of a traceback that are kept
_HERE = os.path.dirname(__file__)
_CONTROL = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])  # all but \t and \n


def evaluate(job: Job, signature: Signature, trials: Trials, kill: bool = False) -> Results:
    """Run the trials.

    job        what they share
    signature  of the objective, from `examine`, that is no generator (see `stream`)
    trials     to be run
    kill       whether the process may be ended if a trial hangs beyond its timeout

    The trial's folder, environment, signal handlers and the state of the global random
    generators are put back after the batch, and between trials that take over 1 ms (between
    all of them, if the job is to be reproducible).
    """
    epoch = time.time_ns() - time.perf_counter_ns()
    with Watchdog(kill) as watchdog, Surroundings() as surroundings:
        some = trials.number[:1] if signature.vectorized else trials.number
        seeds = rng.trial_seeds(job.seed, some).tolist()
        run = _run_columns if signature.vectorized else _run_each
        batch = run(job, signature, trials, seeds, watchdog, surroundings)
    return batch.results(job, epoch)


def worker() -> str:
    """The name of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Outcomes:
    """What is known about k trials so far; times in ns by the monotonic clock."""

    def __init__(self, k: int) -> None:
        self.state: Any = [COMPLETE] * k  # lists, or arrays
        self.errors: dict[int, str] = {}
        self.metrics: Metrics = {}
        self.began: Any = [0] * k
        self.took: Any = [0] * k

    def fail(self, i: int, error: BaseException, timeout: float | None) -> None:
        """Trial i has ended like this."""
        self.state[i], self.errors[i] = _explain(error, timeout)

    def results(self, job: Job, epoch: int, budget: Floats | None = None) -> Results:
        """All of it, checked once more; `epoch` is the time at the monotonic clock's zero."""
        for i, why in impossible(self.metrics, job.objectives).items():
            if self.state[i] == COMPLETE:
                self.state[i], self.errors[i] = INVALID, why
        return Results(
            np.array(self.state, dtype=np.uint8),
            self.metrics,
            self.errors,
            np.array(self.began, dtype=np.int64) + epoch,
            np.array(self.took, dtype=np.float64) * 1e-9,
            worker(),
            budget,
        )


def _run_each(
    job: Job,
    signature: Signature,
    trials: Trials,
    seeds: list[int],
    watchdog: Watchdog,
    surroundings: Surroundings,
) -> Outcomes:
    objective, objectives, timeout = job.objective, job.objectives, job.timeout
    clock = time.perf_counter_ns
    batch = Outcomes(len(trials))
    began, took = batch.began, batch.took
    rows: list[Any] = []
    spent = _BRIEF  # so that the first trial has fresh surroundings
    for i, arguments in enumerate(arguments_of(job, signature, trials, seeds)):
        if spent >= _BRIEF or job.reproducible:
            surroundings.renew(seeds[i])
        start = clock()
        try:
            if timeout is not None:
                watchdog.begin(timeout)
            value = objective(*arguments)
            watchdog.end()
            row = value if type(value) is float else clean(flattened(value, job.space), objectives)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            watchdog.end()
            batch.fail(i, error, timeout)
            row = {}
        spent = clock() - start
        began[i], took[i] = start, spent
        if timeout is not None and spent > timeout * 1e9 and batch.state[i] != CRASHED:
            batch.state[i] = TIMEOUT
            batch.errors.setdefault(i, overdue(timeout))
            row = {}
        rows.append(row)
    batch.metrics = _table(rows, batch, job)
    return batch


def arguments_of(
    job: Job,
    signature: Signature,
    trials: Trials,
    seeds: list[int],
    starts: Mapping[int, Checkpoint] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """What each call of the objective gets; a new dict for each, which it may keep."""
    configs = trials.columns.configs()
    if not signature.takes_trial:
        return zip(configs)
    parents, inherit = trials.parents.tolist(), trials.inherits.tolist()
    budgets = [None if math.isnan(b) else b for b in trials.budgets.tolist()]
    states = (starts or {}).get
    second = (
        Trial(
            number,
            config,
            seed,
            job.data,
            budget,
            None if parent == ROOT else parent,
            inherited(start.content, names if start.number != number else None) if start else None,
            job.device,
        )
        for i, (number, config, seed, budget, parent, names) in enumerate(
            zip(trials.number.tolist(), configs, seeds, budgets, parents, inherit, strict=True)
        )
        for start in [states(i)]
    )
    return zip(configs, second, strict=True)


def _table(rows: list[Any], batch: Outcomes, job: Job) -> Metrics:
    """Columns from rows, each a mapping of metrics or the bare value of the objective."""
    names = job.objectives.needed
    kinds = set(map(type, rows))
    if kinds == {float} and len(names) == 1:
        return {names[0]: np.array(rows)}
    table: list[Row] = []
    for i, row in enumerate(rows):
        if type(row) is float:
            try:
                row = clean(row, job.objectives)
            except Invalid as error:
                batch.fail(i, error, None)
                row = {}
        table.append(row)
    return columns_of(table)


def _run_columns(
    job: Job,
    signature: Signature,
    trials: Trials,
    seeds: list[int],
    watchdog: Watchdog,
    surroundings: Surroundings,
) -> Outcomes:
    """Call a vectorized objective once; the trials share its time, and its fate."""
    k = len(trials)
    batch = Outcomes(k)
    limit = None if job.timeout is None else job.timeout * k
    surroundings.renew(seeds[0])
    start = time.perf_counter_ns()
    state, why = COMPLETE, ""
    try:
        if limit is not None:
            watchdog.begin(limit)
        value = job.objective(together(trials.columns))
        watchdog.end()
        batch.metrics = clean_columns(flattened(value, job.space), job.objectives, k)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        watchdog.end()
        state, why = _explain(error, limit)
    spent = time.perf_counter_ns() - start
    if limit is not None and spent > limit * 1e9 and state != CRASHED:
        state, why = TIMEOUT, why or overdue(limit)
        batch.metrics = {}
    batch.state = np.full(k, state, dtype=np.uint8)
    batch.errors = {} if state == COMPLETE else dict.fromkeys(range(k), why)
    batch.began = start + np.arange(k) * spent // k
    batch.took = np.full(k, spent // k)
    return batch


# --- what went wrong, for people ------------------------------------------------------------


def overdue(timeout: float) -> str:
    """What is said of a trial that has run too long."""
    return f"ran longer than its timeout of {timeout:g} s"


def _explain(error: BaseException, timeout: float | None) -> tuple[int, str]:
    """The state of a trial that ended like this, and the explanation."""
    if isinstance(error, Invalid):
        return INVALID, f"the objective's result: {error}"
    if isinstance(error, TimeUp) and timeout is not None:
        return TIMEOUT, _tidy(f"{overdue(timeout)}; it was here:\n{_frames(error)}")
    if isinstance(error, SystemExit):
        return CRASHED, _tidy(f"sys.exit({error.code!r:.80})\n{_frames(error)}")
    try:
        error.__traceback__ = _own(error)
        report = "".join(traceback.format_exception(error))
    except BaseException:  # its __str__, __notes__ or the like fail in their turn
        report = f"{type(error).__name__} (it cannot be shown)\n{_frames(error)}"
    return FAILED, _tidy(report)


def _own(error: BaseException) -> Any:
    """The traceback from the first frame that is the user's."""
    place = error.__traceback__
    while place is not None and os.path.dirname(place.tb_frame.f_code.co_filename) == _HERE:
        place = place.tb_next
    return place


def _frames(error: BaseException) -> str:
    """Where it happened, without the watchdog's frame."""
    places = traceback.extract_tb(error.__traceback__)
    return "".join(
        traceback.format_list([p for p in places if os.path.dirname(p.filename) != _HERE])
    )


def _tidy(report: str) -> str:
    """Storable, printable, without secrets, and at most 64 kB, without its middle."""
    report = mask(text(report).translate(_CONTROL))
    encoded = report.encode()
    if len(encoded) > _HEAD + _TAIL:
        head, tail = encoded[:_HEAD], encoded[-_TAIL:]
        middle = f"\n... ({len(encoded)} bytes in all) ...\n".encode()
        report = (head + middle + tail).decode(errors="ignore")
    return report
