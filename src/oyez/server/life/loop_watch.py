"""How late the event loop comes to what is due: whatever blocks it makes every session wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiohttp import web
from prometheus_client import Histogram

from oyez.logs import Seldom

EVERY_S = 0.25
BLOCKED_S = 0.25


def loop_watch(lag: Histogram, seldom: Seldom) -> Callable[[web.Application], AsyncIterator[None]]:
    """For `Application.cleanup_ctx`: watches as long as the application runs."""

    async def watching(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(watch_loop(lag, seldom))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return watching


async def watch_loop(lag: Histogram, seldom: Seldom) -> None:
    """Observe the lag in seconds, until cancelled; warn of more than BLOCKED_S."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        late_s = max(0.0, loop.time() - due_s)
        lag.observe(late_s)
        if late_s > BLOCKED_S:
            seldom.warning("the event loop was blocked", for_s=round(late_s, 2))
