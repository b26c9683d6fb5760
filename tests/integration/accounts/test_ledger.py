"""What the ledger promises, on each kind of database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from oyez.accounts import recovery
from oyez.accounts.database import Database, open_database
from oyez.accounts.ledger import Ledger, NotWritten
from oyez.accounts.reports import usage_report
from oyez.accounts.schema import instances, session_days, session_languages, sessions
from oyez.accounts.usage import ORPHANED, LanguageUsage, Record, write_records
from support.usage import NOON, a_usage

WAIT_S = 10.0
OPEN_A_SESSION = """
import sys, time
from support.usage import a_usage
from oyez.accounts.database import open_database
from oyez.accounts.ledger import Ledger
ledger = Ledger(open_database(sys.argv[1]))
ledger.start()
ledger.put(a_usage(sys.argv[2])).result(10)
print("written", flush=True)
time.sleep(60)
"""
CRASHES = Path(__file__).parents[2] / "support" / "ledger_crashes.py"


def rows(database: Database, table: Any = sessions) -> list[dict[str, Any]]:
    with database.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key)).all()
    return [row._asdict() for row in found]


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    started = Ledger(database)
    started.start()
    yield started
    started.stop(WAIT_S)


def test_figures_are_there_when_the_future_is_done(database: Database, ledger: Ledger) -> None:
    ledger.put(
        a_usage(audio_s=12.3456, speech_s=4.5, turns=3, finals=2, failed=1, errors=4,
                languages={"en": LanguageUsage(2, 4.25)}, ended_at=NOON, close_code=1000,
                close_reason="finished")
    ).result(WAIT_S)  # fmt: skip
    (row,) = rows(database)
    assert (row["audio_ms"], row["speech_ms"]) == (12346, 4500)
    assert (row["turns"], row["finals"], row["failed"], row["errors"]) == (3, 2, 1, 4)
    assert (row["close_code"], row["close_reason"]) == (1000, "finished")
    assert row["began_at"] == row["ended_at"] == NOON
    assert row["instance_id"] == ledger.instance_id
    (language,) = rows(database, session_languages)
    assert (language["language"], language["turns"], language["speech_ms"]) == ("en", 2, 4250)


def test_open_sessions_are_written_too_and_without_hurry(
    database: Database, ledger: Ledger
) -> None:
    earlier = ledger.put(a_usage(audio_s=1))
    ledger.put(a_usage(audio_s=2))
    earlier.result(WAIT_S)
    (row,) = rows(database)
    assert (row["audio_ms"], row["ended_at"]) == (2000, None)


def test_a_future_cannot_be_cancelled_because_others_may_wait_for_it(ledger: Ledger) -> None:
    future = ledger.put(a_usage(ended_at=NOON))
    assert not future.cancel()
    future.result(WAIT_S)


def test_what_the_price_was_stays(database: Database) -> None:
    for price, session_id in ((Decimal("0.000090"), "a"), (Decimal("1E-4"), "b"), (None, "c")):
        ledger = Ledger(database, price_per_second=price, currency="EUR")
        ledger.start()
        ledger.put(a_usage("a", audio_s=10.0))  # the first stays open under every price
        if session_id != "a":
            ledger.put(a_usage(session_id, audio_s=10.0, ended_at=NOON))
        ledger.stop(WAIT_S)
    assert [row["price_per_second"] for row in rows(database)] == ["0.00009", "0.0001", None]
    assert usage_report(database, "key").total.cost == {"EUR": Decimal("0.0019")}


def test_a_session_over_midnight_counts_on_both_days(database: Database, ledger: Ledger) -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    before = datetime(2026, 11, 24, 5, 29, 59, tzinfo=india)
    ledger.put(a_usage(at=before, audio_s=10, turns=1))
    ledger.put(a_usage(at=before + timedelta(seconds=1), audio_s=12, turns=1))
    after = before + timedelta(seconds=2)
    ledger.put(a_usage(at=after, ended_at=after, audio_s=13, turns=2)).result(WAIT_S)
    report = usage_report(database, "day")
    days = {day: (sums.audio_ms, sums.turns, sums.sessions) for day, sums in report.lines.items()}
    assert days == {"2026-11-23": (10_000, 1, 1), "2026-11-24": (3_000, 1, 0)}


def test_text_that_a_database_would_refuse_is_cleaned(database: Database, ledger: Ledger) -> None:
    strange = a_usage(model="m\0\udcff" + "x" * 999, close_reason="a\0b", ended_at=NOON)
    ledger.put(strange).result(WAIT_S)
    (row,) = rows(database)
    assert row["model"].startswith("m?x") and len(row["model"]) == 500
    assert row["close_reason"] == "ab"


def test_figures_that_cannot_be_written_cost_no_other_session(
    database: Database, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    good = [ledger.put(a_usage(f"good_{number}", ended_at=NOON)) for number in range(3)]
    bad = [
        ledger.put(a_usage("too much", audio_s=1e30, ended_at=NOON)),
        ledger.put(a_usage("too many", turns=10**30, ended_at=NOON)),
    ]
    good.append(ledger.put(a_usage("good_3", ended_at=NOON)))
    for future in good:
        future.result(WAIT_S)
    for future in bad:
        with pytest.raises(NotWritten):
            future.result(WAIT_S)
    assert [row["id"] for row in rows(database)] == [f"good_{number}" for number in range(4)]
    logged = [record for record in caplog.records if "cannot be written" in record.message]
    assert {record.fields["session_id"] for record in logged} == {"too much", "too many"}  # type: ignore[attr-defined]
    assert not ledger.behind


def test_sessions_of_a_server_that_is_gone_are_lost_and_no_others(database: Database) -> None:
    gone, alive = Ledger(database), Ledger(database)
    for each in (gone, alive):
        each.start()
        each.put(a_usage(f"open_{each.instance_id}", audio_s=1))
        each.put(a_usage(f"ended_{each.instance_id}", ended_at=NOON, close_reason="finished"))
        each.stop(WAIT_S)
        _runs_elsewhere(database, each.instance_id, last_beat_s_ago=5)
    _age(database, gone.instance_id, 31)
    later = Ledger(database)
    later.start()
    later.stop(WAIT_S)
    reasons = {row["id"]: row["close_reason"] for row in rows(database)}
    assert reasons == {
        f"open_{gone.instance_id}": ORPHANED,
        f"ended_{gone.instance_id}": "finished",
        f"open_{alive.instance_id}": None,
        f"ended_{alive.instance_id}": "finished",
    }


def test_sessions_of_a_killed_process_are_lost_at_once_and_of_a_running_one_never(
    url: str,
) -> None:
    database = open_database(url)
    killed, running = (_with_open_session(url, name) for name in ("killed", "running"))
    for process in (killed, running):
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
    killed.kill()
    killed.communicate()
    here = Ledger(database)
    here.start()
    here.put(a_usage("here")).result(WAIT_S)
    other = Ledger(database)
    other.start()
    reasons = {row["id"]: row["close_reason"] for row in rows(database)}
    assert reasons == {"killed": ORPHANED, "running": None, "here": None}
    for ledger in (here, other):
        ledger.stop(WAIT_S)
    running.kill()
    running.communicate()
    database.close()


def test_an_earlier_process_of_the_same_number_is_gone(database: Database) -> None:
    """As in a container, where every server is process 1."""
    with database.write() as connection:
        recovery.heartbeat(connection, "srv_before")
        place = (recovery._place() or "").rpartition("/")[0] + "/earlier"
        connection.execute(update(instances).values(place=place))
        open_before = Record(a_usage("before"), "srv_before", None, None)
        write_records(connection, [open_before])
    now = Ledger(database)
    now.start()
    now.stop(WAIT_S)
    assert rows(database)[0]["close_reason"] == ORPHANED


def _with_open_session(url: str, name: str) -> subprocess.Popen[bytes]:
    """A process that has written it, and goes on."""
    command = [sys.executable, "-c", OPEN_A_SESSION, url, name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def test_what_comes_after_the_end_does_not_open_a_session_again(database: Database) -> None:
    ended = a_usage(audio_s=2, ended_at=NOON, close_code=1000, close_reason="finished")
    for usage in (ended, a_usage(audio_s=1)):
        with database.write() as connection:
            write_records(connection, [Record(usage, "srv_1", None, None)])
    (row,) = rows(database)
    assert (row["ended_at"], row["close_code"], row["audio_ms"]) == (NOON, 1000, 2000)


def test_a_server_that_was_cut_off_takes_its_sessions_back(database: Database) -> None:
    cut_off = Ledger(database)
    cut_off.start()
    cut_off.put(a_usage(audio_s=1)).result(WAIT_S)
    _runs_elsewhere(database, cut_off.instance_id, last_beat_s_ago=31)
    other = Ledger(database)
    other.start()
    other.stop(WAIT_S)
    assert rows(database)[0]["close_reason"] == ORPHANED
    cut_off.put(a_usage(audio_s=2)).result(WAIT_S)
    assert (rows(database)[0]["ended_at"], rows(database)[0]["close_reason"]) == (None, None)
    cut_off.put(a_usage(audio_s=3, ended_at=NOON, close_reason="finished")).result(WAIT_S)
    assert rows(database)[0]["close_reason"] == "finished"
    cut_off.stop(WAIT_S)


def _runs_elsewhere(database: Database, instance_id: str, *, last_beat_s_ago: float) -> None:
    """Change the row of this server so that it seems to run on another machine."""
    with database.write() as connection:
        connection.execute(instances.delete().where(instances.c.id == instance_id))
        now = datetime.now(UTC)
        row = {"id": instance_id, "place": "another", "pid": 1, "began_at": now, "beat_at": now}
        connection.execute(instances.insert().values(**row))
    _age(database, instance_id, last_beat_s_ago)


def _age(database: Database, instance_id: str, by_s: float) -> None:
    then = datetime.now(UTC) - timedelta(seconds=by_s)
    change = update(instances).where(instances.c.id == instance_id).values(beat_at=then)
    with database.write() as connection:
        connection.execute(change)


def test_a_quota_is_shared_by_servers_and_survives_a_restart(database: Database) -> None:
    now = [NOON]
    first = Ledger(database, clock=lambda: now[0])
    first.start()
    first.put(a_usage("a", audio_s=10, ended_at=NOON))
    first.put(a_usage("b", audio_s=5))
    assert first.audio_today_s("key_a") == 15  # at once, long before it is written
    first.put(a_usage("b", audio_s=7.5, ended_at=NOON)).result(WAIT_S)
    second = Ledger(database, clock=lambda: now[0])
    second.start()
    second.put(a_usage("c", audio_s=100))
    assert first.audio_today_s("key_a") == 17.5
    assert second.audio_today_s("key_a") == 117.5
    assert second.audio_today_s("key_b") == 0
    now[0] += timedelta(hours=12)
    assert second.audio_today_s("key_a") == 0
    second.put(a_usage("c", at=now[0], audio_s=101, ended_at=now[0]))
    assert second.audio_today_s("key_a") == 1
    first.stop(WAIT_S)
    second.stop(WAIT_S)


def test_without_a_database_nothing_is_kept_but_todays_sums() -> None:
    ledger = Ledger(None, clock=lambda: NOON)
    ledger.start()
    ledger.put(a_usage(audio_s=10, ended_at=NOON)).result(0)
    assert ledger.audio_today_s("key_a") == 10
    assert not ledger.full and not ledger.behind
    assert ledger.stop(WAIT_S) == 0


def test_after_it_was_stopped_nothing_is_taken(database: Database, ledger: Ledger) -> None:
    ledger.stop(WAIT_S)
    with pytest.raises(NotWritten):
        ledger.put(a_usage()).result(WAIT_S)


def test_killed_at_any_moment_it_has_what_was_promised_once(url: str, tmp_path: Path) -> None:
    acknowledged = tmp_path / "acknowledged"
    subprocess.run([sys.executable, CRASHES, url, acknowledged, "12"], check=True, timeout=200)
    promised = acknowledged.read_text().split()
    assert len(promised) >= 6  # in every other of the twelve rounds
    database = open_database(url)
    Ledger(database).start()
    found = {row["id"]: row for row in rows(database)}
    assert set(promised) <= set(found)
    for session_id in promised:
        row = found[session_id]
        assert (row["audio_ms"], row["turns"], row["close_code"]) == (3750, 3, 1000)
    assert all(
        row["close_reason"] == ORPHANED for row in found.values() if row["close_code"] is None
    )
    days = Counter(row["session_id"] for row in rows(database, session_days))
    assert all(days[session_id] == 2 for session_id in promised)
    assert {row["id"]: row["audio_ms"] for row in found.values()} == _summed_days(database)
    database.close()


def _summed_days(database: Database) -> dict[str, int]:
    audio_ms: Counter[str] = Counter()
    for row in rows(database, session_days):
        audio_ms[row["session_id"]] += row["audio_ms"]
    return dict(audio_ms)
