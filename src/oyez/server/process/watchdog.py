"""Whether the engine works: what health checks and the service manager learn about it, and when
the server must leave so that it is started again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Literal

from aiohttp import web

from oyez.runtime.scheduler import CHECK_S, Scheduler

EngineState = Literal["ok", "engine_restarting", "engine_stuck"]
STUCK_S = 30.0
"""A call of the engine that exceeds its time limit by this much is taken to be lost."""

log = logging.getLogger(__name__)


class EngineWatch:
    """Checks the scheduler's engine calls while the application runs. Use it on the event loop
    only."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._failing_since_s: float | None = None
        self.lost = asyncio.Event()
        """Set when the engine does not come back and only a new process can help."""

    @property
    def state(self) -> EngineState:
        """The engine's state, as `/healthz` reports it."""
        if self._scheduler.stuck_s:
            return "engine_stuck"
        return "ok" if self._scheduler.is_up else "engine_restarting"

    @property
    def is_alive(self) -> bool:
        """False while a call of the engine exceeds its time limit."""
        return self.state != "engine_stuck"

    async def run_with(self, app: web.Application) -> AsyncIterator[None]:
        """Check at regular intervals while the application runs; for `Application.cleanup_ctx`."""
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
        """Check the engine once."""
        self._scheduler.check()
        self._log_changes()
        if self._scheduler.stuck_s > STUCK_S or self._scheduler.is_lost:
            self.lost.set()

    def _log_changes(self) -> None:
        is_working = self.state == "ok"
        if is_working and self._failing_since_s is not None:
            after_s = round(time.monotonic() - self._failing_since_s, 1)
            log.warning("recognition goes on", extra={"fields": {"after_s": after_s}})
            self._failing_since_s = None
        elif not is_working and self._failing_since_s is None:
            log.error("recognition stands still", extra={"fields": {"state": self.state}})
            self._failing_since_s = time.monotonic()


class ServiceManager:
    """Reports the server's state to systemd, or to another manager with the same protocol
    (sd_notify). Sends datagrams, never blocks and never raises."""

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        """Remember where to send reports.

        Args:
            address: A Unix socket; one that begins with @ is abstract. None: nothing is sent.
            watchdog_s: The manager ends this process when it receives no sign of life for so
                long. None: the manager does not check.
        """
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._watchdog_s = watchdog_s

    def ready(self, status: str) -> None:
        """Report that the server has started. status: a line for people."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Report a line for people who ask the manager."""
        self._send(f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Report that the server is shutting down. status: a line for people."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    async def keep_alive(self, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Send signs of life while the event loop runs and `is_alive` returns True. Returns at once
        if the manager does not check."""
        while self._address and self._watchdog_s:
            if is_alive():
                self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 3)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.setblocking(False)
                manager.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("the service manager at NOTIFY_SOCKET was not told: %s", error)
