"""A queue bounded by the bytes in it: who fills it asks for room first."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteQueue(Generic[T]):
    """First in, first out; one consumer. Event loop only."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._items: deque[tuple[T, int]] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def put(self, item: T, size_bytes: int) -> None:
        """Add an item. Never waits: the limit may be passed by what cannot wait."""
        self._items.append((item, size_bytes))
        self._size_bytes += size_bytes
        self._filled.set()
        if self._size_bytes >= self._limit_bytes:
            self._room.clear()

    async def get(self) -> T:
        """The oldest item, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        item, size_bytes = self._items.popleft()
        self._size_bytes -= size_bytes
        if self._size_bytes < self._limit_bytes:
            self._room.set()
        return item

    async def room(self) -> None:
        """Wait until fewer bytes than the limit are in the queue."""
        await self._room.wait()
