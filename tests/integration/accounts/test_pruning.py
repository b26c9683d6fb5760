from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from oyez.accounts import reports
from oyez.accounts.database import Database
from oyez.accounts.keys import create_key
from oyez.accounts.ledger import read_others
from oyez.accounts.reports import (
    first_open,
    last_use,
    old_usage,
    prune,
    session_report,
    usage_report,
)
from oyez.accounts.schema import session_days, session_languages
from oyez.accounts.usage import LanguageUsage, Record, write_records
from support.usage import NOON, a_usage

TODAY = NOON.date()
ENGLISH = {"en": LanguageUsage(1, 0.5)}


def write(database: Database, session_id: str, days_ago: int, **figures: Any) -> None:
    """A session of an hour at noon, unless `figures` says otherwise, at 0.1 EUR a second."""
    began_at = figures.pop("began_at", NOON - timedelta(days=days_ago))
    at = figures.pop("at", began_at + timedelta(hours=1))
    ended = {"ended_at": figures.pop("ended_at", at)}
    defaults = {"audio_s": 10.0, "turns": 1, "languages": ENGLISH}
    usage = a_usage(session_id, began_at=began_at, at=at, **ended, **{**defaults, **figures})
    with database.write() as connection:
        write_records(connection, [Record(usage, "srv", "0.1", "EUR")])


def left(database: Database) -> list[str]:
    return [each.id for each in session_report(database, since=date.min, until=date.max)]


def rows(database: Database) -> list[int]:
    with database.read() as connection:
        tables = (session_days, session_languages)
        return [
            connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables
        ]


def test_what_ended_before_the_day_goes_and_nothing_else(database: Database) -> None:
    for days_ago in range(5):
        write(database, f"s{days_ago}", days_ago)
    before = TODAY - timedelta(days=2)
    old = old_usage(database, before)
    assert (old.sessions, old.audio_ms, old.cost) == (2, 20_000, {"EUR": Decimal("2.0")})
    assert prune(database, before) == 2
    assert left(database) == ["s2", "s1", "s0"]
    assert rows(database) == [3, 3]
    assert usage_report(database, "day").total.audio_ms == 30_000
    assert prune(database, before) == 0
    assert old_usage(database, before).sessions == 0


def test_a_session_over_midnight_stays_whole_or_goes_whole(database: Database) -> None:
    late = NOON + timedelta(hours=11)
    midnight = datetime.combine(TODAY + timedelta(days=1), datetime.min.time(), UTC)
    write(database, "long", 0, began_at=late, at=late, ended_at=None)
    write(database, "long", 0, began_at=late, at=midnight + timedelta(hours=1), audio_s=30.0)
    assert rows(database)[0] == 2
    assert prune(database, TODAY + timedelta(days=1)) == 0
    assert usage_report(database, "key").total.sessions == 1
    assert prune(database, TODAY + timedelta(days=2)) == 1
    assert rows(database) == [0, 0]


def test_open_sessions_stay_and_are_reported(database: Database) -> None:
    write(database, "open", 3, ended_at=None)
    write(database, "ended", 3)
    assert first_open(database, TODAY) == NOON - timedelta(days=3)
    assert first_open(database, TODAY - timedelta(days=3)) is None
    assert prune(database, TODAY) == 1
    assert left(database) == ["open"]


def test_keys_used_today_have_used_as_much_and_those_used_before_still_were(
    database: Database,
) -> None:
    _, key = create_key(database, "ci")
    _, other = create_key(database, "other")
    for days_ago in (0, 5, 9):
        write(database, f"s{days_ago}", days_ago, key_id=key.id)
    write(database, "o", 7, key_id=other.id)
    write(database, "nobody", 7, key_id=None, key_name=None)
    with database.read() as connection:
        used = read_others(connection, TODAY, "another")
    last = last_use(database)
    assert prune(database, TODAY) == 4
    with database.read() as connection:
        assert read_others(connection, TODAY, "another") == used == {key.id: 10_000}
    assert last_use(database) == last
    assert set(last) == {key.id, other.id}


def test_many_go_in_several_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PRUNE_BATCH", 2)
    _, key = create_key(database, "ci")
    for days_ago in range(1, 6):
        write(database, f"s{days_ago}", days_ago, key_id=key.id)
    last = last_use(database)
    assert prune(database, TODAY) == 5
    assert left(database) == [] and last_use(database) == last
