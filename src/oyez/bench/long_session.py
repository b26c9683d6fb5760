"""The client of a session that lasts for hours: notes little, and never runs far ahead."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import aiohttp
import msgspec

ANSWER_TIMEOUT_S = 300.0
MARK = "mark"
_MARK_MESSAGE = json.dumps({"type": "session.update", "event_id": MARK, "session": {}})
_TRANSCRIPTION = "conversation.item.input_audio_transcription."


class LongSession:
    """A socket whose session was asked for a language.

    A mark is a `session.update` among the packets: the server answers it when it gets there, with
    an error, because the session has begun. So the client knows how far the server is.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.ended = False
        self._socket = socket
        self._marks_on_the_way = 0
        self._configured = False
        self._news = asyncio.Event()
        self._stopped_s: dict[str, float] = {}
        self._finals_ms: list[float] = []
        self._failed = 0

    async def send(self, message: str) -> None:
        await self._socket.send_str(message)

    async def mark(self, most_on_the_way: int) -> None:
        """Send a mark, then wait until no more than so many are unanswered. Raises TimeoutError."""
        self._marks_on_the_way += 1
        await self.send(_MARK_MESSAGE)
        await self._until(lambda: self._marks_on_the_way <= most_on_the_way)

    async def settle(self) -> None:
        """Wait until all audio sent was heard and every turn that ended has its final, so that no
        work for it remains. Raises TimeoutError."""
        await self.mark(0)
        await self._until(lambda: not self._stopped_s)

    async def listen(self) -> None:
        """Until `session.finished`. Raises RuntimeError if it does not come to that."""
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            self._hear(msgspec.json.decode(message.data), time.perf_counter())
            if self.ended:
                return
        raise RuntimeError(f"the server closed the session: {self._socket.close_code}")

    def take_finals(self) -> tuple[tuple[float, ...], int]:
        """What came since the last call: milliseconds from `speech_stopped` to `completed` of
        every turn, and how many turns failed."""
        taken = tuple(self._finals_ms), self._failed
        self._finals_ms, self._failed = [], 0
        return taken

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def _hear(self, event: dict[str, object], at_s: float) -> None:
        self._news.set()
        item_id = str(event.get("item_id"))
        match event["type"]:
            case "input_audio_buffer.speech_stopped":
                self._stopped_s[item_id] = at_s
            case kind if kind == _TRANSCRIPTION + "completed":
                self._finals_ms.append(1000 * (at_s - self._stopped_s.pop(item_id, at_s)))
            case kind if kind == _TRANSCRIPTION + "failed":
                self._stopped_s.pop(item_id, None)
                self._failed += 1
            case "session.updated" if not self._configured:
                self._configured = True
            case "session.updated":
                self._marks_on_the_way -= 1
            case "error":
                self._error(event["error"])
            case "session.finished":
                self.ended = True

    def _error(self, error: object) -> None:
        assert isinstance(error, dict)
        if error.get("event_id") != MARK:
            raise RuntimeError(str(error.get("message")))
        self._marks_on_the_way -= 1
