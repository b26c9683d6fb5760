"""The event loop: how much it does in a turn, and how late it comes to what is due. Whatever blocks
it makes every session wait."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiohttp import web
from prometheus_client import Histogram

from oyez.logs import RateLimitedLogger

EVERY_S = 0.25
BLOCKED_S = 0.25
EVENTS_A_TURN = 64


def loop_watch(
    lag: Histogram, seldom: RateLimitedLogger
) -> Callable[[web.Application], AsyncIterator[None]]:
    """For `Application.cleanup_ctx`: watches as long as the application runs."""

    async def watching(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(watch_loop(lag, seldom))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return watching


class BoundedSelector(selectors.DefaultSelector):
    """Hands the event loop so many events a turn: a crowd of clients that send, or leave, at once
    is served over many turns, and sessions have theirs between them."""

    def __init__(self) -> None:
        super().__init__()
        self._first = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready. What is left out is still ready the next time; which comes first changes,
        so that nobody is left out for long."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        if len(ready) <= EVENTS_A_TURN:
            return ready
        self._first = (self._first + EVENTS_A_TURN) % len(ready)
        return (ready[self._first :] + ready[: self._first])[:EVENTS_A_TURN]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """For a server: its turns are short however many clients there are."""
    return asyncio.SelectorEventLoop(BoundedSelector())


async def watch_loop(lag: Histogram, seldom: RateLimitedLogger) -> None:
    """Observe the lag in seconds, until cancelled; warn of more than BLOCKED_S."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        late_s = max(0.0, loop.time() - due_s)
        lag.observe(late_s)
        if late_s > BLOCKED_S:
            seldom.warning("the event loop was blocked", for_s=round(late_s, 2))
