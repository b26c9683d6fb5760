"""A WebSocket client that sends any bytes, for what no proper client would do."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field

from support.blocking_websocket import CLOSE, upgrade


@dataclass
class RawWebSocket:
    """Connected and upgraded. Frames from the server: (opcode, payload)."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[tuple[int, bytes]] = field(default_factory=list)

    @classmethod
    async def connect(cls, address: str, key: str | None = None) -> RawWebSocket:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(upgrade(key))
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer, answer
        return cls(reader, writer)

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def receive(self, timeout_s: float = 10.0) -> tuple[int, bytes]:
        """The next frame. Raises asyncio.IncompleteReadError at the end of the connection."""
        async with asyncio.timeout(timeout_s):
            first, second = await self.reader.readexactly(2)
            length = second & 127
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            self.seen.append((first & 15, await self.reader.readexactly(length)))
            return self.seen[-1]

    async def until(self, opcode: int, timeout_s: float = 10.0) -> bytes:
        """The payload of the next frame of this kind."""
        async with asyncio.timeout(timeout_s):
            while True:
                kind, payload = await self.receive(timeout_s)
                if kind == opcode:
                    return payload

    async def close_code(self, timeout_s: float = 10.0) -> int:
        """Of the server's Close frame, behind which it closes the connection."""
        payload = await self.until(CLOSE, timeout_s)
        (code,) = struct.unpack("!H", payload[:2])
        async with asyncio.timeout(timeout_s):
            while await self.reader.read(65536):
                pass
        self.writer.close()
        return int(code)

    def vanish(self) -> None:
        self.writer.transport.abort()
