"""The tables of the endpoints benchmark."""

from __future__ import annotations

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.endpoints import Tally
from oyez.bench.endpoints_report import conditions, pauses, sounds


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_shares_and_rates_are_of_speech_and_of_hours() -> None:
    tally = Tally(audio_samples=1800 * SAMPLE_RATE, speech_samples=400, missed_samples=3)
    tally.turns, tally.false_starts, tally.splits, tally.late = 9, 2, 1, 0
    tally.start_ms = [float(value) for value in range(1, 101)]
    (row,) = cells(conditions([("clean", tally)]))
    assert row == ["clean", "0.75", "9", "4.0", "1", "0", "–", "5/50/95", "–", "–"]


def test_nothing_measured_is_no_error() -> None:
    assert cells(conditions([("clean", Tally())]))[0][1] == "0.00"


def test_a_pause_is_judged_by_the_silence_that_ends_a_turn() -> None:
    silence_samples = 400 * SAMPLE_RATE // 1000
    rows = cells(pauses([(300, [1, 1]), (500, [1, 2]), (600, [2, 3])], silence_samples))
    assert rows == [
        ["300 ms", "no", "2", "0", "0"],
        ["500 ms", "either", "1", "1", "0"],
        ["600 ms", "yes", "0", "1", "1"],
    ]


def test_minutes_of_sounds() -> None:
    assert cells(sounds([("keyboard", 90.0, 1)])) == [["keyboard", "1.5", "1"]]
