"""What trials do to their workers, their machine and the terminal, on a real Ray."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
import threading
from pathlib import Path

import numpy as np
import pytest

import raysearch as rs
from raysearch.engine.signals import listening
from raysearch.strategies.random import RandomSearch

SPACE = rs.Space({"x": rs.Float(-1, 1)})
COMMAND = ("-m", "raysearch.cli", "run", "mine.py")


def search(objective, **options):
    options = {"progress": False, "retries": 1, **options}
    return rs.search(objective, SPACE, RandomSearch(), **options)


def stored(home):
    try:
        return rs.Study.load(home / "study").trials.to_pylist()
    except rs.errors.StudyNotFound:
        return []


def end(process, code):
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (out, err)
    assert "Traceback" not in err
    return err


# --- in the worker ------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_local")
def test_trials_whose_workers_are_killed_run_again_as_they_were(tmp_path):
    def objective(config, trial):
        import time

        with (tmp_path / str(trial.number)).open("a") as file:
            file.write(f"{config['x']!r} {trial.seed} {os.getpid()}\n")
        while trial.number % 4 == 1 and len((tmp_path / str(trial.number)).open().readlines()) < 2:
            time.sleep(0.05)
        return config["x"]

    killed = set()

    def kill(progress):
        for number in range(1, 12, 4):
            file = tmp_path / str(number)
            if number not in killed and file.exists() and file.read_text().endswith("\n"):
                killed.add(number)
                os.kill(int(file.read_text().split()[2]), signal.SIGKILL)

    study = search(objective, trials=12, concurrency=2, progress=kill, study=tmp_path / "study")
    assert study.counts == {"complete": 12}
    assert killed == {1, 5, 9}
    for number in killed:
        first, *others = [
            line.split()[:2] for line in (tmp_path / str(number)).read_text().splitlines()
        ]
        assert others
        assert all(other == first for other in others)
        assert study.trial(number).attempts > 1


@pytest.mark.usefixtures("ray_local")
def test_a_huge_result_stays_in_its_worker():
    def objective(config, trial):
        match trial.number:
            case 1:
                return {"loss": 1.0, "note": "x" * 300_000_000}
            case 2:
                return {"loss": 1.0, "weights": np.zeros(40_000_000)}
        return 1.0

    def largest():
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3

    before = largest()
    study = search(objective, trials=4)
    assert study.counts == {"complete": 2, "invalid": 2}
    assert "expected at most 1 MiB of metrics, found 286" in study.trial(1).error
    assert "found ndarray" in study.trial(2).error
    assert largest() - before < 100


@pytest.mark.usefixtures("ray_local")
def test_a_closure_larger_than_what_ray_takes_is_warned_of_and_sent_once():
    big = np.ones(13_000_000)
    with pytest.warns(UserWarning, match=r"104 MB.*data=\{'big': big\}"):
        study = search(lambda config: big[-1], trials=4)
    assert study.counts == {"complete": 4}


@pytest.mark.usefixtures("ray_local")
def test_what_a_trial_alters_in_its_worker_the_next_one_does_not_see():
    def objective(config, trial):
        import random
        import time

        found = f"{os.getcwd()} {os.environ.get('MINE')} {signal.getsignal(signal.SIGUSR1)}"
        drawn = random.random()
        os.chdir("/")
        os.environ["MINE"] = "1"
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        time.sleep(0.002)
        return {"loss": 1.0, "found": found, "drawn": drawn, "worker": os.getpid()}

    one, two = (search(objective, trials=8, concurrency=1).trials for _ in range(2))
    assert len(set(one["metrics.worker"].to_pylist())) == 1
    assert len(set(one["metrics.found"].to_pylist())) == 1
    assert one["metrics.drawn"] == two["metrics.drawn"]


# --- around it ----------------------------------------------------------------------------------

BABBLER = """
import os, subprocess, time
import raysearch as rs

space, strategy = {"x": rs.Float(-1, 1)}, rs.QuasiRandom()
settings = {"trials": 1000, "study": "study", "address": "local", "concurrency": 2}

def objective(config, trial):
    if trial.number < 2:  # in each of the two workers
        if not os.fork():
            time.sleep(600)
            os._exit(0)
        subprocess.Popen(["sleep", "600"], stdout=open("left behind", "w"))
    for i in range(10_000):
        print(i, 60 * "flood ")
    time.sleep(0.1)
    return config["x"] ** 2
"""


class Terminal:
    """A terminal with somebody before it."""

    def __init__(self):
        self._master, self.line = pty.openpty()
        self.shown = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        try:
            while data := os.read(self._master, 65536):
                self.shown += data
        except OSError:  # nobody writes to it any more
            return

    def streams(self):
        """For a process that is to have this one as its terminal."""

        def control():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        return {
            **dict.fromkeys(["stdin", "stdout", "stderr"], self.line),
            "preexec_fn": control,
        }

    def press(self, key):
        os.write(self._master, key)

    def close(self):
        os.close(self.line)
        self._reader.join()
        os.close(self._master)


def test_floods_of_prints_and_left_behind_processes_and_ctrl_c_in_a_terminal(
    home, start, wait, monkeypatch
):
    monkeypatch.setenv("TERM", "xterm")
    (home / "mine.py").write_text(BABBLER)
    terminal = Terminal()
    process = start(*COMMAND, **terminal.streams())
    wait(lambda: len(stored(home)) >= 25, "trials are stored")
    logs = sorted((home / "ray/session_latest/logs").glob("worker-*"))
    terminal.press(b"\x03")
    process.wait(60)
    terminal.close()
    shown = terminal.shown.decode()
    assert process.returncode == 130, shown
    assert f"ended by SIGINT, in order: {len(stored(home))} trials" in shown
    assert "flood" not in shown
    assert len(shown) < 100_000
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0  # there again
    assert "flood" in (home / "study/run.log").read_text()
    assert (home / "study/run.log").stat().st_size < 11_000_000
    assert logs
    assert all(file.stat().st_size < 11_000_000 for file in logs)


QUIET = """
import pathlib, time
import raysearch as rs

here = pathlib.Path(__file__).parent
space, strategy = {"x": rs.Float(-1, 1)}, rs.QuasiRandom()
settings = {"trials": 8, "study": "study"}

def objective(config, trial):
    (here / f"begun {trial.number}").touch()
    time.sleep(600 if trial.number > 3 and (here / "slow").exists() else 0.25)
    return config["x"] ** 2
"""


def test_a_second_sigterm_cancels_what_runs_and_the_search_can_go_on(home, start, wait, head):
    (home / "mine.py").write_text(QUIET)
    (home / "slow").touch()
    process = start(*COMMAND, "--address", head)
    wait(lambda: len(stored(home)) == 4 and (home / "begun 5").exists(), "two trials hang")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)  # what runs may end
    process.send_signal(signal.SIGTERM)
    assert "ended by SIGTERM, in order: 4 trials" in end(process, 143)
    before = stored(home)
    (home / "slow").unlink()
    end(start(*COMMAND, "--address", "inline"), 0)
    assert stored(home)[:4] == before
    assert sorted(row["number"] for row in stored(home)) == list(range(8))


def test_the_third_signal_is_as_if_nobody_listened():
    wishes = []
    before = signal.getsignal(signal.SIGINT)
    with listening(wishes.append, interrupt=False) as heard:
        for _ in range(2):
            assert signal.getsignal(signal.SIGINT) is not before
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before
    assert [wish.how for wish in wishes] == ["drain", "cancel"]
    assert heard.times == 2
