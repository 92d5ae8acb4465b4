"""Somebody sets the machine's clock while a search runs."""

from __future__ import annotations

import time

import raysearch as rs
from raysearch.strategies.random import RandomSearch

HOUR = 3600 * 10**9  # ns


def test_when_the_clock_is_set_order_and_durations_stay(tmp_path, monkeypatch):
    real, offset = time.time_ns, 0

    def objective(config, trial):
        nonlocal offset
        offset = HOUR * (-1) ** trial.number
        time.sleep(0.11)  # so that a task holds one trial
        return config["x"]

    monkeypatch.setattr(time, "time_ns", lambda: real() + offset)
    monkeypatch.setattr(time, "time", lambda: (real() + offset) / 1e9)
    for trials in (4, 8):
        study = rs.search(
            objective,
            {"x": rs.Float(0, 1)},
            RandomSearch(),
            trials=trials,
            time_limit=60,
            address="inline",
            study=tmp_path,
            progress=False,
        )
    rows = study.trials.to_pylist()
    assert [row["number"] for row in rows] == list(range(8))
    for name in ("asked", "submitted", "told"):
        times = [row[name] for row in rows]
        assert times == sorted(times), name
    for row in rows:
        assert 0.11 <= row["seconds"] < 30
        assert abs((row["finished"] - row["started"]).total_seconds() - row["seconds"]) < 1e-3
