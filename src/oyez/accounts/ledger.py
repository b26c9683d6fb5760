"""The way of usage to the database: taken without waiting, written by a thread of its own."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice

import sqlalchemy as sa

from oyez.accounts import recovery
from oyez.accounts.database import Database
from oyez.accounts.schema import session_days, sessions
from oyez.accounts.usage import Record, SessionUsage, write_valid
from oyez.metrics import Metrics

MAX_ENDED = 10_000
"""The default number of ended sessions that may wait before new sessions are refused."""
MAX_BATCH = 500
LINGER_S = 0.5
"""How long figures of open sessions wait, so that more of them share one transaction."""
GAP_S = 0.002
"""The pause between two transactions. SQLite keeps no queue: another process that waits to write
must look at a moment when the database is free."""
MIN_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
"""The shortest and the longest pause before a write that failed is tried again."""
MAX_DAYS = 4
"""Days whose sums are kept: yesterday, today, and days that a wrong clock took for today."""

log = logging.getLogger(__name__)


class NotWritten(Exception):
    """The usage is not in the database, and the ledger does not try again."""


@dataclass(slots=True)
class _Waiting:
    """The newest record of one session and day."""

    record: Record
    future: Future[None]
    """Done when this record, or a newer one in its place, is in the database."""


class Ledger:
    """Keeps the usage of sessions until it is in the database, however long that takes.

    Call `start` before the event loop runs and `stop` after it; both block. All other methods may
    be called from any thread and do not block. Without a database, only the sums of the day are
    kept.
    """

    def __init__(
        self,
        database: Database | None,
        *,
        price_per_second: Decimal | None = None,
        currency: str = "USD",
        metrics: Metrics | None = None,
        max_ended: int = MAX_ENDED,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """price_per_second: the price of audio for sessions that begin from now on. clock: returns
        the time with a time zone."""
        self.instance_id = f"srv_{secrets.token_hex(8)}"
        self._database = database
        self._price = None if price_per_second is None else f"{price_per_second.normalize():f}"
        self._currency = None if price_per_second is None else currency
        self._metrics = metrics or Metrics()
        self._max_ended = max_ended
        self._clock = clock
        self._changed = threading.Condition()
        """Guards the fields below, and wakes the thread."""
        self._daily_usage = DailyUsage()
        self._waiting: dict[tuple[str, date], _Waiting] = {}
        """What is not in the database yet, oldest first."""
        self._ended: set[str] = set()
        """The sessions of `_waiting` that have ended."""
        self._pause_s = 0.0
        """The pause before the next attempt; 0 unless the latest one failed."""
        self._is_stopping = self._has_stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write what earlier runs left, close their sessions, and start the thread. Blocks.

        Raises DatabaseError.
        """
        if self._database is None:
            return
        recovery.replay_spool(self._database)
        self._heartbeat(self._database)
        self._thread = threading.Thread(
            target=self._run, args=[self._database], name="oyez-ledger", daemon=True
        )
        self._thread.start()

    def put(self, usage: SessionUsage) -> Future[None]:
        """Take the newest figures of a session. The future is done when they are durable.

        It raises NotWritten if the database rejects these figures, or if the ledger stops before
        they are written. It cannot be cancelled.
        """
        record = Record(usage, self.instance_id, self._price, self._currency)
        future: Future[None] = Future()
        with self._changed:
            self._daily_usage.add(usage)
            if self._database is None:
                future.set_result(None)
                return future
            if self._has_stopped:
                future.set_exception(NotWritten("put after the ledger was stopped"))
                return future
            future.set_running_or_notify_cancel()  # others may wait for the same write
            waiting = self._waiting.setdefault(record.key, _Waiting(record, future))
            waiting.record = record
            if usage.ended_at is None:
                self._ended.discard(usage.session_id)
            else:
                self._ended.add(usage.session_id)
            self._changed.notify()
        return waiting.future

    def audio_today_s(self, key_id: str) -> float:
        """The audio of a key since midnight UTC. That of other servers is some seconds old."""
        with self._changed:
            return self._daily_usage.audio_s(key_id, self._day())

    @property
    def full(self) -> bool:
        """True if so many ended sessions are not written yet that no new ones should begin."""
        return len(self._ended) >= self._max_ended

    @property
    def behind(self) -> bool:
        """True while the database cannot be written and usage waits."""
        return self._pause_s > 0

    def stop(self, timeout_s: float) -> int:
        """Write what is waiting, for at most `timeout_s`. Blocks.

        The rest goes to a spool file, which the next start writes to the database. Returns the
        number of sessions that could not be written.
        """
        if self._database is None or self._thread is None:
            return 0
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            # The thread may still be writing a part of these, and ends when that is over.
            left = list(self._waiting.values())
            self._waiting.clear()
            self._has_stopped = True
        if left:
            records = [waiting.record for waiting in left]
            recovery.write_spool(self._database, self.instance_id, records)
        for waiting in left:
            waiting.future.set_exception(NotWritten("stopped before the database answered"))
        return len({waiting.record.usage.session_id for waiting in left})

    def _run(self, database: Database) -> None:
        """Write until stopped. After a failure, pause twice as long each time, and try again."""
        heartbeat_at_s = time.monotonic() + recovery.HEARTBEAT_S
        while self._waiting or not self._is_stopping:
            self._wait()
            try:
                self._write(database)
                if time.monotonic() >= heartbeat_at_s:
                    self._heartbeat(database)
                    heartbeat_at_s = time.monotonic() + recovery.HEARTBEAT_S
            except Exception as error:  # noqa: BLE001 - no error may end the thread
                self._metrics.usage_write_failures.inc()
                if not self._pause_s:
                    log.error("usage waits, it cannot be written: %s", error)
                self._pause_s = min(max(MIN_PAUSE_S, 2 * self._pause_s), MAX_PAUSE_S)
            else:
                if self._pause_s:
                    log.info("usage is written again")
                self._pause_s = 0.0
            self._metrics.usage_waiting.set(len(self._waiting))
        if self._has_stopped:
            return  # something is left in the spool: other servers close these sessions
        try:
            with database.write() as connection:
                recovery.sign_off(connection, self.instance_id)
        except Exception as error:  # noqa: BLE001 - other servers notice it by the heartbeat
            log.debug("could not sign off: %s", error)

    def _wait(self) -> None:
        """Wait until a session has ended, whose client may be waiting, or for a short time. After a
        failure, wait until the pause is over."""
        with self._changed:
            if not self._pause_s:
                self._changed.wait_for(lambda: self._ended or self._is_stopping, LINGER_S)
                return
            self._changed.wait_for(lambda: self._is_stopping, self._pause_s)
        if self._is_stopping:
            time.sleep(MIN_PAUSE_S)

    def _write(self, database: Database) -> None:
        while self._waiting:
            with self._changed:
                records = [each.record for each in islice(self._waiting.values(), MAX_BATCH)]
            rejected = write_valid(database, records)
            with self._changed:
                for record in records:
                    self._finish(record, rejected.get(id(record)))
            time.sleep(GAP_S)

    def _finish(self, record: Record, problem: Exception | None) -> None:
        """Complete the future of a record, unless a newer record has come in its place."""
        waiting = self._waiting.get(record.key)
        if waiting is None or waiting.record is not record:
            return
        del self._waiting[record.key]
        if record.usage.ended_at is not None:
            self._ended.discard(record.usage.session_id)
        if problem is None:
            waiting.future.set_result(None)
        else:
            waiting.future.set_exception(NotWritten(f"the database refuses it: {problem}"))

    def _heartbeat(self, database: Database) -> None:
        with database.write() as connection:
            orphaned = recovery.heartbeat(connection, self.instance_id)
        if orphaned:
            fields = {"sessions": orphaned}
            log.warning("sessions of a server that is gone: lost", extra={"fields": fields})
        day = self._day()
        with database.read() as connection:
            audio_ms = read_others(connection, day, self.instance_id)
        with self._changed:
            self._daily_usage.set_others(day, audio_ms)

    def _day(self) -> date:
        return self._clock().astimezone(UTC).date()


