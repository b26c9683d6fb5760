"""A key's audio of the day, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import SessionUsage

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Clocked:
    """A ledger without a database, and a clock that a test turns."""

    def __init__(self) -> None:
        self.now = NOON
        self.ledger = Ledger(None, clock=lambda: self.now)

    def use(self, session_id: str, audio_s: float) -> None:
        """The session has had `audio_s` of audio until now."""
        usage = SessionUsage(
            session_id=session_id,
            key_id="key_a",
            key_name="a",
            endpoint="realtime",
            model="m",
            began_at=self.now,
            at=self.now,
            audio_s=audio_s,
        )
        self.ledger.put(usage)

    @property
    def used_s(self) -> float:
        return self.ledger.audio_today_s("key_a")


@pytest.mark.parametrize("wrong", [timedelta(days=1), timedelta(days=3650), -timedelta(hours=13)])
def test_a_clock_that_is_wrong_for_a_while_loses_nothing_of_the_day(wrong: timedelta) -> None:
    clocked = Clocked()
    clocked.use("s1", 3000.0)
    clocked.now += wrong
    assert clocked.used_s == 0.0
    clocked.use("s2", 1.0)
    assert clocked.used_s == 1.0
    clocked.now -= wrong
    assert clocked.used_s == 3000.0
    clocked.use("s3", 5000.0)
    clocked.use("s1", 3600.0)
    clocked.use("s2", 3.0)
    assert clocked.used_s == 8602.0


def test_hours_back_and_forth_within_the_day_change_nothing() -> None:
    clocked = Clocked()
    for number, hours in enumerate((-11, 11, -5, 3)):
        clocked.now = NOON + timedelta(hours=hours)
        clocked.use(f"s{number}", 10.0)
    assert clocked.used_s == 40.0


def test_others_are_those_of_the_day_they_were_read_for() -> None:
    clocked = Clocked()
    daily = clocked.ledger._daily_usage
    daily.set_others(NOON.date(), {"key_a": 7000})
    assert clocked.used_s == 7.0
    daily.set_others(NOON.date(), {"key_a": 8000})
    clocked.use("s1", 1.0)
    assert clocked.used_s == 9.0
    daily.set_others(NOON.date() + timedelta(days=1), {"key_a": 2000})
    assert clocked.used_s == 1.0
    clocked.now += timedelta(days=1)
    assert clocked.used_s == 2.0


@given(st.lists(st.integers(-400, 400), max_size=30))
def test_few_days_are_kept(jumps: list[int]) -> None:
    clocked = Clocked()
    for number, days in enumerate(jumps):
        clocked.now = NOON + timedelta(days=days)
        clocked.use(f"s{number}", 1.0)
        assert clocked.used_s >= 1.0
    assert len(clocked.ledger._daily_usage._own_ms) <= 4
