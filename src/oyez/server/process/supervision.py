"""How the server is supervised: signals, what it reads again while it runs, whether its engine
works, and what the service manager is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from oyez.accounts.database import DatabaseError
from oyez.runtime.scheduler import CHECK_S, Scheduler
from oyez.settings import SettingsError

FILES_CHECK_S = 1.0
"""Time between two checks whether files have changed."""
STUCK_S = 30.0
"""A call of the engine that exceeds its time limit by this much is taken to be lost."""

EngineState = Literal["ok", "engine_restarting", "engine_stuck"]

log = logging.getLogger(__name__)


def exit_on_sigterm() -> None:
    """Make SIGTERM end the process at once with exit code 0, until `count_stop_signals` is called.

    Without a handler, SIGTERM does not end the first process of a container.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))


def count_stop_signals() -> asyncio.Semaphore:
    """Return a semaphore that is released once for each SIGTERM and SIGINT from now on."""
    stops = asyncio.Semaphore(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stops.release)
    return stops


def on_sighup(reloadables: Sequence[Reloadable], stop: Callable[[], None]) -> None:
    """Reload on each SIGHUP, or call `stop` if the signal means that the server's terminal was
    closed."""
    had_terminal = _has_terminal()

    def handle() -> None:
        if had_terminal and not _has_terminal():
            stop()
        else:
            for each in reloadables:
                each.reload_soon()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, handle)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


class Reloadable:
    """Something that is read again while the server runs: on SIGHUP, and when its files change.
    Use it on the event loop only."""

    def __init__(self, name: str, read: Callable[[], str], *files: Path | None) -> None:
        """Make it just after the first reading.

        Args:
            name: How the log calls it.
            read: Reads it again, in a thread, so it may block. Returns what is in force now, for
                the log. Raises SettingsError, DatabaseError or OSError if the new state cannot be
                used; the old state must then stay in force.
            files: The files that `read` reads.
        """
        self._name = name
        self._read = read
        self._files = [file for file in files if file]
        self._read_state = self._seen_state = self._state()
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Reload when the files have changed, until cancelled; at once if there are none.

        A file that has only just changed may be half written. So it is read when two checks have
        found it in the same new state.
        """
        while self._files:
            await asyncio.sleep(FILES_CHECK_S)
            before, self._seen_state = self._seen_state, await asyncio.to_thread(self._state)
            if before == self._seen_state != self._read_state:
                await self.reload()

    def reload_soon(self) -> None:
        """Start to reload; returns at once, so that a signal handler may call it."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def reload(self) -> None:
        """Read it again. Never raises: a failure is logged."""
        try:
            async with self._lock:
                self._read_state = await asyncio.to_thread(self._state)
                in_force = await asyncio.to_thread(self._read)
        except (SettingsError, DatabaseError, OSError) as error:
            log.error("%s not reloaded, the old one stays in force: %s", self._name, error)
        except Exception as error:  # a bug may raise anything, and the server must go on
            log.error("%s not reloaded, the old one stays in force", self._name, exc_info=error)
        else:
            log.info("%s reloaded: %s", self._name, in_force)

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_file_state(file) for file in self._files]


def _file_state(file: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None: there is no such file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class EngineWatch:
    """Whether the engine works. Use it on the event loop only."""

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

    async def run(self) -> None:
        """Check the engine's calls at regular intervals, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
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

    def report(self, status: str, state: Literal["READY", "STOPPING"] | None = None) -> None:
        """Report a line for people, and that the server has started or is shutting down."""
        self._send(f"{state}=1\nSTATUS={status}" if state else f"STATUS={status}")

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
            log.warning("nothing can be sent to the service manager at NOTIFY_SOCKET: %s", error)
