"""What goes out on one socket, in order; and how long the client has kept us waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from oyez.protocol.effects import Close
from oyez.server.session.byte_queue import ByteQueue

FRAME_OVERHEAD_BYTES = 64
"""Counted for each frame, so that many small ones are bounded too."""


@dataclass(frozen=True, slots=True)
class _Ping:
    pass


@dataclass(frozen=True, slots=True)
class _Pong:
    data: bytes


@dataclass(frozen=True, slots=True)
class _Hold:
    done: asyncio.Future[None]
    timeout_s: float
    late: Callable[[], None]


_Frame = str | _Ping | _Pong | _Hold | Close


class Outbox:
    """Adding never waits; `room` does, while more than `limit_bytes` wait for the client."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        limit_bytes: int,
        on_room: Callable[[], None],
        took_s: Callable[[float], None],
    ) -> None:
        """on_room: called when there is room again. took_s: is told how long the socket made a
        frame wait."""
        self._socket = socket
        self._took_s = took_s
        self._frames: ByteQueue[_Frame] = ByteQueue(limit_bytes, on_room)
        self._loop = asyncio.get_running_loop()
        self._sending_since_s: float | None = None

    def text(self, text: str) -> None:
        self._frames.put(text, len(text) + FRAME_OVERHEAD_BYTES)

    def hold(self, done: asyncio.Future[None], timeout_s: float, late: Callable[[], None]) -> None:
        """Send what is added from now on once `done` is done, or after so long: then `late` is
        called, as it is when `done` holds an exception."""
        self._frames.put(_Hold(done, timeout_s, late), FRAME_OVERHEAD_BYTES)

    def ping(self) -> None:
        self._frames.put(_Ping(), FRAME_OVERHEAD_BYTES)

    def pong(self, data: bytes) -> None:
        self._frames.put(_Pong(data), FRAME_OVERHEAD_BYTES)

    def close(self, code: int, reason: str) -> None:
        """The last frame: what is added after it is not sent."""
        self._frames.put(Close(code, reason), FRAME_OVERHEAD_BYTES)

    @property
    def has_room(self) -> bool:
        """Whether the client has read enough."""
        return self._frames.has_room

    async def room(self) -> None:
        """Wait until the client has read enough."""
        await self._frames.room()

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
                await self._socket.send_str(frame)
            case _Ping():
                await self._socket.ping()
            case _Pong():
                await self._socket.pong(frame.data)
            case _Hold():
                await asyncio.wait([frame.done], timeout=frame.timeout_s)
                if not frame.done.done() or frame.done.exception():
                    frame.late()
            case Close():
                await self._socket.close(code=frame.code, message=frame.reason.encode())
