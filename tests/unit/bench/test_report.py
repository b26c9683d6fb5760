"""Tables and percentiles."""

from __future__ import annotations

from oyez.bench.report import format_table, machine_line, percentile


def test_numbers_stand_to_the_right() -> None:
    table = format_table(["lang", "n"], [["en", 1], ["日本", 100]])
    assert table.splitlines() == [
        "| lang |   n |",
        "| ---- | --: |",
        "| en   |   1 |",
        "| 日本 | 100 |",
    ]


def test_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.95) == 95
    assert percentile([7.0], 0.95) == 7


def test_the_machine_is_named() -> None:
    assert "cores" in machine_line()
