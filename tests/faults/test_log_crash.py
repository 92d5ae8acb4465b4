"""The disk fails, or the process dies, at any of its calls: nothing acknowledged is lost."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from raysearch.errors import StudyError, StudyStorage
from raysearch.log import Reader, StudyLog, check, local
from raysearch.space import Float, Space
from raysearch.testing.told import made_up

SPACE = Space({"x": Float(0, 1)})
SPEC = {"space": SPACE.to_json(), "metric": {"loss": "min"}}


class FailingOs:
    """The module os, of which the n-th call that changes a file fails."""

    CALLS = ("write", "fsync", "rename", "link", "unlink", "ftruncate", "open", "mkdir")

    def __init__(self, n, number, calls=CALLS):
        self.n, self.number, self.calls = n, number, calls

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.calls:
            return real

        def call(*args, **kwargs):
            self.n -= 1
            if self.n == 0:
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                raise OSError(self.number, os.strerror(self.number))
            return real(*args, **kwargs)

        return call


def numbers(source):
    return [n for batch in source.batches(["number"]) for n in batch.column(0).to_pylist()]


def wider(k, first):
    trials = made_up(SPACE, k, first=first)
    return dataclasses.replace(trials, metrics={**trials.metrics, "new": np.ones(k)})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_takes_nothing_and_can_be_tried_again(tmp_path, monkeypatch, number):
    with StudyLog.open(tmp_path, SPACE, SPEC) as log:
        log.append([made_up(SPACE, 2)])
        for attempt in range(2):
            monkeypatch.setattr(local, "os", FailingOs(1, number, ("write",)))
            with pytest.raises(StudyStorage, match="recording trials failed") as info:
                log.append([made_up(SPACE, 2, first=2)])
            assert info.value.errno == number
            assert numbers(Reader(tmp_path)) == [0, 1], attempt
        log.append([made_up(SPACE, 2, first=2)])
        monkeypatch.setattr(local, "os", FailingOs(2, number, ("write",)))  # the first seals
        with pytest.raises(StudyStorage):
            log.append([wider(2, 4)])
        log.append([wider(2, 4)])
    assert numbers(Reader(tmp_path)) == list(range(6))
    assert all(finding.kind == "sealed" for finding in check(tmp_path))


def test_a_failed_fsync_is_final(tmp_path, monkeypatch):
    with StudyLog.open(tmp_path, SPACE, SPEC) as log:
        log.append([made_up(SPACE, 2)])
        monkeypatch.setattr(local, "os", FailingOs(1, errno.EIO, ("fsync",)))
        with pytest.raises(StudyStorage, match="recording trials failed"):
            log.append([made_up(SPACE, 2, first=2)])
        with pytest.raises(StudyStorage, match=r"nothing more is written.*Start again"):
            log.append([made_up(SPACE, 2, first=2)])
    with StudyLog.open(tmp_path, SPACE, SPEC) as log:
        assert numbers(log)[:2] == [0, 1]


def test_whatever_call_fails_once_every_trial_is_recorded_once(tmp_path, monkeypatch):
    n = 0
    while True:
        n += 1
        place = tmp_path / str(n)
        failing = FailingOs(n, errno.ENOSPC)
        monkeypatch.setattr(local, "os", failing)
        log = None
        for step in range(3):
            for attempt in range(4):
                try:
                    if log is None:
                        log = StudyLog.open(place, SPACE, SPEC)
                    if 2 * step not in numbers(log):  # a failed fsync may have worked after all
                        log.append([wider(2, 2 * step) if step else made_up(SPACE, 2)])
                    break
                except StudyStorage:
                    assert attempt < 3
                    if log is not None and log._dead:
                        log.close()
                        log = None
        assert log is not None
        log.close()
        monkeypatch.setattr(local, "os", os)
        assert numbers(Reader(place)) == list(range(6)), n
        with StudyLog.open(place, SPACE, SPEC) as log:
            assert log.notes == []
            log.append([made_up(SPACE, 1, first=6)])
        assert numbers(Reader(place)) == list(range(7)), n
        if failing.n > 0:
            break
    assert n > 30


def test_a_compaction_that_fails_loses_nothing(tmp_path, monkeypatch):
    log = StudyLog.open(tmp_path, SPACE, SPEC)
    log.append([made_up(SPACE, 3)])
    monkeypatch.setattr(local, "os", FailingOs(1, errno.ENOSPC, ("rename",)))
    log.close()
    assert "not compacted" in log.notes[0]
    assert numbers(Reader(tmp_path)) == [0, 1, 2]
    StudyLog.open(tmp_path, SPACE, SPEC).close()
    assert [f.suffix for f in (tmp_path / "log").iterdir()] == [".parquet"]
    assert numbers(Reader(tmp_path)) == [0, 1, 2]


KILLED = """
import dataclasses, os, sys
import numpy as np
from raysearch.log import StudyLog, local
from raysearch.space import Float, Space
from raysearch.testing.told import made_up

space = Space({"x": Float(0, 1)})
spec = {"space": space.to_json(), "metric": {"loss": "min"}}

class Deadly:
    def __init__(self, n): self.n = n
    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in ("write", "fsync", "rename", "link", "unlink", "ftruncate", "mkdir"):
            return real
        def call(*args, **kwargs):
            self.n -= 1
            if self.n == 0:
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                os._exit(9)
            return real(*args, **kwargs)
        return call

def work(place):
    told = os.open(place + ".told", os.O_CREAT | os.O_WRONLY)
    for session in range(2):
        with StudyLog.open(place, space, spec) as log:
            for i in range(2):
                trials = made_up(space, 2, first=4 * session + 2 * i)
                if i:
                    trials = dataclasses.replace(trials, metrics={"new": np.ones(2)})
                log.append([trials])
                os.write(told, b"##")

n = 0
while True:
    n += 1
    child = os.fork()
    if not child:
        local.os = Deadly(n)
        work(f"{sys.argv[1]}/{n}")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), status
    if status == 0:
        break
print(n)
"""


def test_killed_at_any_call_the_log_is_an_exact_prefix_and_goes_on(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    runs = int(done.stdout)
    assert runs > 40
    for n in range(1, runs + 1):
        place = tmp_path / str(n)
        told = (tmp_path / f"{n}.told").stat().st_size
        try:
            found = numbers(Reader(place))
        except StudyError as error:
            assert told == 0, error  # noqa: PT017
            found = []
        assert found in (list(range(told)), list(range(told + 2))), n
        with StudyLog.open(place, SPACE, SPEC) as log:
            assert numbers(log) == found
            log.append([made_up(SPACE, 1, first=len(found))])
        assert numbers(Reader(place)) == list(range(len(found) + 1)), n
        assert n % 5 or {finding.kind for finding in check(place)} == {"sealed"}, n
        assert not [p for p in place.rglob("*") if p.name.startswith(".unfinished")]
