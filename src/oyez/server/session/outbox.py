"""What is sent on one socket, in order, and how long the client has not taken it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from oyez.protocol.effects import Close
from oyez.server.session.websocket import WebSocket

T = TypeVar("T")

FRAME_OVERHEAD_BYTES = 64
"""Counted for each frame besides its length, so that many small ones are bounded too."""
CLOSE_HANDSHAKE_S = 5.0
"""How long a client may take to answer the server's Close frame."""


class ByteQueue(Generic[T]):
    """A first-in, first-out queue that counts its bytes, for one consumer. Event loop only."""

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
        """The size of all items together."""
        return self._size_bytes

    @property
    def has_room(self) -> bool:
        """Whether fewer bytes than the limit are in the queue."""
        return self._size_bytes < self._limit_bytes

    def put(self, item: T, size_bytes: int) -> None:
        """Add an item. This never waits: events that cannot wait may exceed the limit."""
        self._items.append((item, size_bytes))
        self._size_bytes += size_bytes
        self._filled.set()

    def take(self) -> T:
        """Remove and return the oldest item. Raises IndexError if there is none."""
        item, size_bytes = self._items.popleft()
        had_room = self.has_room
        self._size_bytes -= size_bytes
        if self.has_room and not had_room:
            self._on_room()
        return item

    async def get(self) -> T:
        """Remove and return the oldest item, as soon as there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self.take()

    def release(self) -> None:
        """Drop everything in it, and the callback."""
        self._items.clear()
        self._size_bytes = 0
        self._on_room = _ignore


@dataclass(frozen=True, slots=True)
class _Hold:
    done: asyncio.Future[None]
    timeout_s: float
    late: Callable[[], None]


_Frame = str | _Hold | Close


class Outbox:
    """The frames that wait for one client. Adding never waits; there is no room while more than
    `limit_bytes` are in it."""

    def __init__(
        self,
        socket: WebSocket,
        limit_bytes: int,
        on_room: Callable[[], None],
        took_s: Callable[[float], None],
    ) -> None:
        """on_room: called when there is room again. took_s: called with the time that the socket
        made a frame wait."""
        self._socket = socket
        self._took_s = took_s
        self._frames: ByteQueue[_Frame] = ByteQueue(limit_bytes, on_room)
        self._loop = asyncio.get_running_loop()
        self._sending_since_s: float | None = None

    def text(self, text: str) -> None:
        """Add one text frame."""
        self._frames.put(text, len(text) + FRAME_OVERHEAD_BYTES)

    def hold(self, done: asyncio.Future[None], timeout_s: float, late: Callable[[], None]) -> None:
        """Hold back what is added from now on until `done` is done, at most `timeout_s`. `late` is
        called when the time is over, or when `done` holds an exception."""
        self._frames.put(_Hold(done, timeout_s, late), FRAME_OVERHEAD_BYTES)

    def close(self, code: int, reason: str) -> None:
        """Add the last frame: nothing that is added after it is sent."""
        self._frames.put(Close(code, reason), FRAME_OVERHEAD_BYTES)

    def release(self) -> None:
        """Drop everything that waits, and the callbacks."""
        self._frames.release()

    @property
    def waiting_bytes(self) -> int:
        """The memory of the frames that have not been sent."""
        return self._frames.size_bytes

    @property
    def has_room(self) -> bool:
        """Whether the client has read enough that more may be sent."""
        return self._frames.has_room

    @property
    def stalled_s(self) -> float:
        """How long the client has not taken the frame that is being sent."""
        since_s = self._sending_since_s
        return 0.0 if since_s is None else self._loop.time() - since_s

    async def run(self) -> None:
        """Send until the closing handshake is done or the client is gone."""
        while True:
            frame = await self._frames.get()
            self._sending_since_s = self._loop.time()
            try:
                await self._send(frame)
            except ConnectionError:
                return
            self._took_s(self.stalled_s)
            self._sending_since_s = None
            if isinstance(frame, Close):
                return

    async def _send(self, frame: _Frame) -> None:
        match frame:
            case str():
                await self._socket.send(frame)
            case _Hold():
                await asyncio.wait([frame.done], timeout=frame.timeout_s)
                if not frame.done.done() or frame.done.exception():
                    frame.late()
            case Close():
                await self._socket.close(frame.code, frame.reason, CLOSE_HANDSHAKE_S)


def _ignore() -> None:
    pass
