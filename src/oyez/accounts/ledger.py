"""Usage on its way to the database: taken at once, written by a thread of its own."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, date, datetime
from decimal import Decimal

from oyez.accounts import instances, journal
from oyez.accounts.database import Database
from oyez.accounts.record import Record
from oyez.accounts.today import Today
from oyez.accounts.usage import SessionUsage
from oyez.accounts.usage_store import audio_ms_of_others, write_what_can_be
from oyez.accounts.waiting import Entry, Waiting
from oyez.metrics import Metrics

MAX_ENDED = 10_000
MAX_BATCH = 500
LINGER_S = 0.5
"""Figures of open sessions wait so long for company: nobody is waiting for them."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

log = logging.getLogger(__name__)


class NotWritten(Exception):
    """This usage is not in the database, and the ledger has given it up."""


class Ledger:
    """Keeps what sessions used until it is in the database, however long that is away.

    `start` it before the event loop runs and `stop` it after; both block. Everything else may be
    called from any thread and never blocks. database: None keeps today's sums and nothing else.
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
        """price_per_second: of audio, for sessions from now on. clock: with time zone."""
        self.instance_id = f"srv_{secrets.token_hex(8)}"
        self._database = database
        self._price = None if price_per_second is None else f"{price_per_second.normalize():f}"
        self._currency = None if price_per_second is None else currency
        self._metrics = metrics or Metrics()
        self._max_ended = max_ended
        self._clock = clock
        self._changed = threading.Condition()
        self._today = Today()
        self._waiting = Waiting()
        self._in_work: list[Entry] = []
        self._is_away = False
        self._stop_by_s: float | None = None
        self._has_stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take in what an earlier run left and close its sessions; then write. Blocks.

        Raises DatabaseError.
        """
        if self._database is None:
            return
        journal.take_in(self._database)
        self._beat(self._database)
        self._thread = threading.Thread(
            target=self._run, args=[self._database], name="oyez-ledger", daemon=True
        )
        self._thread.start()

    def put(self, usage: SessionUsage) -> Future[None]:
        """Take the newest figures of a session; the future is done when they are durable.

        It holds NotWritten if the database refuses these figures or the ledger is stopped before
        they are written. Nothing cancels it.
        """
        record = Record(usage, self.instance_id, self._price, self._currency)
        with self._changed:
            self._today.put(usage)
            if self._database is None:
                return _settled(None)
            if self._has_stopped:
                return _settled(NotWritten("put after the ledger was stopped"))
            future = self._waiting.put(record)
            self._changed.notify()
        return future

    def audio_today_s(self, key_id: str) -> float:
        """Audio of a key since midnight UTC; of other servers, as of some seconds ago."""
        with self._changed:
            return self._today.audio_s(key_id, self._day())

    @property
    def full(self) -> bool:
        """So many sessions have ended unwritten that no new ones should begin."""
        return self._waiting.ended >= self._max_ended

    @property
    def behind(self) -> bool:
        """The database does not answer; what is put waits."""
        return self._is_away

    def stop(self, timeout_s: float) -> int:
        """Write what waits, for so long. Blocks. Returns how many sessions could not be written.

        Their usage goes to a file beside the database, which the next start takes in.
        """
        if self._database is None or self._thread is None:
            return 0
        with self._changed:
            self._stop_by_s = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            self._waiting.put_back(self._in_work)
            left = self._waiting.take(len(self._waiting))
            self._has_stopped = True
        if left:
            journal.leave(self._database, self.instance_id, [entry.record for entry in left])
        for entry in left:
            entry.done(NotWritten("stopped before the database answered"))
        return len({entry.record.usage.session_id for entry in left})

    def _run(self, database: Database) -> None:
        beat_at_s = time.monotonic() + instances.BEAT_S
        pause_s = 0.0
        while not self._is_over():
            self._rest(pause_s) if pause_s else self._await_work(beat_at_s)
            try:
                self._write(database)
                if time.monotonic() >= beat_at_s:
                    self._beat(database)
                    beat_at_s = time.monotonic() + instances.BEAT_S
            except Exception as error:  # noqa: BLE001 - whatever it is, what waits is tried again
                pause_s = min(max(FIRST_PAUSE_S, 2 * pause_s), LONGEST_PAUSE_S)
                self._failed(error)
            else:
                pause_s = 0.0
                self._succeeded()
        if not self._waiting:
            self._leave(database)

    def _is_over(self) -> bool:
        """Asked to stop, and everything is written or time is up."""
        stop_by_s = self._stop_by_s
        return stop_by_s is not None and (not self._waiting or time.monotonic() >= stop_by_s)

    def _rest(self, pause_s: float) -> None:
        """Leave the database alone for a while; when asked to stop, for a short one."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop_by_s is not None, pause_s)
        if self._stop_by_s is not None:
            time.sleep(FIRST_PAUSE_S)

    def _await_work(self, beat_at_s: float) -> None:
        with self._changed:
            until_beat_s = max(0.0, beat_at_s - time.monotonic())
            self._changed.wait_for(lambda: self._waiting or self._is_urgent(), until_beat_s)
            self._changed.wait_for(self._is_urgent, LINGER_S if self._waiting else 0.0)

    def _is_urgent(self) -> bool:
        return self._waiting.ended > 0 or self._stop_by_s is not None

    def _write(self, database: Database) -> None:
        while self._waiting:
            with self._changed:
                self._in_work = entries = self._waiting.take(MAX_BATCH)
            try:
                refused = write_what_can_be(database, [entry.record for entry in entries])
            except BaseException:
                with self._changed:
                    self._waiting.put_back(self._in_work)
                    self._in_work = []
                raise
            self._in_work = []
            for entry in entries:
                why = refused.get(id(entry.record))
                entry.done(NotWritten(f"the database refuses it: {why}") if why else None)
            self._metrics.usage_waiting.set(len(self._waiting))

    def _beat(self, database: Database) -> None:
        with database.write() as connection:
            instances.beat(connection, self.instance_id)
            if lost := instances.close_lost(connection, self.instance_id):
                log.warning("sessions of a server that is gone: lost", extra=_fields(sessions=lost))
        day = self._day()
        with database.read() as connection:
            audio_ms = audio_ms_of_others(connection, day, self.instance_id)
        with self._changed:
            self._today.others(day, audio_ms)

    def _leave(self, database: Database) -> None:
        try:
            with database.write() as connection:
                instances.leave(connection, self.instance_id)
        except Exception as error:  # noqa: BLE001 - others will find out by themselves
            log.debug("could not sign off: %s", error)

    def _failed(self, error: Exception) -> None:
        self._metrics.usage_write_failures.inc()
        self._metrics.usage_waiting.set(len(self._waiting))
        if not self._is_away:
            self._is_away = True
            log.error("usage waits, it cannot be written: %s", error)

    def _succeeded(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("usage is written again")

    def _day(self) -> date:
        return self._clock().astimezone(UTC).date()


def _settled(problem: Exception | None) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(problem) if problem else future.set_result(None)
    return future


def _fields(**fields: object) -> dict[str, object]:
    return {"fields": fields}
