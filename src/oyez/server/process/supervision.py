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
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from oyez.accounts.database import DatabaseError
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.watched_engine import CHECK_S
from oyez.settings import SettingsError

FILES_CHECK_S = 1.0
"""Time between two checks whether files have changed."""
STUCK_S = 30.0
"""A call of the engine that exceeds its time limit by this much is taken to be lost."""

EngineState = Literal["ok", "engine_restarting", "engine_stuck"]
FileState = tuple[int, int, int]
"""The inode, the time of the last change and the size of a file."""

log = logging.getLogger(__name__)


def exit_on_sigterm() -> None:
    """Make SIGTERM end the process at once with exit code 0, until `count_stop_signals` is called.

    Without a handler, SIGTERM does not end the first process of a container.
    """

    def leave(number: int, frame: object) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)


def count_stop_signals() -> asyncio.Semaphore:
    """Return a semaphore that is released once for each SIGTERM and SIGINT from now on."""
    stops = asyncio.Semaphore(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stops.release)
    return stops


def on_sighup(reload: Callable[[], None], stop: Callable[[], None]) -> None:
    """Call `reload` on each SIGHUP, or `stop` if the signal means that the server's terminal was
    closed."""
    had_terminal = _has_terminal()

    def handle() -> None:
        (stop if had_terminal and not _has_terminal() else reload)()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, handle)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


class _Reloadable:
    """Something that can be read again, with the files that it reads."""

    def __init__(self, reload: Callable[[], str], files: tuple[Path | None, ...]) -> None:
        self._reload = reload
        self._files = [file for file in files if file]
        self._read_state = self._seen_state = self._state()
        self.lock = asyncio.Lock()

    def read(self) -> str:
        """Read it again, and return what is in force now. Blocks."""
        self._read_state = self._state()
        return self._reload()

    def has_changed(self) -> bool:
        """Return whether files have changed since they were read, and not since the call before: a
        file that has only just changed may be half written. Blocks."""
        before, self._seen_state = self._seen_state, self._state()
        return before == self._seen_state != self._read_state

    def _state(self) -> list[FileState | None]:
        return [_file_state(file) for file in self._files]


def _file_state(file: Path) -> FileState | None:
    """Return what changes when a file is written or replaced; None: there is no such file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Reloader:
    """Reads certificates and keys again while the server runs: on SIGHUP, and when their files
    change. Use it on the event loop only; the functions that it calls run in a thread."""

    def __init__(self) -> None:
        self._reloadables: dict[str, _Reloadable] = {}
        self._running: set[asyncio.Task[None]] = set()

    def add(self, name: str, reload: Callable[[], str], *files: Path | None) -> None:
        """Add something to reload, just after it was read for the first time.

        Args:
            name: How the log calls it.
            reload: Called in a thread, so it may block. Returns what is in force now, for the log.
                Raises SettingsError, DatabaseError or OSError if the new state cannot be used; the
                old state must then stay in force.
            files: The files that it reads.
        """
        self._reloadables[name] = _Reloadable(reload, files)

    async def watch(self) -> None:
        """Reload what reads files that have changed, until cancelled."""
        while True:
            await asyncio.sleep(FILES_CHECK_S)
            for name, each in list(self._reloadables.items()):
                if await asyncio.to_thread(each.has_changed):
                    await self._reload(name)

    def reload_soon(self) -> None:
        """Start to reload everything; returns at once, so that a signal handler may call it."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def reload(self) -> None:
        """Reload everything. Never raises: a failure is logged and does not affect the others."""
        for name in self._reloadables:
            await self._reload(name)

    async def _reload(self, name: str) -> None:
        each = self._reloadables[name]
        try:
            async with each.lock:
                in_force = await asyncio.to_thread(each.read)
        except (SettingsError, DatabaseError, OSError) as error:
            log.error("%s not reloaded, the old one stays in force: %s", name, error)
        except Exception as error:  # a bug may raise anything, and the server must go on
            log.error("%s not reloaded, the old one stays in force", name, exc_info=error)
        else:
            log.info("%s reloaded: %s", name, in_force)


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
            log.warning("nothing can be sent to the service manager at NOTIFY_SOCKET: %s", error)
