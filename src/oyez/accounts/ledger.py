"""The way of usage to the database: taken without waiting, written by a thread of its own."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from oyez.accounts import recovery
from oyez.accounts.daily_usage import DailyUsage, read_others
from oyez.accounts.database import Database
from oyez.accounts.usage import Record, SessionUsage, write_valid
from oyez.metrics import Metrics

MAX_ENDED = 10_000
"""The default number of ended sessions that may wait before new sessions are refused."""
MAX_BATCH = 500
LINGER_S = 0.5
"""How long figures of open sessions wait, so that more of them share one transaction."""
MIN_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
"""The shortest and the longest pause before a write that failed is tried again."""

log = logging.getLogger(__name__)


class NotWritten(Exception):
    """The usage is not in the database, and the ledger does not try again."""


@dataclass(slots=True)
class PendingWrite:
    """The newest record of one session and day."""

    record: Record
    futures: list[Future[None]]
    """Done when this record, or a newer one in its place, is in the database."""

    @property
    def key(self) -> tuple[str, date]:
        return self.record.usage.session_id, self.record.usage.day

    @property
    def has_ended(self) -> bool:
        return self.record.usage.ended_at is not None

    def resolve(self, problem: Exception | None = None) -> None:
        """Complete the futures. If two threads call this, the first call counts."""
        for future in self.futures:
            with suppress(InvalidStateError):
                future.set_exception(problem) if problem else future.set_result(None)


class PendingWrites:
    """The records that wait to be written, oldest first. Not thread-safe.

    A record replaces a waiting one of the same session and day, because its figures include those
    of the other. Records of different days stay apart, so that each day keeps its figures.
    """

    def __init__(self) -> None:
        self._writes: dict[tuple[str, date], PendingWrite] = {}
        self.ended = 0
        """How many of the records belong to sessions that have ended."""

    def __len__(self) -> int:
        return len(self._writes)

    def put(self, record: Record) -> Future[None]:
        """Add a record. The future is done when its figures are written."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # others may wait for the same write
        fresh = PendingWrite(record, [future])
        pending = self._writes.setdefault(fresh.key, fresh)
        if pending is not fresh:
            self.ended -= pending.has_ended
            pending.record = record
        self.ended += pending.has_ended
        return pending.futures[0]

    def take(self, max_writes: int) -> list[PendingWrite]:
        """Remove and return the records that have waited longest."""
        taken = [self._writes.pop(key) for key in list(self._writes)[:max_writes]]
        self.ended -= sum(write.has_ended for write in taken)
        return taken

    def put_back(self, writes: Iterable[PendingWrite]) -> None:
        """Return records that could not be written to the front. Newer records replace them."""
        older = {}
        for write in writes:
            newer = self._writes.get(write.key)
            if newer:
                newer.futures += write.futures
            else:
                older[write.key] = write
        self.ended += sum(write.has_ended for write in older.values())
        self._writes = older | self._writes


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
        self._pending = PendingWrites()
        self._being_written: list[PendingWrite] = []
        self._is_failing = False
        self._stop_deadline_s: float | None = None
        self._has_stopped = False
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
        with self._changed:
            self._daily_usage.add(usage)
            if self._database is None:
                return _done(None)
            if self._has_stopped:
                return _done(NotWritten("put after the ledger was stopped"))
            future = self._pending.put(record)
            self._changed.notify()
        return future

    def audio_today_s(self, key_id: str) -> float:
        """The audio of a key since midnight UTC. That of other servers is some seconds old."""
        with self._changed:
            return self._daily_usage.audio_s(key_id, self._day())

    @property
    def full(self) -> bool:
        """True if so many ended sessions are not written yet that no new ones should begin."""
        return self._pending.ended >= self._max_ended

    @property
    def behind(self) -> bool:
        """True while the database cannot be written and usage waits."""
        return self._is_failing

    def stop(self, timeout_s: float) -> int:
        """Write what is pending, for at most `timeout_s`. Blocks.

        The rest goes to a spool file, which the next start writes to the database. Returns the
        number of sessions that could not be written.
        """
        if self._database is None or self._thread is None:
            return 0
        with self._changed:
            self._stop_deadline_s = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            # The thread may still wait for the database with a batch: that counts as unwritten.
            self._pending.put_back(self._being_written)
            left = self._pending.take(len(self._pending))
            self._has_stopped = True
        if left:
            records = [write.record for write in left]
            recovery.write_spool(self._database, self.instance_id, records)
        for write in left:
            write.resolve(NotWritten("stopped before the database answered"))
        return len({write.record.usage.session_id for write in left})

    def _run(self, database: Database) -> None:
        """Write until stopped. After a failure, pause twice as long each time, and try again."""
        heartbeat_at_s = time.monotonic() + recovery.HEARTBEAT_S
        pause_s = 0.0
        while not self._should_end():
            self._pause(pause_s) if pause_s else self._wait_for_work(heartbeat_at_s)
            try:
                self._write(database)
                if time.monotonic() >= heartbeat_at_s:
                    self._heartbeat(database)
                    heartbeat_at_s = time.monotonic() + recovery.HEARTBEAT_S
            except Exception as error:  # noqa: BLE001 - no error may end the thread
                pause_s = min(max(MIN_PAUSE_S, 2 * pause_s), MAX_PAUSE_S)
                self._failed(error)
            else:
                pause_s = 0.0
                self._succeeded()
        if not self._pending:
            self._sign_off(database)

    def _should_end(self) -> bool:
        """True once `stop` was called, and everything is written or the time is over."""
        deadline_s = self._stop_deadline_s
        return deadline_s is not None and (not self._pending or time.monotonic() >= deadline_s)

    def _pause(self, pause_s: float) -> None:
        """Wait before the next attempt; only a short time once `stop` was called."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop_deadline_s is not None, pause_s)
        if self._stop_deadline_s is not None:
            time.sleep(MIN_PAUSE_S)

    def _wait_for_work(self, heartbeat_at_s: float) -> None:
        with self._changed:
            until_heartbeat_s = max(0.0, heartbeat_at_s - time.monotonic())
            self._changed.wait_for(lambda: self._pending or self._is_urgent(), until_heartbeat_s)
            self._changed.wait_for(self._is_urgent, LINGER_S if self._pending else 0.0)

    def _is_urgent(self) -> bool:
        """True if a client may be waiting: a session has ended, or the server stops."""
        return self._pending.ended > 0 or self._stop_deadline_s is not None

    def _write(self, database: Database) -> None:
        while self._pending:
            with self._changed:
                self._being_written = writes = self._pending.take(MAX_BATCH)
            try:
                rejected = write_valid(database, [write.record for write in writes])
            except BaseException:
                with self._changed:
                    self._pending.put_back(self._being_written)
                    self._being_written = []
                raise
            self._being_written = []
            for write in writes:
                reason = rejected.get(id(write.record))
                problem = NotWritten(f"the database refuses it: {reason}") if reason else None
                write.resolve(problem)
            self._metrics.usage_waiting.set(len(self._pending))

    def _heartbeat(self, database: Database) -> None:
        with database.write() as connection:
            recovery.heartbeat(connection, self.instance_id)
            if orphaned := recovery.close_orphaned(connection, self.instance_id):
                fields = {"sessions": orphaned}
                log.warning("sessions of a server that is gone: lost", extra={"fields": fields})
        day = self._day()
        with database.read() as connection:
            audio_ms = read_others(connection, day, self.instance_id)
        with self._changed:
            self._daily_usage.set_others(day, audio_ms)

    def _sign_off(self, database: Database) -> None:
        try:
            with database.write() as connection:
                recovery.sign_off(connection, self.instance_id)
        except Exception as error:  # noqa: BLE001 - other servers notice it by the heartbeat
            log.debug("could not sign off: %s", error)

    def _failed(self, error: Exception) -> None:
        self._metrics.usage_write_failures.inc()
        self._metrics.usage_waiting.set(len(self._pending))
        if not self._is_failing:
            self._is_failing = True
            log.error("usage waits, it cannot be written: %s", error)

    def _succeeded(self) -> None:
        if self._is_failing:
            self._is_failing = False
            log.info("usage is written again")

    def _day(self) -> date:
        return self._clock().astimezone(UTC).date()


def _done(problem: Exception | None) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(problem) if problem else future.set_result(None)
    return future
