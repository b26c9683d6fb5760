from __future__ import annotations

from datetime import timedelta

from oyez.accounts.ledger import PendingWrites
from oyez.accounts.usage import Record, SessionUsage
from support.usage import NOON, a_usage


def record(usage: SessionUsage) -> Record:
    return Record(usage, "srv_1", None, None)


def test_the_newest_of_a_session_and_day_waits() -> None:
    pending = PendingWrites()
    pending.put(record(a_usage(audio_s=1)))
    pending.put(record(a_usage("another")))
    pending.put(record(a_usage(audio_s=2)))
    pending.put(record(a_usage(audio_s=3, at=NOON + timedelta(days=1), ended_at=NOON)))
    assert (len(pending), pending.ended) == (3, 1)
    assert [write.record.usage.audio_s for write in pending.take(9)] == [2, 0, 3]
    assert (len(pending), pending.ended) == (0, 0)


def test_a_write_that_comes_back_is_replaced_by_a_newer_one_which_completes_its_future() -> None:
    pending = PendingWrites()
    older = pending.put(record(a_usage(audio_s=1)))
    other = pending.put(record(a_usage("other", ended_at=NOON)))
    taken = pending.take(9)
    newer = pending.put(record(a_usage(audio_s=2, ended_at=NOON)))
    pending.put_back(taken)
    assert (len(pending), pending.ended) == (2, 2)
    first, last = pending.take(9)
    assert (first.record.usage.session_id, last.record.usage.audio_s) == ("other", 2)
    last.resolve()
    assert older.done() and newer.done() and not other.done()


def test_the_second_result_of_a_write_is_ignored() -> None:
    pending = PendingWrites()
    future = pending.put(record(a_usage()))
    (write,) = pending.take(1)
    write.resolve()
    write.resolve(ValueError())
    assert future.result(0) is None
