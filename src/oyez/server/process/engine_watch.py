"""Whether the engine works: what health checks and the service manager learn of it, and when the
server has to leave so that it is started again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal

from aiohttp import web

from oyez.runtime.scheduler import Scheduler
from oyez.runtime.watched_engine import CHECK_S

EngineState = Literal["ok", "engine_restarting", "engine_stuck"]
STUCK_S = 30.0
"""A call that is over its limit for so long does not come back."""

log = logging.getLogger(__name__)


class EngineWatch:
    """Checks the scheduler's calls for as long as the application runs. Event loop only."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._since_s: float | None = None
        self.lost = asyncio.Event()
        """Set once the engine does not come back: only a new process helps."""

    @property
    def state(self) -> EngineState:
        if self._scheduler.stuck_s:
            return "engine_stuck"
        return "ok" if self._scheduler.is_up else "engine_restarting"

    @property
    def is_alive(self) -> bool:
        """False while a call of the engine is over its limit."""
        return self.state != "engine_stuck"

    async def run_with(self, app: web.Application) -> AsyncIterator[None]:
        """For `Application.cleanup_ctx`."""
        task = asyncio.create_task(self._run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            self.check()

    def check(self) -> None:
        """Look once."""
        self._scheduler.check()
        self._log_changes()
        if self._scheduler.stuck_s > STUCK_S or self._scheduler.is_lost:
            self.lost.set()

    def _log_changes(self) -> None:
        is_working = self.state == "ok"
        if is_working and self._since_s is not None:
            after_s = round(time.monotonic() - self._since_s, 1)
            log.warning("recognition goes on", extra={"fields": {"after_s": after_s}})
            self._since_s = None
        elif not is_working and self._since_s is None:
            log.error("recognition stands still", extra={"fields": {"state": self.state}})
            self._since_s = time.monotonic()
