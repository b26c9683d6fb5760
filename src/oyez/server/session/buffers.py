"""What waits in memory: the budget that all sessions share, and the frames for one client.

The budget counts input and events that wait, and audio that is needed until its turn is answered.
Each session has an account. While a key, or all keys together, hold as much as they may, a session
is neither read from nor fed until it holds less. Every session may always have MIN_WAITING_BYTES
waiting and hold MIN_AUDIO_BYTES of audio. That is more than a speaker needs, so a client that uses
up the budget does not hold back speakers.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from oyez.protocol.effects import Close
from oyez.server.session.websocket import WebSocket

SESSION_BYTES = 24 << 20
"""The most that may wait in one session: some minutes of audio that a client sends faster than it
is recognised. Reading so far ahead lets pings behind the audio be answered in time."""
MIN_WAITING_BYTES = 256 << 10
MIN_AUDIO_BYTES = 2 << 20
KEY_SHARE = 4
"""A key may hold a fourth of the budget. Callers without a key count as one, and may hold all."""
FRAME_OVERHEAD_BYTES = 64
"""Counted for each frame besides its length, so that many small ones are bounded too."""
CLOSE_HANDSHAKE_S = 5.0
"""How long a client may take to answer the server's Close frame."""


@dataclass(slots=True)
class ByteBudget:
    """The memory that all sessions share. Event loop only."""

    total_bytes: int
    held_bytes: int = 0
    """The bytes that all sessions hold together."""
    held_by_key: Counter[str | None] = field(default_factory=Counter)


class ByteAccount:
    """The memory of one session. Call `hold(0, 0)` at its end."""

    def __init__(self, budget: ByteBudget, key_id: str | None) -> None:
        """key_id: of the session's key; None: the caller has no key."""
        self._budget = budget
        self._key_id = key_id
        self._share_bytes = budget.total_bytes // KEY_SHARE if key_id else budget.total_bytes
        self._waiting_bytes = 0
        self._audio_bytes = 0

    def hold(self, waiting_bytes: int, audio_bytes: int) -> None:
        """Set what the session holds now: input and events that wait, and audio that turns need."""
        change_bytes = waiting_bytes + audio_bytes - self._waiting_bytes - self._audio_bytes
        self._waiting_bytes, self._audio_bytes = waiting_bytes, audio_bytes
        if change_bytes:
            of_keys = self._budget.held_by_key
            self._budget.held_bytes += change_bytes
            of_keys[self._key_id] += change_bytes
            if not of_keys[self._key_id]:
                del of_keys[self._key_id]

    @property
    def may_read(self) -> bool:
        """Whether more may be read from the client."""
        if self._waiting_bytes < MIN_WAITING_BYTES:
            return True
        return self._waiting_bytes < SESSION_BYTES and self._has_room

    @property
    def may_feed(self) -> bool:
        """Whether more of the waiting input may become audio of turns."""
        return self._audio_bytes < MIN_AUDIO_BYTES or self._has_room

    @property
    def _has_room(self) -> bool:
        budget = self._budget
        is_within_share = budget.held_by_key[self._key_id] < self._share_bytes
        return is_within_share and budget.held_bytes < budget.total_bytes


class _Hold(NamedTuple):
    done: asyncio.Future[None]
    timeout_s: float
    late: Callable[[], None]


class Outbox:
    """The frames that wait for one client, first in, first out. Adding never waits, and events that
    cannot wait may exceed the limit. Event loop only."""

    def __init__(
        self,
        socket: WebSocket,
        limit_bytes: int,
        on_room: Callable[[], None],
        took_s: Callable[[float], None],
    ) -> None:
        """limit_bytes: there is no room while so many wait. on_room: called when there is room
        again. took_s: called with the time that the socket made a frame wait."""
        self._socket = socket
        self._limit_bytes = limit_bytes
        self._on_room = on_room
        self._took_s = took_s
        self._frames: deque[str | _Hold | Close] = deque()
        self.waiting_bytes = 0
        """The memory of the frames that have not been sent."""
        self._filled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sending_since_s: float | None = None

    def text(self, text: str) -> None:
        """Add one text frame."""
        self._put(text)

    def hold(self, done: asyncio.Future[None], timeout_s: float, late: Callable[[], None]) -> None:
        """Hold back what is added from now on until `done` is done, at most `timeout_s`. `late` is
        called when the time is over, or when `done` holds an exception."""
        self._put(_Hold(done, timeout_s, late))

    def close(self, code: int, reason: str) -> None:
        """Add the last frame: nothing that is added after it is sent."""
        self._put(Close(code, reason))

    def release(self) -> None:
        """Drop everything that waits."""
        self._frames.clear()
        self.waiting_bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether the client has read enough that more may be sent."""
        return self.waiting_bytes < self._limit_bytes

    @property
    def stalled_s(self) -> float:
        """How long the client has not taken the frame that is being sent."""
        since_s = self._sending_since_s
        return 0.0 if since_s is None else self._loop.time() - since_s

    async def run(self) -> None:
        """Send until the closing handshake is done or the client is gone."""
        with suppress(ConnectionError):
            while True:
                while not self._frames:
                    self._filled.clear()
                    await self._filled.wait()
                frame = self._take()
                self._sending_since_s = self._loop.time()
                match frame:
                    case str():
                        await self._socket.send(frame)
                    case _Hold(done, timeout_s, late):
                        await asyncio.wait([done], timeout=timeout_s)
                        if not done.done() or done.exception():
                            late()
                    case Close(code, reason):
                        await self._socket.close(code, reason, CLOSE_HANDSHAKE_S)
                self._took_s(self.stalled_s)
                self._sending_since_s = None
                if isinstance(frame, Close):
                    return

    def _put(self, frame: str | _Hold | Close) -> None:
        self._frames.append(frame)
        self.waiting_bytes += _size_bytes(frame)
        self._filled.set()

    def _take(self) -> str | _Hold | Close:
        frame = self._frames.popleft()
        had_room = self.has_room
        self.waiting_bytes -= _size_bytes(frame)
        if self.has_room and not had_room:
            self._on_room()
        return frame


def _size_bytes(frame: str | _Hold | Close) -> int:
    return FRAME_OVERHEAD_BYTES + (len(frame) if isinstance(frame, str) else 0)
