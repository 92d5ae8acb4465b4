"""The disk under a search: full, read-only, rotten, or shared by two drivers. Real file systems."""

from __future__ import annotations

import resource
import signal
import subprocess
import time

import pytest

import raysearch as rs

EXPERIMENT = """
import pathlib, time
import raysearch as rs

space, strategy = {"x": rs.Float(-1, 1)}, rs.QuasiRandom()
settings = {"trials": 40, "address": "inline", "study": "disk/study"}

def objective(config):
    pathlib.Path("ran").touch()
    time.sleep(0.03)
    return config["x"] ** 2
"""
COMMAND = ("-m", "raysearch.cli", "run", "mine.py")
#: The same without patience: the 30 s for which it waits for space take a tenth of one.
IMPATIENT = (
    "-c",
    "from raysearch.engine import driver; driver._FULL_SECONDS = (0.05, 0.05);"
    "from raysearch.cli import main; main()",
    "run",
    "mine.py",
)


@pytest.fixture
def disk(home):
    """Mounts a disk where the study lies; gives the folder."""
    (home / "mine.py").write_text(EXPERIMENT)
    folder = home / "disk"
    folder.mkdir()
    mounted = False

    def mount(*options):
        nonlocal mounted
        command = ["mount", *options, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this needs a mount, which is not allowed here: {done.stderr.strip()}")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def stored(home):
    try:
        return rs.Study.load(home / "disk/study").trials.to_pylist()
    except rs.errors.StudyNotFound:
        return []


def end(process, code):
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (out, err)
    assert "Traceback" not in err
    return err


def fill(folder):
    """Take all space that is left."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 1024)
        except OSError:
            return


def check_whole(home, start, before):
    """The same command goes on, and what was there is as it was."""
    end(start(*COMMAND), 0)
    rows = stored(home)
    assert rows[: len(before)] == before
    assert sorted(row["number"] for row in rows) == list(range(40))


def test_a_full_disk_ends_the_search_once_patience_is_over(home, start, disk, wait):
    folder = disk("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    process = start(*IMPATIENT)
    wait(lambda: len(stored(home)) >= 5, "trials are stored")
    fill(folder)
    err = end(process, 74)
    assert "No space left" in err
    assert "what was recorded before is safe" in err
    before = stored(home)
    assert 5 <= len(before) < 40
    (folder / "filler").unlink()
    check_whole(home, start, before)


def test_when_space_returns_in_time_the_search_goes_on(home, start, disk, wait):
    folder = disk("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    process = start(*COMMAND)
    wait(lambda: len(stored(home)) >= 5, "trials are stored")
    fill(folder)

    def stands_still():
        before = len(stored(home))
        time.sleep(0.5)
        return len(stored(home)) == before

    wait(stands_still, "nothing is stored any more")
    assert len(stored(home)) < 40
    (folder / "filler").unlink()
    end(process, 0)
    assert sorted(row["number"] for row in stored(home)) == list(range(40))


def test_files_that_may_not_grow_end_the_search_as_a_full_disk_does(home, start, disk):
    process = start(
        *IMPATIENT, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    )
    assert "File too large" in end(process, 74)
    before = stored(home)
    assert 0 < len(before) < 40
    check_whole(home, start, before)


def test_a_read_only_disk_is_refused_before_the_first_trial(home, start, disk):
    (home / "below").mkdir()
    disk("--bind", "-o", "ro", str(home / "below"))
    assert "Read-only" in end(start(*COMMAND), 74)
    assert not (home / "ran").exists()


def test_a_disk_without_room_for_files_is_refused_before_the_first_trial(home, start, disk):
    disk("-t", "tmpfs", "-o", "size=1m,nr_inodes=3", "tmpfs")
    assert "No space left" in end(start(*COMMAND), 74)
    assert not (home / "ran").exists()


def test_a_study_that_has_become_read_only_can_be_read_and_not_gone_on_with(home, start, disk):
    (home / "below").mkdir()
    end(start(*COMMAND, "--study", "below/study", "--trials", "5"), 0)
    (home / "ran").unlink()
    disk("--bind", "-o", "ro", str(home / "below"))
    assert "Read-only" in end(start(*COMMAND), 74)
    end(start("-m", "raysearch.cli", "best", "disk/study"), 0)
    assert not (home / "ran").exists()
    assert len(stored(home)) == 5


def test_a_rotten_study_is_refused_and_left_as_it_is(home, start, disk):
    end(start(*COMMAND), 0)
    (file,) = (home / "disk/study/log").glob("*.parquet")
    rotten = bytearray(file.read_bytes())
    rotten[len(rotten) // 2] ^= 1
    file.write_bytes(rotten)
    err = end(start(*COMMAND, "--trials", "50"), 65)
    assert file.name in err
    assert "salvage" in err
    assert file.read_bytes() == rotten


def test_a_driver_that_slept_while_another_took_over_writes_no_more(home, start, disk, wait):
    """The lock is removed as on a file system that forgets it, such as a network's."""
    sleeper = start(*COMMAND)
    wait(lambda: len(stored(home)) >= 5, "trials are stored")
    sleeper.send_signal(signal.SIGSTOP)
    wait(lambda: state(sleeper.pid) == "T", "it sleeps")
    assert f"process {sleeper.pid}" in end(start(*COMMAND), 73)
    before = stored(home)
    (home / "disk/study/lock").unlink()
    end(start(*COMMAND), 0)
    rows = stored(home)
    files = sorted((home / "disk/study/log").iterdir())
    assert rows[: len(before)] == before
    assert sorted(row["number"] for row in rows) == list(range(40))
    sleeper.send_signal(signal.SIGCONT)
    assert "another driver has taken over" in end(sleeper, 73)
    assert stored(home) == rows
    assert set(files) <= set((home / "disk/study/log").iterdir())


def state(pid):
    """What the kernel says that a process does: R, S, T (stopped), ..."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
