"""What SIGHUP renews while the server runs: certificates, keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from oyez.settings import SettingsError

log = logging.getLogger(__name__)


class Reloader:
    """Event loop only; what it reloads runs in a thread."""

    def __init__(self) -> None:
        self._reloadables: dict[str, Callable[[], str]] = {}
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    def add(self, name: str, reload: Callable[[], str]) -> None:
        """reload: called in a thread, may block; returns what is in force now, for the log. It
        raises SettingsError or OSError if what it found cannot be used, and then what was in
        force must stay so."""
        self._reloadables[name] = reload

    def ask(self) -> None:
        """Reload everything soon: the signal handler."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def reload(self, *names: str) -> None:
        """Reload these, or everything; one failure leaves the others alone. Never raises."""
        async with self._lock:
            for name in names or self._reloadables:
                await self._reload_one(name)

    async def _reload_one(self, name: str) -> None:
        reload = self._reloadables[name]
        try:
            in_force = await asyncio.to_thread(reload)
        except (SettingsError, OSError) as error:
            log.error("%s not reloaded, the old one stays in force: %s", name, error)
        except Exception as error:  # our bug may be any; the server goes on
            log.error("%s not reloaded, the old one stays in force", name, exc_info=error)
        else:
            log.info("%s reloaded: %s", name, in_force)
