"""A whole search, of as many sessions as it takes, among troubles; and what must hold.

Engine, strategies, log and resuming are the real ones; only time, workers and disk are not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ... import rng, strategies
from ...engine.driver import Driver
from ...engine.events import Why
from ...engine.limits import Limits
from ...engine.loop import Loop
from ...engine.objective import Signature
from ...engine.proposer import Proposer, Replay
from ...engine.records import Finished, Job, Objectives, Reports, Results, Task, Trials
from ...errors import StudyStorage
from ...log import Reader, StudyLog
from ...log.reports import curves
from ...log.rows import Rows
from ...resume import fold, stored_history, stored_reports
from ...simulate.chance import LogNormal
from ...simulate.clock import VirtualClock
from ...simulate.executor import SimulatedExecutor
from ...simulate.streams import run_through
from ...strategies.base import ANY_NUMBER
from ...trial import COMPLETE, FAILED, STOPPED, Trial
from .around import Guard, Record, SetClock
from .hazards import Died, Hazards
from .scenario import Scenario, draw_scenario
from .storage import Disk, FaultyStorage

_TROUBLED = 20  # sessions after which nobody stops the search and the disk is mended
_MOST_SESSIONS = 60
_ENDS = ("trials", "exhausted")
_AHEAD = 8  # trials that are asked to compare two strategies
_LOSS = Objectives(("loss",), (False,))


def play(seed: int) -> None:
    """Search among the troubles of a seed; AssertionError if a promise is not kept."""
    scenario = draw_scenario(seed)
    world = World(scenario, seed)
    world.search()
    world.check()
    if world.fixed:
        calm = World(scenario.calm(), seed)
        calm.search()
        ours, theirs = world.table(), calm.table()
        assert ours == theirs, f"other trials than without troubles: {_first(ours, theirs)}"


class World:
    """A disk, and the drivers that come and go until the search on it is over.

    scenario  the search and its troubles
    seed      of all draws
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self._seed = seed
        self._disk = Disk()
        self._clock = VirtualClock()
        self._lost: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()
        self._told: list[Finished] = []  # what the log has acknowledged
        self._end: tuple[Proposer, Finished]  # the strategy, and the study
        bears_any = scenario.strategy.max_pending(self._proposer().state, 1) >= ANY_NUMBER
        self.in_order = scenario.reproducible or not bears_any
        #: whether the trials, by number, depend on nothing but the seed
        self.fixed = scenario.reproducible or bears_any or scenario.workers == 1

    def _proposer(self) -> Proposer:
        scenario = self.scenario
        return Proposer(
            scenario.strategy,
            scenario.space,
            _LOSS,
            scenario.seed,
            reproducible=scenario.reproducible,
        )

    # --- sessions -------------------------------------------------------------------------

    def search(self) -> None:
        """Start drivers, one after the other, until one of them brings the search to its end."""
        for session in range(_MOST_SESSIONS):
            scenario = self.scenario
            if session >= _TROUBLED:
                scenario = replace(
                    scenario, disk_full=0.0, disk_broken=0.0, stops=0.0, time_limits=0.0
                )
            draw = rng.generator(self._seed, 1 + session)
            deaths = self.scenario.deaths
            dies_after = deaths[session] if session < len(deaths) else None
            hazards = Hazards(scenario, draw, self._lost, self._struck, dies_after)
            try:
                why = self._session(hazards)
            except (Died, StudyStorage):
                why = None
            self._disk.locked = False  # as the process is gone
            if why in _ENDS:
                return
        raise AssertionError(f"the search does not end, not in {_MOST_SESSIONS} sessions")

    def _session(self, hazards: Hazards) -> Why:
        scenario = hazards.scenario
        spec = {
            "space": scenario.space.to_json(),
            "strategy": strategies.to_json(scenario.strategy),
            "metric": _LOSS.to_json(),
            "seed": scenario.seed,
            "first": 0,
        }
        storage = FaultyStorage(self._disk, hazards, scenario.grows)
        with StudyLog.open(storage, scenario.space, spec) as log:
            proposer = self._proposer()
            reports = partial(stored_reports, storage)
            past = fold(stored_history(storage), spec, proposer, reports)
            clock = SetClock(self._clock, hazards)
            loop = Loop(
                Limits(scenario.trials, hazards.deadline(clock()), scenario.retries, None),
                proposer.max_pending(1),
                finished=past.finished,
                completed=past.completed,
                backlog=past.pending,
                in_order=self.in_order,
                window=scenario.workers if scenario.reproducible else None,
                judged=bool(proposer.rungs),
            )
            executor = SimulatedExecutor(
                self._takes,
                self._returns,
                scenario.workers,
                self._clock,
                hazards.fate,
                scenario.outages,
                hazards.network,
                streams=self._streams if scenario.strategy.budgets() else None,
            )
            guard = Guard(executor, loop, hazards, None if self.in_order else proposer)
            record = Record(log, hazards, self._told)
            driver = Driver(
                loop,
                proposer,
                guard,
                record,
                hazards.stop,
                clock,
                self._clock.sleep,
                math.inf,
                past.reported,
            )
            why = driver.run()
        assert not loop.running, f"{len(loop.running)} tasks are still known at the end"
        if why in _ENDS:
            assert not loop.pending, f"{loop.pending} trials are pending at the end"
            self._end = proposer, self._stored()
        return why

    def _takes(self, trials: Trials) -> Any:
        return LogNormal(self.scenario.scale, 1.0)(trials, self.scenario.seed)

    def _streams(self, task: Task) -> tuple[list[Reports], Results]:
        rungs = self.scenario.strategy.rungs()
        job = Job(self._train, self.scenario.space, _LOSS, self.scenario.seed, rungs=rungs)
        return run_through(job, Signature(takes_trial=True, reports=True), task)

    def _train(self, config: Mapping[str, Any], trial: Trial) -> Iterator[Any]:
        epoch = trial.checkpoint["epoch"] if trial.checkpoint else 0
        while True:
            epoch += 1
            if trial.number in self.scenario.failing and epoch > trial.number % 4:
                raise ArithmeticError("failing")
            noise = rng.generator(trial.seed, epoch).random()  # whatever the attempt
            yield {"loss": config["x"] ** 2 + noise / epoch}, {"epoch": epoch}

    def _returns(self, trials: Trials) -> Results:
        numbers = trials.number.tolist()
        failing = [n in self.scenario.failing for n in numbers]
        return Results(
            np.where(failing, FAILED, COMPLETE).astype(np.uint8),
            {"loss": np.where(failing, np.nan, trials.columns.numbers["x"] ** 2)},
            {i: "failing" for i, fails in enumerate(failing) if fails},
            np.zeros(len(numbers), dtype=np.int64),
            np.zeros(len(numbers)),
            "",
        )

    # --- what must hold -------------------------------------------------------------------

    def check(self) -> None:
        """Every trial once, as many as wanted, all that was acknowledged, and a true replay."""
        self._check_trials()
        self._check_told()
        self._check_state()

    def _check_trials(self) -> None:
        scenario, (_, stored) = self.scenario, self._end
        wanted = int(min(scenario.trials, scenario.space.size))
        numbers = stored.number.tolist()
        twice = [n for n, count in Counter(numbers).items() if count > 1]
        assert not twice, f"trials {twice} were told more than once"
        assert sorted(numbers) == list(range(wanted)), f"{len(numbers)} trials, not {wanted}"

    def _check_told(self) -> None:
        """What the log has acknowledged is there, in that order, as it was told."""
        _, stored = self._end
        place = {number: i for i, number in enumerate(stored.number.tolist())}
        last = -1
        for told in self._told:
            rows = np.array([place[n] for n in told.number.tolist()])
            assert (np.diff(rows, prepend=last) > 0).all(), "trials stand in another order"
            last = int(rows[-1])
            for name in ("state", "attempts", "after", "told"):
                same = getattr(stored, name)[rows] == getattr(told, name)
                assert same.all(), f"{name} is not what was acknowledged"

    def _check_state(self) -> None:
        """A replay of the log brings a strategy to where the last one was: both go on alike."""
        proposer, stored = self._end
        replayed = self._proposer()
        Replay(replayed).take(stored, curves(stored_reports(self._quiet_storage()), _LOSS))
        asked, again = proposer.ask(_AHEAD), replayed.ask(_AHEAD)
        same = asked.columns.configs() == again.columns.configs()
        assert same, "a replay of the log proposes other trials"

    def table(self) -> list[tuple[Any, ...]]:
        """What was found, without all that depends on time: in the order told, if that is fixed."""
        _, stored = self._end
        losses = _LOSS.losses(stored.state, stored.metrics)[:, 0].tolist()
        rows = [
            (
                number,
                int(stored.state[i]),
                repr(losses[i]),
                repr(config),
                repr(stored.budget[i]) if stored.state[i] <= STOPPED else None,
                (stored.errors.get(i) or "").strip().rpartition("\n")[2],
            )
            for i, (number, config) in enumerate(
                zip(stored.number.tolist(), stored.columns.configs(), strict=True)
            )
        ]
        return rows if self.in_order else sorted(rows)

    def _quiet_storage(self) -> FaultyStorage:
        draw = rng.generator(self._seed, 0)
        return FaultyStorage(self._disk, Hazards(self.scenario.calm(), draw, Counter(), Counter()))

    def _stored(self) -> Finished:
        batches = list(Reader(self._quiet_storage()).batches())
        table = pa.Table.from_batches(batches).combine_chunks()
        return Rows(self.scenario.space).from_batch(table.to_batches()[0])


def _first(ours: Sequence[Any], theirs: Sequence[Any]) -> str:
    """The first difference."""
    pairs = zip(ours, theirs, strict=False)
    return next((f"{a} for {b}" for a, b in pairs if a != b), f"{len(ours)} for {len(theirs)}")
