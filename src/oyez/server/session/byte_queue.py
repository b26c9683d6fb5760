"""A queue bounded by the bytes in it: who fills it asks for room first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteQueue(Generic[T]):
    """First in, first out; one consumer. Event loop only."""

    def __init__(self, limit_bytes: int, on_room: Callable[[], None] = lambda: None) -> None:
        """on_room: called when there is room again."""
        self._limit_bytes = limit_bytes
        self._on_room = on_room
        self._size_bytes = 0
        self._items: deque[tuple[T, int]] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def has_room(self) -> bool:
        """Whether fewer bytes than the limit are in the queue."""
        return self._size_bytes < self._limit_bytes

    def put(self, item: T, size_bytes: int) -> None:
        """Add an item. Never waits: the limit may be passed by what cannot wait."""
        self._items.append((item, size_bytes))
        self._size_bytes += size_bytes
        self._filled.set()
        if not self.has_room:
            self._room.clear()

    def take(self) -> T:
        """The oldest item. Raises IndexError if there is none."""
        item, size_bytes = self._items.popleft()
        self._size_bytes -= size_bytes
        if self.has_room and not self._room.is_set():
            self._room.set()
            self._on_room()
        return item

    async def get(self) -> T:
        """The oldest item, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self.take()

    async def room(self) -> None:
        """Wait until there is room."""
        await self._room.wait()
