"""Tells systemd (or another service manager with its protocol) how the server is."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)


class ServiceManager:
    """Sends datagrams; never blocks and never fails. Without an address it sends nothing."""

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        """address: of a unix socket, @ begins an abstract one. watchdog_s: without a sign of life
        for so long, the manager ends us; None: it does not watch."""
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._watchdog_s = watchdog_s

    def ready(self, status: str) -> None:
        self._tell(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """A line for people who ask the manager."""
        self._tell(f"STATUS={status}")

    def stopping(self, status: str) -> None:
        self._tell(f"STOPPING=1\nSTATUS={status}")

    async def keep_alive(self, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Show that the event loop runs, for as long as it does and `is_alive` says so; returns if
        nobody watches."""
        while self._address and self._watchdog_s:
            if is_alive():
                self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 3)

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.setblocking(False)
                manager.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("the service manager at NOTIFY_SOCKET was not told: %s", error)
