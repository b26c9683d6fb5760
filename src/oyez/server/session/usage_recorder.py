"""Reports the usage of one session to the ledger: when it begins, every few seconds, and last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import Endpoint, SessionUsage
from oyez.server.access.admission import Quotas
from oyez.server.access.callers import Caller, utc_now
from oyez.server.session.session_metrics import Figures

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
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._unreported_s = 0.0
        self._has_ended = False
        now = self._reported_at = clock().astimezone(UTC)
        self._began = SessionUsage(
            session_id=session_id,
            key_id=caller.key_id,
            key_name=caller.name,
            endpoint=endpoint,
            model=model,
            began_at=now,
            at=now,
        )
        self._report_now()

    def add_audio(self, audio_s: float) -> None:
        """Count audio that came in. Call this before the audio is added to the figures."""
        self._now()  # closes the day before
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
        return self._report(now, ended_at=now, close_code=close_code, close_reason=close_reason)

    def _now(self) -> datetime:
        """Return the time, which never goes back for this session. After midnight (UTC), first
        report what came before as usage of the day before."""
        now = max(self._clock().astimezone(UTC), self._reported_at)
        if now.date() != self._reported_at.date():
            self._report(datetime.combine(now.date(), time(), UTC) - timedelta(microseconds=1))
            self._reported_at = now
        return now

    def _report_now(self) -> None:
        self._report(self._now())
        self._next_report = self._loop.call_later(INTERVAL_S, self._report_now)

    def _report(self, at: datetime, **ending: Any) -> Future[None]:
        """Report the figures of this moment. ending: the last fields of the last `SessionUsage`."""
        figures = self._figures
        usage = replace(
            self._began,
            at=at,
            audio_s=figures.audio_s,
            speech_s=figures.speech_s,
            turns=figures.turns,
            finals=figures.finals,
            failed=figures.failed,
            errors=figures.errors,
            languages=dict(figures.languages),
            **ending,
        )
        self._reported_at = at
        written = self._ledger.put(usage)
        self._quotas.add_audio(self._caller, -self._unreported_s)
        self._unreported_s = 0.0
        return written
