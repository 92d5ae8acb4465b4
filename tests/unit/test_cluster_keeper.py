"""The keeper of drivers: when it starts another one, and when it does not."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest

from raysearch.cluster import keeper
from raysearch.cluster.keeper import Host, Keeper
from raysearch.errors import ClusterError


class Told(Keeper):
    """A keeper whose drivers end with these codes; `during` is what happens in each pause."""

    def __init__(self, codes, monkeypatch, during=lambda _: None):
        self.codes, self.started = codes, 0
        self._host, self._stopping = None, threading.Event()
        monkeypatch.setattr(keeper.time, "sleep", lambda _: during(self))

    def _drive(self):
        self.started += 1
        return self.codes[self.started - 1], "it ended"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([0], 0), ([2], 2), ([None, 0], 0), ([75, 1, 0], 0), ([-9, 69], 69), ([None] * 3, 75)],
)
def test_another_driver_is_started_only_where_it_may_do_better(codes, expected, monkeypatch):
    told = Told(codes, monkeypatch)
    assert (told.run(), told.started) == (expected, len(codes))


def test_no_driver_is_started_after_a_stop_in_the_pause(monkeypatch):
    told = Told([75, 0], monkeypatch, during=Keeper.stop)
    assert (told.run(), told.started) == (143, 1)


@pytest.mark.parametrize(("code", "expected"), [(143, 143), (0, 0), (75, 75), (-15, 143)])
def test_a_driver_that_was_stopped_is_the_last(code, expected, monkeypatch):
    told = Told([code], monkeypatch)
    told.stop()
    assert (told.run(), told.started) == (expected, 1)


def test_a_driver_that_was_to_end_before_it_began_ends(monkeypatch):
    context = SimpleNamespace(runtime_env={}, gcs_address="127.0.0.1:6379")
    monkeypatch.setattr(keeper.ray, "get_runtime_context", lambda: context)
    whole = keeper.subprocess.Popen
    sleeping = [sys.executable, "-c", "import time; time.sleep(5)"]
    monkeypatch.setattr(keeper.subprocess, "Popen", lambda _, **given: whole(sleeping, **given))
    host = Host()
    host.end()
    assert list(host.run(["run"])) == [-15]


class Full:
    """A cluster where no driver finds a place; what follows the growth may raise, or stop."""

    def __init__(self, monkeypatch, cpus, follow):
        self.killed, self.asked = 0, []
        made = Keeper.__new__(Keeper)
        made._arguments, made._cpus, made._host = ["run"], cpus, None
        made._stopping, made._actor = threading.Event(), self
        made._fits = False
        made._growth = SimpleNamespace(follow=follow)
        self.keeper = made
        method = SimpleNamespace(remote=lambda *_: None)
        self.remote = lambda: SimpleNamespace(hello=method, end=method)
        monkeypatch.setattr(keeper, "leaving", dict)
        monkeypatch.setattr(keeper, "fit", lambda request, _: self.asked.append(request) or 0)
        monkeypatch.setattr(keeper.ray, "wait", lambda refs, timeout: ([], refs))
        monkeypatch.setattr(keeper.ray, "kill", self.kill)

    def kill(self, _):
        self.killed += 1


def test_a_driver_that_no_node_can_hold_is_given_up(monkeypatch, capsys):
    def follow(wanted, slots):
        raise ClusterError("CPU: wanted 1000")

    full = Full(monkeypatch, 1000, follow)
    assert (full.keeper.run(), full.killed, full.asked) == (69, 1, [{"CPU": 1000}])
    assert "--driver-cpus 1000): CPU: wanted 1000" in capsys.readouterr().out


def test_once_a_driver_has_had_its_place_the_next_one_waits_for_a_new_node(monkeypatch):
    def follow(wanted, slots):
        raise AssertionError

    full = Full(monkeypatch, 4, follow)
    full.wait = lambda refs, timeout: (refs, [])
    monkeypatch.setattr(keeper.ray, "wait", lambda refs, timeout: full.wait(refs, timeout))
    assert full.keeper._placed(full.remote())

    def never(refs, timeout):
        full.keeper.stop()
        return [], refs

    full.wait = never
    assert not full.keeper._placed(full.remote())


def test_a_driver_that_waits_for_its_place_says_so_and_can_be_stopped(monkeypatch, capsys):
    rounds = []

    def follow(wanted, slots):
        rounds.append((wanted, slots))
        if len(rounds) == 3:
            full.keeper.stop()

    monkeypatch.setattr(keeper, "_QUIET", -1.0)
    full = Full(monkeypatch, 4, follow)
    assert (full.keeper.run(), full.killed, rounds) == (143, 1, [(0, 0)] * 3)
    assert capsys.readouterr().out == "keeper: the driver waits for a node that is free\n"
