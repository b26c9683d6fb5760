"""The server's event loop: its iterations stay short however many clients there are, and its lag
is measured. Anything that blocks the loop delays every session.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque

from prometheus_client import Histogram

from oyez.logs import RateLimitedLogger

MAX_EVENTS = 64
"""The most I/O events that one iteration of the event loop handles."""
MAX_WORK_S = 0.003
"""How long requests may keep one iteration of the event loop. Most requests take 0.1 to 0.2 ms."""
MAX_WOKEN = 16
"""How many of the requests that wait try again in one iteration of the event loop."""
LAG_INTERVAL_S = 0.25
"""Time between two measurements of the loop's lag."""
BLOCKED_S = 0.25
"""A longer lag than this is logged as a warning."""


class BoundedSelector(selectors.DefaultSelector):
    """Gives the event loop at most `MAX_EVENTS` events at a time.

    A crowd of clients that send or leave at once is thus handled over many iterations, and
    sessions run between them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._first = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return events that are ready. Those left out are still ready the next time; the first
        one changes from call to call, so that each is returned soon."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        if len(ready) <= MAX_EVENTS:
            return ready
        self._first = (self._first + MAX_EVENTS) % len(ready)
        return (ready[self._first :] + ready[: self._first])[:MAX_EVENTS]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop for a server, with a `BoundedSelector`."""
    return asyncio.SelectorEventLoop(BoundedSelector())


class LoopPacer:
    """Spreads work that arrives all at once (requests, TLS handshakes) over many iterations of
    the event loop, so that sessions run between them. Use it on the event loop only."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        """Start of this iteration's work; None: no work has begun in this iteration."""
        self._begun = 0
        """How many pieces of work have begun in this iteration."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Return when the caller may begin its work.

        That is at once while the work of this iteration has taken less than `MAX_WORK_S`, else in
        a later iteration, in about the order of the calls. Each iteration begins at least one.
        """
        loop = asyncio.get_running_loop()
        has_waited = False
        while not self._may_begin(loop, has_waited):
            future = loop.create_future()
            if has_waited:
                # Woken, but too late in this iteration: it keeps its place at the front.
                self._waiting.appendleft(future)
            else:
                self._waiting.append(future)
            await future
            has_waited = True
        self._begun += 1

    def _may_begin(self, loop: asyncio.AbstractEventLoop, has_waited: bool) -> bool:
        if self._began_s is None:
            self._begin_iteration(loop)
        if not self._begun:
            return True
        others_first = bool(self._waiting) and not has_waited
        return not others_first and loop.time() - (self._began_s or 0.0) < MAX_WORK_S

    def _begin_iteration(self, loop: asyncio.AbstractEventLoop) -> None:
        self._began_s, self._begun = loop.time(), 0
        loop.call_soon(self._end_iteration, loop)

    def _end_iteration(self, loop: asyncio.AbstractEventLoop) -> None:
        self._began_s = None
        if self._waiting:
            self._begin_iteration(loop)
        for _ in range(min(len(self._waiting), MAX_WOKEN)):
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)


async def measure_lag(lag: Histogram, seldom: RateLimitedLogger) -> None:
    """Observe how many seconds late the event loop wakes this task, until cancelled. Warns when
    it is more than `BLOCKED_S`."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + LAG_INTERVAL_S
        await asyncio.sleep(LAG_INTERVAL_S)
        late_s = max(0.0, loop.time() - due_s)
        lag.observe(late_s)
        if late_s > BLOCKED_S:
            seldom.warning("the event loop was blocked", for_s=round(late_s, 2))
