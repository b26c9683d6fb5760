from __future__ import annotations

from datetime import timedelta

from oyez.accounts.record import Record
from oyez.accounts.usage import SessionUsage
from oyez.accounts.waiting import Waiting
from support.usage import NOON, a_usage


def record(usage: SessionUsage) -> Record:
    return Record(usage, "srv_1", None, None)


def test_the_newest_of_a_session_and_day_waits() -> None:
    waiting = Waiting()
    waiting.put(record(a_usage(audio_s=1)))
    waiting.put(record(a_usage("another")))
    waiting.put(record(a_usage(audio_s=2)))
    waiting.put(record(a_usage(audio_s=3, at=NOON + timedelta(days=1), ended_at=NOON)))
    assert (len(waiting), waiting.ended) == (3, 1)
    assert [entry.record.usage.audio_s for entry in waiting.take(9)] == [2, 0, 3]
    assert (len(waiting), waiting.ended) == (0, 0)


def test_what_comes_back_gives_way_to_newer_and_its_future_with_it() -> None:
    waiting = Waiting()
    older = waiting.put(record(a_usage(audio_s=1)))
    other = waiting.put(record(a_usage("other", ended_at=NOON)))
    taken = waiting.take(9)
    newer = waiting.put(record(a_usage(audio_s=2, ended_at=NOON)))
    waiting.put_back(taken)
    assert (len(waiting), waiting.ended) == (2, 2)
    first, last = waiting.take(9)
    assert (first.record.usage.session_id, last.record.usage.audio_s) == ("other", 2)
    last.done()
    assert older.done() and newer.done() and not other.done()


def test_being_done_twice_is_no_harm() -> None:
    waiting = Waiting()
    future = waiting.put(record(a_usage()))
    (entry,) = waiting.take(1)
    entry.done()
    entry.done(ValueError())
    assert future.result(0) is None
