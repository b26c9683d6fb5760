"""What a soak makes of its slices."""

from __future__ import annotations

import pytest

from oyez.bench.report import table_head, table_row
from oyez.bench.soak import COLUMNS, Slice, drift_percent, drifts


def test_drift_is_the_last_third_against_the_first() -> None:
    assert drift_percent([1, 1, 1, 5, 5, 5, 5, 2, 2, 2]) == pytest.approx(100)
    assert drift_percent([2, None, 2, 9, 9, 9, 9, None, 1, 1]) == pytest.approx(-50)
    assert drift_percent([None] * 10) is None
    assert drift_percent([0.0] * 10) is None


def test_the_table() -> None:
    slices = [
        Slice(60.0 * n, 6.0, 10.0, 1.0, n << 20, [10.0, 30.0], 0, 1 << 20) for n in range(1, 11)
    ]
    assert drifts(slices) == {"CPU": 0.0, "RSS": pytest.approx(350.0), "final": 0.0}
    line = table_row(COLUMNS, slices[0]).replace(" ", "")
    assert line == "|1.0|10.0|1.00|1.0|20.0|2|0|1|"
    foreign = Slice(60.0, 6.0, 10.0, None, None, [], 0, 1 << 20)
    columns = table_head(COLUMNS).splitlines()[0].count("|")
    assert table_row(COLUMNS, foreign).count("|") == columns
