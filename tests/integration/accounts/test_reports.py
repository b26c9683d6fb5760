from __future__ import annotations

import tempfile
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.accounts.database import Database, open_database
from oyez.accounts.reports import usage_report
from oyez.accounts.usage import LanguageUsage, Record, SessionUsage, write_records
from support.usage import NOON, a_usage

PRICES = [None, "0.00009", "0.1"]
steps = st.lists(
    st.tuples(
        st.timedeltas(timedelta(seconds=1), timedelta(hours=30)),
        st.integers(0, 10**7),  # milliseconds
        st.dictionaries(st.sampled_from(["en", "de", "zh"]), st.integers(0, 9), max_size=2),
    ),
    min_size=1,
    max_size=4,
)
FoundSession = tuple[str | None, str | None, list[tuple[timedelta, int, dict[str, int]]]]
found_sessions = st.lists(
    st.tuples(st.sampled_from(["key_a", "key_b", None]), st.sampled_from(PRICES), steps),
    max_size=5,
)


def as_records(found: list[FoundSession]) -> list[Record]:
    """Every session's figures, growing step by step."""
    records = []
    for number, (key_id, price, growth) in enumerate(found):
        at, audio_ms, languages = NOON, 0, Counter[str]()
        for wait, more_ms, spoken in growth:
            at, audio_ms = at + wait, audio_ms + more_ms
            languages.update(spoken)
            usage = a_usage(
                f"s{number}",
                key_id=key_id,
                key_name=key_id,
                at=at,
                audio_s=audio_ms / 1000,
                turns=languages.total(),
                finals=languages.total(),
                languages={code: LanguageUsage(n, n * 0.5) for code, n in languages.items()},
            )
            records.append(Record(usage, "srv_1", price, "EUR" if price else None))
    return records


def last_of_each(records: list[Record]) -> list[tuple[SessionUsage, str | None]]:
    by_id = {record.usage.session_id: record for record in records}
    return [(record.usage, record.price_per_second) for record in by_id.values()]


@settings(max_examples=25, deadline=None)
@given(found_sessions, st.integers(1, 7), st.randoms(use_true_random=False))
def test_every_way_to_sum_gives_the_same(
    found: list[FoundSession], batch: int, random: Random
) -> None:
    records = as_records(found)
    shuffled = list(records)
    random.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'a.db'}")
        for start in range(0, len(shuffled), batch):
            with database.write() as connection:
                write_records(connection, shuffled[start : start + batch])
        by_key, by_day, by_language = (
            usage_report(database, "key"),
            usage_report(database, "day"),
            usage_report(database, "language"),
        )
        split = date(2026, 11, 25)
        before = usage_report(database, "day", until=split)
        after = usage_report(database, "day", since=split + timedelta(days=1))
        database.close()
    last = last_of_each(records)
    assert by_key.total == by_day.total == before.total + after.total
    assert by_key.total.sessions == len(last)
    assert by_key.total.audio_ms == sum(round(usage.audio_s * 1000) for usage, _ in last)
    assert by_key.total.turns == by_language.total.turns == sum(usage.turns for usage, _ in last)
    assert by_language.total.speech_ms == sum(
        round(each.speech_s * 1000) for usage, _ in last for each in usage.languages.values()
    )
    exact = sum((Decimal(price) * round(u.audio_s * 1000) for u, price in last if price), Decimal())
    assert by_key.total.cost.get("EUR", Decimal()) * 1000 == exact


@pytest.mark.parametrize("days", [(1, 2), (2, 1)])
def test_a_session_counts_once_in_whatever_order_its_days_are_written(
    database: Database, days: tuple[int, int]
) -> None:
    for day in days:
        usage = a_usage("sess_1", at=NOON + timedelta(days=day))
        with database.write() as connection:
            write_records(connection, [Record(usage, "srv_1", None, None)])
    assert usage_report(database, "day").total.sessions == 1
