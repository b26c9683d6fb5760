"""The tables of the study of endpoints."""

from __future__ import annotations

from oyez.audio.pcm import SAMPLE_RATE
from research.endpoints.__main__ import condition_table, pause_table, sound_table
from research.endpoints.reference import EndpointErrors


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_shares_and_rates_are_of_speech_and_of_hours() -> None:
    errors = EndpointErrors(audio_samples=1800 * SAMPLE_RATE, speech_samples=400, missed_samples=3)
    errors.turns, errors.false_starts, errors.splits, errors.late = 9, 2, 1, 0
    errors.start_ms = [float(value) for value in range(1, 101)]
    (row,) = cells(condition_table([("clean", errors)]))
    assert row == ["clean", "0.75", "9", "4.0", "1", "0", "–", "5/50/95", "–", "–"]


def test_nothing_measured_is_no_error() -> None:
    assert cells(condition_table([("clean", EndpointErrors())]))[0][1] == "0.00"


def test_a_pause_is_judged_by_the_silence_that_ends_a_turn() -> None:
    silence_samples = 400 * SAMPLE_RATE // 1000
    rows = cells(pause_table([(300, [1, 1]), (500, [1, 2]), (600, [2, 3])], silence_samples))
    assert rows == [
        ["300 ms", "no", "2", "0", "0"],
        ["500 ms", "either", "1", "1", "0"],
        ["600 ms", "yes", "0", "1", "1"],
    ]


def test_minutes_of_sounds() -> None:
    assert cells(sound_table([("keyboard", 90.0, 1)])) == [["keyboard", "1.5", "1"]]
