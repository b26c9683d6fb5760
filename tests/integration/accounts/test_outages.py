"""The database is away, busy or full: nothing waits for it, nothing is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from oyez.accounts import database as database_module
from oyez.accounts import ledger as ledger_module
from oyez.accounts.database import Database, DatabaseError, open_database
from oyez.accounts.ledger import Ledger, NotWritten
from oyez.accounts.reports import usage_report
from oyez.metrics import Metrics
from support.postgres import Postgres
from support.usage import NOON, a_usage

WAIT_S = 10.0


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(ledger_module, "MAX_PAUSE_S", 0.2)


@pytest.fixture
def own_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """It may be stopped: it runs again for the next test."""
    yield postgres
    postgres.stop()
    postgres.start()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'accounts.db'}")
    yield opened
    opened.close()


class Lock:
    """Another connection that writes to the database until it is released."""

    def __init__(self, database: Database) -> None:
        self._taken, self._release = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, args=[database])
        self._thread.start()
        assert self._taken.wait(5)

    def release(self) -> None:
        self._release.set()
        self._thread.join()

    def _hold(self, database: Database) -> None:
        with database.write():
            self._taken.set()
            self._release.wait(30)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def started(database: Database, **options: Any) -> Ledger:
    ledger = Ledger(database, **options)
    ledger.start()
    return ledger


def audio_ms(database: Database) -> int:
    return usage_report(database, "key").total.audio_ms


def test_putting_never_waits_for_the_database(local: Database) -> None:
    ledger = started(local)
    lock = Lock(local)
    began_s = time.perf_counter()
    futures = [ledger.put(a_usage(f"s{n}", audio_s=1, ended_at=NOON)) for n in range(1000)]
    assert time.perf_counter() - began_s < 1.0
    until(lambda: ledger.behind)
    assert not any(future.done() for future in futures)
    lock.release()
    wait(futures, WAIT_S)
    assert audio_ms(local) == 1_000_000
    until(lambda: not ledger.behind)
    ledger.stop(WAIT_S)


def test_an_outage_is_logged_once_and_counted_every_time(
    local: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    metrics = Metrics()
    ledger = started(local, metrics=metrics)
    lock = Lock(local)
    future = ledger.put(a_usage(ended_at=NOON))
    until(lambda: _failures(metrics) >= 3)
    assert b"oyez_usage_waiting 1.0" in metrics.exposition()
    lock.release()
    future.result(WAIT_S)
    ledger.stop(WAIT_S)
    lines = [record.message for record in caplog.records if "usage" in record.message]
    assert len(lines) == 2
    assert "locked" in lines[0] and lines[1] == "usage is written again"


def _failures(metrics: Metrics) -> float:
    lines = metrics.exposition().decode().splitlines()
    (line,) = [line for line in lines if line.startswith("oyez_usage_write_failures_total")]
    return float(line.split()[1])


def test_it_is_full_when_so_many_sessions_have_ended_unwritten(local: Database) -> None:
    ledger = started(local, max_ended=3)
    lock = Lock(local)
    futures = [ledger.put(a_usage(f"open{n}")) for n in range(9)]
    futures += [ledger.put(a_usage(f"s{n}", ended_at=NOON)) for n in range(2)]
    until(lambda: ledger.behind)
    assert not ledger.full
    futures.append(ledger.put(a_usage("s2", ended_at=NOON)))
    until(lambda: ledger.full)
    lock.release()
    assert wait(futures, WAIT_S).not_done == set()
    assert not ledger.full
    ledger.stop(WAIT_S)


def test_the_newest_of_a_session_and_day_waits_and_days_stay_apart(local: Database) -> None:
    ledger = started(local, max_ended=2)
    lock = Lock(local)
    tomorrow = NOON + timedelta(days=1)
    futures = [ledger.put(a_usage(audio_s=seconds)) for seconds in (1, 2)]
    futures.append(ledger.put(a_usage(audio_s=3, at=tomorrow, ended_at=tomorrow)))
    until(lambda: ledger.behind)
    assert len(ledger._waiting) == 2 and not ledger.full
    lock.release()
    assert wait(futures, WAIT_S).not_done == set()
    days = usage_report(local, "day").lines
    assert [sums.audio_ms for sums in days.values()] == [2000, 1000]
    ledger.stop(WAIT_S)


def test_a_session_counts_as_ended_while_its_last_figures_wait(local: Database) -> None:
    ledger = started(local, max_ended=1)
    lock = Lock(local)
    ledger.put(a_usage(audio_s=1, ended_at=NOON))
    assert ledger.full
    future = ledger.put(a_usage(audio_s=2))
    assert not ledger.full
    lock.release()
    future.result(WAIT_S)
    assert not ledger.full
    ledger.stop(WAIT_S)


def test_newer_figures_come_while_older_ones_could_not_be_written(local: Database) -> None:
    ledger = started(local)
    lock = Lock(local)
    older = ledger.put(a_usage(audio_s=1, ended_at=None))
    until(lambda: ledger.behind)
    newer = ledger.put(a_usage(audio_s=2, ended_at=NOON))
    lock.release()
    older.result(WAIT_S)
    newer.result(WAIT_S)
    assert audio_ms(local) == 2000
    ledger.stop(WAIT_S)


def test_what_could_not_be_written_at_the_end_is_taken_in_at_the_next_start(
    local: Database, tmp_path: Path
) -> None:
    first = started(local)
    first.put(a_usage("before", audio_s=1, ended_at=NOON)).result(WAIT_S)
    lock = Lock(local)
    futures = [first.put(a_usage(f"s{n}", audio_s=1, ended_at=NOON)) for n in range(5)]
    futures.append(first.put(a_usage("open", audio_s=1)))
    assert first.stop(0.5) == 6
    for future in futures:
        with pytest.raises(NotWritten):
            future.result(0)
    lock.release()
    (file,) = tmp_path.glob("*.jsonl")
    assert file.stat().st_mode & 0o777 == 0o600
    assert audio_ms(local) == 1000
    saved = file.read_bytes()
    started(local).stop(WAIT_S)
    assert audio_ms(local) == 7000
    assert not list(tmp_path.glob("*.jsonl"))
    file.write_bytes(saved)  # as after a crash before the file was removed
    started(local).stop(WAIT_S)
    assert audio_ms(local) == 7000


def test_a_damaged_file_gives_what_can_be_read_and_is_kept(
    local: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = started(local)
    lock = Lock(local)
    for number in range(2):
        first.put(a_usage(f"s{number}", audio_s=1, ended_at=NOON))
    first.stop(0.1)
    lock.release()
    (file,) = tmp_path.glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-20])  # as a full disk leaves it
    started(local).stop(WAIT_S)
    assert audio_ms(local) == 1000
    (kept,) = tmp_path.glob("*.unreadable")
    assert str(kept) in caplog.text
    started(local).stop(WAIT_S)
    assert audio_ms(local) == 1000


def test_postgresql_is_restarted_meanwhile(own_postgres: Postgres) -> None:
    database = open_database(own_postgres.url())
    ledger = started(database)
    ledger.put(a_usage("before", audio_s=1, ended_at=NOON)).result(WAIT_S)
    own_postgres.stop()
    future = ledger.put(a_usage("during", audio_s=1, ended_at=NOON))
    until(lambda: ledger.behind)
    with pytest.raises(DatabaseError):
        audio_ms(database)
    own_postgres.start()
    future.result(WAIT_S)
    assert audio_ms(database) == 2000
    assert ledger.stop(WAIT_S) == 0
    database.close()


def test_postgresql_is_away_when_the_server_stops(
    own_postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    database = open_database(own_postgres.url())
    ledger = started(database)
    own_postgres.stop()
    ledger.put(a_usage(audio_s=1, ended_at=NOON))
    assert ledger.stop(0.3) == 1
    own_postgres.start()
    started(database).stop(WAIT_S)
    assert audio_ms(database) == 1000
    database.close()


def test_a_row_that_another_program_locks(own_postgres: Postgres) -> None:
    database = open_database(own_postgres.url())
    ledger = started(database)
    with database.write() as connection:
        connection.execute(text("LOCK TABLE sessions"))
        future = ledger.put(a_usage(audio_s=1, ended_at=NOON))
        time.sleep(0.2)
        assert not future.done()
    future.result(WAIT_S)
    ledger.stop(WAIT_S)
    database.close()
