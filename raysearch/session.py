"""One session of a search, from the first trial to the last, and what its end means."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from .engine.ahead import Ahead
from .engine.driver import Driver, steady_clock
from .engine.events import Why
from .engine.executors import Where, open_executor
from .engine.loop import Loop
from .engine.progress import Progress
from .engine.proposer import Host, Proposer
from .engine.records import Job, Reports
from .engine.signals import Heard, listening
from .errors import ClusterError, ClusterLost, ClusterTooSmall, Interrupted, SearchFailed
from .log import MemoryLog, StudyLog
from .monitor import Callback, Monitor
from .report.live import Live
from .stopping import Condition
from .study import Study


@dataclass(frozen=True)
class View:
    """What is shown, and to whom."""

    progress: bool | Callable[[Progress], None]
    callbacks: Sequence[Callback]
    strategy: str
    trials: int | None
    time_limit: float | None
    conditions: Sequence[Condition] = ()
    full: float = -math.inf
    notes: Sequence[str] = ()


def run_session(
    loop: Loop,
    host: Host,
    job: Job,
    log: StudyLog | MemoryLog,
    where: Where,
    view: View,
    reported: Mapping[int, Reports] | None = None,
) -> Study:
    """Search, and say how it ended."""
    study = Study(log, job.space)
    with ExitStack() as stack:
        show = view.progress if callable(view.progress) else None
        if view.progress is True:
            live = stack.enter_context(Live())
            show = live.update
        monitor = Monitor(
            study,
            show,
            view.callbacks,
            strategy=view.strategy,
            trials=view.trials,
            time_limit=view.time_limit,
            study=log.place if isinstance(log, StudyLog) else None,
            conditions=view.conditions,
            full=view.full,
            notes=(*view.notes, *log.notes),
        )
        why: Why | None = "stopped" if monitor.met else loop.done(steady_clock())
        if why:
            heard = Heard()
        else:
            output = log.folder / "run.log" if log.folder else None
            executor = stack.enter_context(open_executor(job, where, output))
            ahead = None
            if loop.ahead and isinstance(host, Proposer) and not executor.interruptible:
                ahead = Ahead(host)
            driver = Driver(loop, host, executor, log, monitor, reported=reported, ahead=ahead)
            heard = stack.enter_context(listening(driver.stop, interrupt=executor.interruptible))
            try:
                why = driver.run()
            except ClusterTooSmall:  # the same command would fail again
                raise
            except ClusterError as error:
                raise ClusterLost(f"{error}; what is finished is {_safe(log)}") from error
            except KeyboardInterrupt:  # the second one, or a trial's own
                if heard.number is None:
                    raise
                why = "stopped"
    if log.checkpoints.keep == "best" and (monitor.met or why in ("trials", "exhausted")):
        log.checkpoints.only(_winners(Study(log, job.space)))
    log.close()
    return _conclude(Study(log, job.space), why, heard, monitor, _safe(log))


def _conclude(study: Study, why: Why, heard: Heard, monitor: Monitor, safe: str) -> Study:
    """Return the study, or raise what its end calls for."""
    if why == "failures":
        error = (monitor.error or "").strip()
        summary = error.rpartition("\n")[2]
        details = error if summary != error else ""
        raise SearchFailed(
            f"{summary}\n{details}\nThe first {monitor.failed} trials all failed, so the "
            "search was ended; mend the objective and start again, or pass max_failures=None to go "
            "on through failures"
        )
    if heard.number is not None:
        name = signal.Signals(heard.number).name
        raise Interrupted(
            f"ended by {name}, in order: {len(study)} trials, {safe}", study, heard.number
        )
    return study


def _winners(study: Study) -> set[int]:
    """Numbers of the best trial, or of the best compromises, and of all they went on from."""
    several = len(study.objectives.names) > 1
    numbers = set((study.pareto["number"].to_numpy() if several else study.ranking[:1]).tolist())
    parent = dict(zip(*study.columns("number", "parent").to_pydict().values(), strict=True))
    found: set[int] = set()
    while numbers:
        found |= numbers
        numbers = {parent[n] for n in numbers if parent[n] is not None}
    return found


def _safe(log: StudyLog | MemoryLog) -> str:
    """What remains of a search that was cut short."""
    if isinstance(log, MemoryLog):
        return "in memory only"
    return f"stored in {log.place}; the same command goes on from there"
