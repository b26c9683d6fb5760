"""Signals: SIGTERM and SIGINT stop the server, SIGHUP reloads, and a closed terminal stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable

from oyez.settings import SettingsError

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


class Reloader:
    """Reloads what SIGHUP renews while the server runs: certificates and keys.

    Use it on the event loop only; the functions that it calls run in a thread.
    """

    def __init__(self) -> None:
        self._reloadables: dict[str, Callable[[], str]] = {}
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    def add(self, name: str, reload: Callable[[], str]) -> None:
        """Add something to reload.

        Args:
            name: How the log calls it.
            reload: Called in a thread, so it may block. Returns what is in force now, for the log.
                Raises SettingsError or OSError if the new state cannot be used; the old state
                must then stay in force.
        """
        self._reloadables[name] = reload

    def reload_soon(self) -> None:
        """Start to reload everything; returns at once, so that a signal handler may call it."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def reload(self, *names: str) -> None:
        """Reload the things with these names, or everything. Never raises: a failure is logged
        and does not affect the others."""
        async with self._lock:
            for name in names or self._reloadables:
                await self._reload_one(name)

    async def _reload_one(self, name: str) -> None:
        reload = self._reloadables[name]
        try:
            in_force = await asyncio.to_thread(reload)
        except (SettingsError, OSError) as error:
            log.error("%s not reloaded, the old one stays in force: %s", name, error)
        except Exception as error:  # a bug may raise anything, and the server must go on
            log.error("%s not reloaded, the old one stays in force", name, exc_info=error)
        else:
            log.info("%s reloaded: %s", name, in_force)
