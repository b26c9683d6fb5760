"""A queue that knows how many bytes are in it, and whether these are more than they should be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteQueue(Generic[T]):
    """First in, first out; one consumer. Event loop only."""

    def __init__(self, limit_bytes: int, on_room: Callable[[], None] | None = None) -> None:
        """on_room: called when there is room again."""
        self._limit_bytes = limit_bytes
        self._on_room = on_room or _ignore
        self._size_bytes = 0
        self._items: deque[tuple[T, int]] = deque()
        self._filled = asyncio.Event()

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

    def take(self) -> T:
        """The oldest item. Raises IndexError if there is none."""
        item, size_bytes = self._items.popleft()
        had_room = self.has_room
        self._size_bytes -= size_bytes
        if self.has_room and not had_room:
            self._on_room()
        return item

    async def get(self) -> T:
        """The oldest item, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self.take()

    def release(self) -> None:
        """Forget everything in it, and whom to call."""
        self._items.clear()
        self._size_bytes = 0
        self._on_room = _ignore


def _ignore() -> None:
    pass
