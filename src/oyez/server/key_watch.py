"""Notices keys that are made, changed or revoked while the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from oyez.accounts.database import DatabaseError
from oyez.accounts.directory import KeyDirectory
from oyez.server.static_keys import StaticKeys

DIRECTORY_S = 2.0
FILE_S = 1.0

log = logging.getLogger(__name__)


class KeyWatch:
    """Reads in threads, so that the event loop never waits; each source at its own pace, so that a
    database that hangs does not keep the keys file from being read."""

    def __init__(self, static: StaticKeys, directory: KeyDirectory) -> None:
        self._static = static
        self._directory = directory
        self._is_away = False

    async def run_with(self, app: web.Application) -> AsyncIterator[None]:
        """For `Application.cleanup_ctx`."""
        tasks = [
            asyncio.create_task(_every(FILE_S, self._static.reload_if_changed)),
            asyncio.create_task(_every(DIRECTORY_S, self._refresh)),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _refresh(self) -> None:
        try:
            self._directory.refresh()
        except DatabaseError as error:
            if not self._is_away:
                log.error("keys cannot be read, those known stay in force: %s", error)
            self._is_away = True
        else:
            self._is_away = False


async def _every(interval_s: float, read: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(interval_s)
        try:
            await asyncio.to_thread(read)
        except Exception:  # our bug may be any; it must not end the watch
            log.exception("keys could not be read")
