"""Notices keys that are made, changed or revoked while the server runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from oyez.accounts.database import DatabaseError
from oyez.accounts.directory import KeyDirectory
from oyez.server.access.static_keys import StaticKeys

DIRECTORY_S = 2.0
FILE_S = 1.0

log = logging.getLogger(__name__)


class KeyWatch:
    """Each source has a thread of its own: a database that hangs keeps neither the keys file from
    being read, nor the server from leaving."""

    def __init__(self, static: StaticKeys, directory: KeyDirectory) -> None:
        self._static = static
        self._directory = directory
        self._stopped = threading.Event()
        self._is_away = False

    async def run_with(self, app: web.Application) -> AsyncIterator[None]:
        """For `Application.cleanup_ctx`."""
        for interval_s, read in (
            (FILE_S, self._static.reload_if_changed),
            (DIRECTORY_S, self._refresh),
        ):
            threading.Thread(
                target=self._every, args=(interval_s, read), name="oyez-keys", daemon=True
            ).start()
        yield
        self._stopped.set()

    def _every(self, interval_s: float, read: Callable[[], None]) -> None:
        while not self._stopped.wait(interval_s):
            try:
                read()
            except Exception:  # our bug may be any; it must not end the watch
                log.exception("keys could not be read")

    def _refresh(self) -> None:
        try:
            self._directory.refresh()
        except DatabaseError as error:
            if not self._is_away:
                log.error("keys cannot be read, those known stay in force: %s", error)
            self._is_away = True
        else:
            self._is_away = False
