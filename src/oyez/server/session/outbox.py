"""What goes out on one socket, in order; and how long the client has kept us waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from oyez.protocol.effects import Close
from oyez.server.session.byte_queue import ByteQueue
from oyez.server.session.websocket import WebSocket

FRAME_OVERHEAD_BYTES = 64
"""Counted for each frame, so that many small ones are bounded too."""
CLOSE_HANDSHAKE_S = 5.0
"""How long a client may take to answer our Close frame."""


@dataclass(frozen=True, slots=True)
class _Hold:
    done: asyncio.Future[None]
    timeout_s: float
    late: Callable[[], None]


_Frame = str | _Hold | Close


class Outbox:
    """Adding never waits. It has no room while more than `limit_bytes` wait for the client."""

    def __init__(
        self,
        socket: WebSocket,
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

    def close(self, code: int, reason: str) -> None:
        """The last frame: what is added after it is not sent."""
        self._frames.put(Close(code, reason), FRAME_OVERHEAD_BYTES)

    def release(self) -> None:
        """Forget everything that waits, and whom to call."""
        self._frames.release()

    @property
    def waiting_bytes(self) -> int:
        """Memory that is taken by frames the client has not been sent."""
        return self._frames.size_bytes

    @property
    def has_room(self) -> bool:
        """Whether the client has read enough."""
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
