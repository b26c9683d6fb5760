"""How many files there may be: some at work, some that wait their turn, no more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from oyez.server.access.admission import too_many_sessions
from oyez.server.access.callers import Caller
from oyez.server.openai.errors import ApiError, too_many


class Places:
    """Event loop only."""

    def __init__(self, max_working: int, max_waiting: int) -> None:
        self._most = max_working + max_waiting
        self._turns = asyncio.Semaphore(max_working)
        self._taken: Counter[str | None] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """From the first byte of a file to its answer. Raises ApiError if there is none left, or
        if the caller has as many as its key may have sessions."""
        own = caller.limits.sessions
        if own is not None and self._taken[caller.key_id] >= own:
            raise ApiError.of(too_many_sessions(own))
        if len(self) >= self._most:
            raise too_many(self._most)
        self._taken[caller.key_id] += 1
        try:
            yield
        finally:
            self._taken[caller.key_id] -= 1
            if not self._taken[caller.key_id]:
                del self._taken[caller.key_id]

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Work, when it is one's turn: in the order in which files are complete."""
        async with self._turns:
            yield
