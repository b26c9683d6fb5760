"""What a level comes to, and whether that is good enough."""

from __future__ import annotations

from typing import Any

import pytest

from oyez.bench.latency import Outcome
from oyez.bench.load import Stream, Take
from oyez.bench.report import table_head, table_row
from oyez.bench.scoring import Score
from oyez.bench.streams import COLUMNS, Level, summary
from oyez.client import Event, Failed, Final, Started, Stopped


def take(*turns: str | None | Exception) -> Take:
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
    return Take(0.0, events)


def level_of(here: Take, *alone: str, language: str = "en") -> Level:
    """A level of one stream, compared with its finals alone."""
    return Level.of([Stream(0, language, 0.0, [])], [here], [Outcome(finals=list(alone))])


def test_a_level_like_alone_meets_the_objective() -> None:
    level = level_of(take("red green", "blue"), "red green", "blue")
    assert (len(level.outcome.finals), level.lost, level.words.units) == (2, 0, 3)
    assert level.outcome.final_after_stop == pytest.approx([100, 100])
    assert level.misses() == []


def test_an_announced_turn_without_an_end_is_lost() -> None:
    level = level_of(take("red green", None), "red green")
    assert level.lost == 1 and level.misses() == ["1 lost"]


def test_a_turn_that_was_there_alone_is_lost() -> None:
    level = level_of(take("red green"), "red green", "blue")
    assert level.lost == 1
    assert level.words.deletions == 1 and level.wer_percent == pytest.approx(100 / 3)
    assert level.misses() == ["1 lost", "WER 33.3 %"]


def test_finals_that_differ_are_kept_side_by_side() -> None:
    level = level_of(take("Red green", "blue"), "red green", "blue")
    assert level.wer_percent == 0 and level.misses() == []
    finals = {"alone": ["red green", "blue"], "here": ["Red green", "blue"]}
    assert level.differing == [{"stream": 0, **finals}]
    assert "in all streams but 0" in summary([level])
    assert level_of(take("red"), "red").differing == []


def test_a_failed_turn_is_not_lost_as_well() -> None:
    level = level_of(take("red green", RuntimeError()), "red green", "")
    assert (level.outcome.failed, level.lost) == (1, 0) and level.misses() == ["1 failed"]


def test_a_stream_is_compared_with_its_own_words_in_its_own_units() -> None:
    streams = [Stream(0, "en", 0.0, []), Stream(1, "zh", 0.0, [])]
    alone = [Outcome(finals=["red"]), Outcome(finals=["你好了"])]
    level = Level.of(streams, [take("red"), take("你好吗")], alone)
    assert (level.words.units, level.words.errors) == (4, 1)


def test_late_finals_and_broken_sessions_miss() -> None:
    broken = take("red")
    broken.broken = "the server closed"
    level = level_of(broken, "red")
    level.outcome = Outcome(final_after_stop=[10.0] * 90 + [701.0] * 10)
    assert level.misses() == ["final 701 ms", "1 broken"]
    level.outcome = Outcome(final_after_stop=[10.0] * 96 + [9999.0] * 4)
    assert level.misses() == ["1 broken"]
    assert "stream 0: the server closed" in summary([level])


def test_the_generators_lateness_is_kept_apart() -> None:
    late = take("red")
    late.late_ms = [1.0] * 98 + [80.0] * 2
    level = level_of(late, "red")
    assert level.late_p99_ms == 80.0
    assert level.misses() == [] and "late by more than" in summary([level])
    assert "80.0!" in table_row(COLUMNS, level)


def test_a_crowded_machine_is_reported() -> None:
    assert "Other programs took up to 90 %" in summary([good(1, others_cpu_percent=90.0)])
    assert "Other programs" not in summary([good(1, others_cpu_percent=5.0)])


def good(streams: int, **fields: Any) -> Level:
    return Level(streams, Outcome(final_after_stop=[1.0]), words=Score(100), **fields)


def test_the_highest_level_that_meets_it() -> None:
    assert "meet it: 8" in summary([good(1), good(8), good(4, lost=1)])
    assert "No level" in summary([good(1, lost=1)])
    assert Level(1).misses() == ["no turns"]


def test_everything_is_saved() -> None:
    saved = level_of(take("red", RuntimeError()), "red", "blue").as_json()
    assert saved["waits_ms"]["final_after_stop"] == [100.0]
    assert set(saved) == {
        "streams", "waits_ms", "wer_percent", "words", "turns", "lost", "failed", "broken",
        "differing", "retractions", "rewordings", "server_cpu_percent", "server_rss_mb",
        "late_p99_ms", "own_cpu_percent", "others_cpu_percent", "misses",
    }  # fmt: skip


def test_a_line_fits_its_head() -> None:
    columns = table_head(COLUMNS).splitlines()[0].count("|")
    assert table_row(COLUMNS, good(1)).count("|") == columns
    assert table_row(COLUMNS, Level(2)).count("|") == columns
