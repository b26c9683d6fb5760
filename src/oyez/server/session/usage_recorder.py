"""Records in the ledger what one session used: at its beginning, then regularly, and at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, time, timedelta

from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import Endpoint, SessionUsage
from oyez.server.access.callers import Caller
from oyez.server.access.quotas import Quotas
from oyez.server.session.figures import Figures

INTERVAL_S = 5.0


class UsageRecorder:
    """Records the usage of one session. Event loop only; never blocks."""

    def __init__(
        self,
        ledger: Ledger,
        quotas: Quotas,
        caller: Caller,
        figures: Figures,
        *,
        session_id: str,
        endpoint: Endpoint,
        model: str,
        clock: Callable[[], datetime],
    ) -> None:
        """figures: kept up to date by the caller. clock: returns the time, with a time zone."""
        self._ledger = ledger
        self._quotas = quotas
        self._caller = caller
        self._figures = figures
        self._session_id = session_id
        self._endpoint: Endpoint = endpoint
        self._model = model
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._unrecorded_s = 0.0
        self._has_ended = False
        self._began_at = self._recorded_at = clock().astimezone(UTC)
        self._put(self._began_at)
        self._record_later()

    def heard(self, audio_s: float) -> None:
        """Count audio that came in and is about to be added to the figures."""
        self._close_day(self._now())
        self._unrecorded_s += audio_s
        self._quotas.heard(self._caller, audio_s)

    def end(self, close_code: int, close_reason: str) -> Future[None] | None:
        """Record the final figures. The future is done when they are in the database, or holds an
        exception if that fails. A second call has no effect and returns None."""
        if self._has_ended:
            return None
        self._has_ended = True
        self._next_put.cancel()
        now = self._now()
        self._close_day(now)
        return self._put(now, ended_at=now, close_code=close_code, close_reason=close_reason)

    def _now(self) -> datetime:
        return max(self._clock().astimezone(UTC), self._recorded_at)

    def _record(self) -> None:
        now = self._now()
        self._close_day(now)
        self._put(now)
        self._record_later()

    def _close_day(self, now: datetime) -> None:
        """Record the usage until midnight separately: it counts on the day before."""
        if now.date() != self._recorded_at.date():
            self._put(datetime.combine(now.date(), time(), UTC) - timedelta(microseconds=1))
            self._recorded_at = now

    def _record_later(self) -> None:
        self._next_put = self._loop.call_later(INTERVAL_S, self._record)

    def _put(
        self,
        at: datetime,
        *,
        ended_at: datetime | None = None,
        close_code: int | None = None,
        close_reason: str | None = None,
    ) -> Future[None]:
        figures = self._figures
        usage = SessionUsage(
            session_id=self._session_id,
            key_id=self._caller.key_id,
            key_name=self._caller.name,
            endpoint=self._endpoint,
            model=self._model,
            began_at=self._began_at,
            at=at,
            ended_at=ended_at,
            audio_s=figures.audio_s,
            speech_s=figures.speech_s,
            turns=figures.turns,
            finals=figures.finals,
            failed=figures.failed,
            errors=figures.errors,
            languages=dict(figures.languages),
            close_code=close_code,
            close_reason=close_reason,
        )
        self._recorded_at = at
        written = self._ledger.put(usage)
        self._quotas.heard(self._caller, -self._unrecorded_s)
        self._unrecorded_s = 0.0
        return written
