"""Reports the usage of one session to the ledger: when it begins, every few seconds, and last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, time, timedelta

from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import Endpoint, SessionUsage
from oyez.server.access.admission import Quotas
from oyez.server.access.callers import Caller, utc_now
from oyez.server.session.figures import Figures

INTERVAL_S = 5.0


class UsageRecorder:
    """Reports one session. For the event loop: no method blocks. Call `end` when it is over."""

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
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """figures: the endpoint that serves the session keeps them up to date. clock: returns the
        time with a time zone."""
        self._ledger = ledger
        self._quotas = quotas
        self._caller = caller
        self._figures = figures
        self._session_id = session_id
        self._endpoint: Endpoint = endpoint
        self._model = model
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._unreported_s = 0.0
        self._has_ended = False
        self._began_at = self._reported_at = clock().astimezone(UTC)
        self._report(self._began_at)
        self._schedule_report()

    def add_audio(self, audio_s: float) -> None:
        """Count audio that came in. Call this before the audio is added to the figures."""
        self._close_day(self._now())
        self._unreported_s += audio_s
        self._quotas.add_audio(self._caller, audio_s)

    def end(self, close_code: int, close_reason: str) -> Future[None] | None:
        """Report the last figures of the session.

        The future is done when they are in the database, and raises an exception if they cannot be
        written. A second call does nothing and returns None.
        """
        if self._has_ended:
            return None
        self._has_ended = True
        self._next_report.cancel()
        now = self._now()
        self._close_day(now)
        return self._report(now, ended_at=now, close_code=close_code, close_reason=close_reason)

    def _now(self) -> datetime:
        """The time, which never goes back for this session."""
        return max(self._clock().astimezone(UTC), self._reported_at)

    def _report_now(self) -> None:
        now = self._now()
        self._close_day(now)
        self._report(now)
        self._schedule_report()

    def _close_day(self, now: datetime) -> None:
        """After midnight (UTC), first report what came before as usage of the day before."""
        if now.date() != self._reported_at.date():
            self._report(datetime.combine(now.date(), time(), UTC) - timedelta(microseconds=1))
            self._reported_at = now

    def _schedule_report(self) -> None:
        self._next_report = self._loop.call_later(INTERVAL_S, self._report_now)

    def _report(
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
        self._reported_at = at
        written = self._ledger.put(usage)
        self._quotas.add_audio(self._caller, -self._unreported_s)
        self._unreported_s = 0.0
        return written
