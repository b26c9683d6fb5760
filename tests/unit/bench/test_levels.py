"""What a level comes to, and whether that is good enough."""

from __future__ import annotations

from typing import Any

import pytest

from oyez.bench.latency import Waits
from oyez.bench.levels import Level, StreamResult, head, highest_met, row, summary
from oyez.bench.load import Recording, Stream, Take
from oyez.bench.scoring import Score
from oyez.client import Event, Failed, Final, Started, Stopped


def take(*turns: str | None | Exception, number: int = 0, language: str = "en") -> Take:
    """A stream with a turn for each: its final, None for one that never came, or its failure."""
    events: list[tuple[float, Event]] = []
    for count, turn in enumerate(turns):
        item_id = f"i{count}"
        at_s = 10.0 * count
        events += [
            (at_s + 1, Started(item_id, 10_000 * count)),
            (at_s + 9, Stopped(item_id, 9_000 + 10_000 * count)),
        ]
        if isinstance(turn, Exception):
            events.append((at_s + 9.1, Failed(item_id)))
        elif turn is not None:
            events.append((at_s + 9.1, Final(item_id, turn)))
    return Take(Stream(number, language, 0.0, ["x"] * 10), Recording(0.0, events))


def alone(*finals: str) -> dict[int, StreamResult]:
    return {0: StreamResult(finals, 0, 0)}


def test_a_level_like_alone_meets_the_objective() -> None:
    level = Level.of([take("red green", "blue")], alone("red green", "blue"))
    assert (level.turns, level.lost, level.failed, level.words.units) == (2, 0, 0, 3)
    assert level.waits.final_after_stop == pytest.approx([100, 100])
    assert level.misses() == []


def test_an_announced_turn_without_an_end_is_lost() -> None:
    level = Level.of([take("red green", None)], alone("red green"))
    assert level.lost == 1 and level.misses() == ["1 lost"]


def test_a_turn_that_was_there_alone_is_lost() -> None:
    level = Level.of([take("red green")], alone("red green", "blue"))
    assert level.lost == 1
    assert level.words.deletions == 1 and level.wer_percent == pytest.approx(100 / 3)
    assert level.misses() == ["1 lost", "WER 33.3 %"]


def test_finals_that_differ_are_kept_side_by_side() -> None:
    level = Level.of([take("Red green", "blue")], alone("red green", "blue"))
    assert level.wer_percent == 0 and level.misses() == []
    assert level.differing == [(0, ["red green", "blue"], ["Red green", "blue"])]
    assert "in all streams but 0" in summary([level])
    assert Level.of([take("red")], alone("red")).differing == []


def test_a_failed_turn_is_not_lost_as_well() -> None:
    level = Level.of([take("red green", RuntimeError())], alone("red green", ""))
    assert (level.failed, level.lost) == (1, 0) and level.misses() == ["1 failed"]


def test_a_stream_is_held_against_its_own_words_in_its_own_units() -> None:
    takes = [take("red", number=0), take("你好吗", number=1, language="zh")]
    level = Level.of(takes, {0: StreamResult(("red",), 0, 0), 1: StreamResult(("你好了",), 0, 0)})
    assert (level.words.units, level.words.errors) == (4, 1)


def test_late_finals_and_broken_sessions_miss() -> None:
    broken = take("red")
    broken.broken = "the server closed"
    level = Level.of([broken], alone("red"))
    level.waits.final_after_stop = [10.0] * 90 + [701.0] * 10
    assert level.misses() == ["final 701 ms", "1 broken"]
    level.waits.final_after_stop = [10.0] * 96 + [9999.0] * 4
    assert level.misses() == ["1 broken"]
    assert "stream 0: the server closed" in summary([level])


def test_the_generators_lateness_is_kept_apart() -> None:
    late = take("red")
    late.late_ms = [1.0] * 98 + [80.0] * 2
    level = Level.of([late], alone("red"))
    assert level.late_p99_ms == 80.0
    assert level.misses() == [] and "late by more than" in summary([level])
    assert "80.0!" in row(level)


def test_a_crowded_machine_is_told() -> None:
    assert "Other programs took up to 90 %" in summary([good(1, others_cpu_percent=90.0)])
    assert "Other programs" not in summary([good(1, others_cpu_percent=5.0)])


def good(streams: int, **fields: Any) -> Level:
    return Level(streams, Waits(final_after_stop=[1.0]), words=Score(100), **fields)


def test_the_highest_level_that_meets_it() -> None:
    assert highest_met([good(1), good(8), good(4, failed=1)]) == 8
    assert highest_met([good(4, failed=1)]) is None
    assert Level(1).misses() == ["no turns"]
    assert "meet it: 8" in summary([good(1), good(8)])
    assert "No level" in summary([good(1, lost=1)])


def test_a_line_fits_its_head() -> None:
    columns = head().splitlines()[0].count("|")
    assert row(good(1)).count("|") == columns == row(Level(2)).count("|")