class DailyUsage:
    """The audio of each key by day (UTC), so that the limit of a key can be checked without asking
    the database: sessions of this server at once, those of other servers as they were last read.

    A clock that is wrong for a while changes no sum after it is right again: the days that were
    used last are kept, whatever their date is. Not thread-safe.
    """

    def __init__(self) -> None:
        self._own_ms: dict[date, Counter[str]] = {}
        """The audio of each key. The day that was used last comes last."""
        self._others_ms: tuple[date, Mapping[str, int]] = date.min, {}
        """The audio of each key on the day for which it was last read."""
        self._reached_ms: dict[str, int] = {}
        """The audio of each open session that is counted already."""

    def add(self, usage: SessionUsage) -> None:
        """Count what is new in this usage on its day."""
        new_ms = usage.audio_ms - self._reached_ms.pop(usage.session_id, 0)
        if usage.ended_at is None:
            self._reached_ms[usage.session_id] = usage.audio_ms
        if usage.key_id is not None:
            own_ms = self._own_ms.pop(usage.day, None) or Counter()
            own_ms[usage.key_id] += new_ms
            self._own_ms[usage.day] = own_ms
            if len(self._own_ms) > MAX_DAYS:
                del self._own_ms[next(iter(self._own_ms))]

    def set_others(self, day: date, audio_ms: Mapping[str, int]) -> None:
        """Replace what other servers, and earlier runs of this one, used on this day."""
        self._others_ms = day, audio_ms

    def audio_s(self, key_id: str, day: date) -> float:
        """The audio of a key on this day, in seconds."""
        own_ms = self._own_ms.get(day, Counter())[key_id]
        read_day, others_ms = self._others_ms
        return (own_ms + (others_ms.get(key_id, 0) if read_day == day else 0)) / 1000


def read_others(connection: sa.Connection, day: date, instance_id: str) -> dict[str, int]:
    """The audio of each key on a day in milliseconds, without the sessions of one server."""
    query = (
        sa.select(sessions.c.key_id, sa.func.sum(session_days.c.audio_ms))
        .join(sessions, sessions.c.id == session_days.c.session_id)
        .where(session_days.c.day == day, sessions.c.instance_id != instance_id)
        .where(sessions.c.key_id.is_not(None))
        .group_by(sessions.c.key_id)
    )
    return {key_id: int(audio_ms) for key_id, audio_ms in connection.execute(query)}
