"""The ledger's sums, on searches whose answer is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.report.overhead import overhead

SECOND = 10**9


def trials(rows: list[tuple[float, float, float, float, float]]) -> pa.Table:
    """Trials with these seconds of asked, submitted, started, finished and told."""
    ledger = np.array(rows).reshape(-1, 5) * SECOND + 10**18
    names = ("asked", "submitted", "started", "finished", "told")
    return pa.table(
        {
            name: pa.array(ledger[:, i].astype(np.int64), pa.timestamp("ns", "UTC"))
            for i, name in enumerate(names)
        }
    )


def test_two_slots_half_idle() -> None:
    found = overhead(trials([(0, 1, 2, 8, 9), (0, 1, 2, 4, 9)]))

    assert found is not None
    assert found.slots == 2
    assert found.span == 8
    assert found.busy == 8
    assert found.utilisation == 0.5
    assert found.per_trial == 4
    assert [stage.share for stage in found.stages] == pytest.approx(
        [2 / 18, 2 / 18, 8 / 18, 6 / 18]
    )
    assert found.stages[2].median == 4


def test_the_night_between_two_sessions_does_not_count() -> None:
    found = overhead(trials([(0, 0, 0, 1, 1), (9000, 9000, 9000, 9001, 9001)]))

    assert found is not None
    assert found.span == 2
    assert found.utilisation == 1


def test_a_batch_runs_one_after_the_other() -> None:
    found = overhead(trials([(0, 0, k, k + 1, 100) for k in range(100)]))

    assert found is not None
    assert found.slots == 1
    assert found.utilisation == 1


def test_rows_without_a_full_ledger_are_left_out() -> None:
    table = trials([(0, 1, 2, 3, 4)])
    missing = pa.table({n: pa.nulls(1, table.schema.field(n).type) for n in table.column_names})

    assert overhead(missing) is None
    assert overhead(table.slice(0, 0)) is None
    both = overhead(pa.concat_tables([table, missing]))
    assert both is not None
    assert both.trials == 1


@given(st.lists(st.lists(st.floats(0, 100), min_size=5, max_size=5), min_size=1, max_size=20))
def test_shares_stay_shares_whatever_the_clocks_say(rows: list[list[float]]) -> None:
    found = overhead(trials([tuple(row) for row in rows]))  # type: ignore[misc]

    assert found is not None
    assert all(0 <= stage.share <= 1 for stage in found.stages)
    assert found.slots >= 1
    assert found.utilisation >= 0
    assert found.per_trial >= 0
