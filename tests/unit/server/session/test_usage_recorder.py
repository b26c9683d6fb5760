from __future__ import annotations

import math
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oyez.accounts.keys import KeyLimits
from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import LanguageUsage, SessionUsage
from oyez.audio.pcm import SAMPLE_RATE
from oyez.protocol.effects import Completed
from oyez.server.access.admission import Quotas
from oyez.server.access.callers import ANONYMOUS, Caller
from oyez.server.session import usage_recorder
from oyez.server.session.session_metrics import Figures
from oyez.server.session.usage_recorder import UsageRecorder
from support.waiting import eventually

EVENING = datetime(2026, 11, 23, 23, 59, 50, tzinfo=UTC)


class RememberingLedger(Ledger):
    """Today's sums as ever, and what was put."""

    def __init__(self, clock: Any) -> None:
        super().__init__(None, clock=clock)
        self.seen: list[SessionUsage] = []

    def put(self, usage: SessionUsage) -> Future[None]:
        self.seen.append(usage)
        return super().put(usage)


class SameLimits:
    """As `Callers`, for keys whose limits do not change."""

    def limits(self, caller: Caller) -> KeyLimits:
        return caller.limits


class Office:
    """A ledger with quotas and a clock that a test turns. Needs a running event loop."""

    def __init__(self, caller: Caller) -> None:
        self.now = EVENING
        self.caller = caller
        self.ledger = RememberingLedger(lambda: self.now)
        self.quotas = Quotas(self.ledger, SameLimits(), lambda: self.now)  # type: ignore[arg-type]

    def session(self, name: str = "s1") -> tuple[UsageRecorder, Figures]:
        figures = Figures()
        recorder = UsageRecorder(
            self.ledger,
            self.quotas,
            self.caller,
            figures,
            session_id=name,
            endpoint="realtime",
            model="m",
            clock=lambda: self.now,
        )
        return recorder, figures

    def receive(self, session: tuple[UsageRecorder, Figures], audio_s: float) -> None:
        recorder, figures = session
        recorder.add_audio(audio_s)
        figures.audio_samples += round(audio_s * SAMPLE_RATE)


def limited(audio_s: float | None) -> Caller:
    return Caller("key_a", "a", KeyLimits(audio_s_per_day=audio_s))


async def test_audio_counts_before_it_is_reported_to_the_ledger() -> None:
    office = Office(limited(10))
    first, second = office.session("s1"), office.session("s2")
    office.receive(first, 4)
    office.receive(second, 5)
    assert office.quotas.left_s(office.caller) == pytest.approx(1)
    first[0].end(1000, "")
    assert office.quotas.left_s(office.caller) == pytest.approx(1), "reported, and counted once"
    office.receive(second, 1)
    refusal = office.quotas.check(office.caller)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (429, "Throttling.AllocationQuota")
    assert refusal.retry_after_s == 10, "until midnight UTC"
    second[0].end(1000, "")


async def test_a_day_begins_at_midnight_utc_within_a_session() -> None:
    office = Office(limited(10))
    session = office.session()
    office.receive(session, 9)
    office.now += timedelta(seconds=11)
    assert office.quotas.left_s(office.caller) == pytest.approx(1), "not reported yet"
    office.receive(session, 3)
    assert office.quotas.left_s(office.caller) == pytest.approx(7)
    session[0].end(1000, "")
    assert office.quotas.left_s(office.caller) == pytest.approx(7)
    by_day = [(usage.day.day, usage.audio_s) for usage in office.ledger.seen]
    assert by_day == [(23, 0.0), (23, 9.0), (24, 12.0)]


async def test_what_came_before_midnight_counts_there_if_nothing_comes_after() -> None:
    office = Office(limited(10))
    session = office.session()
    office.receive(session, 9)
    office.now += timedelta(days=1)
    session[0].end(1000, "")
    assert [(u.day.day, u.audio_s) for u in office.ledger.seen][1:] == [(23, 9.0), (24, 9.0)]
    assert office.quotas.left_s(office.caller) == pytest.approx(10)


@pytest.mark.parametrize("caller", [ANONYMOUS, limited(None)])
async def test_without_a_limit_there_is_always_more(caller: Caller) -> None:
    office = Office(caller)
    session = office.session()
    office.receive(session, 1e6)
    assert office.quotas.left_s(caller) == math.inf
    session[0].end(1000, "")


async def test_usage_is_reported_at_the_start_now_and_then_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage_recorder, "INTERVAL_S", 0.01)
    office = Office(limited(None))
    recorder, figures = session = office.session()
    office.receive(session, 2)
    item = Completed("i", 0, 100, 1.5, "de", "neutral", "ja", ())
    figures.completed(item)
    figures.turns = figures.finals = 1
    await eventually(lambda: len(office.ledger.seen) >= 3)
    recorder.end(1008, "API key revoked")
    assert recorder.end(1006, "") is None
    last = office.ledger.seen[-1]
    assert (last.ended_at, last.close_code, last.close_reason) == (EVENING, 1008, "API key revoked")
    assert (last.audio_s, last.speech_s, last.turns, last.finals) == (2, 1.5, 1, 1)
    assert last.languages == {"de": LanguageUsage(1, 1.5)}
    assert (last.session_id, last.key_id, last.key_name) == ("s1", "key_a", "a")
    assert all(usage.ended_at is None for usage in office.ledger.seen[:-1])


async def test_clocks_that_go_back_do_not_make_an_end_before_the_beginning() -> None:
    office = Office(limited(None))
    session = office.session()
    office.now -= timedelta(hours=1)
    office.receive(session, 1)
    session[0].end(1000, "")
    first, last = office.ledger.seen[0], office.ledger.seen[-1]
    assert last.ended_at is not None and last.ended_at >= first.began_at
