"""Hostile bytes on real sockets: the server answers or closes, and neighbours do not notice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
from typing import Any

import pytest

from support.order import check_events
from support.server import FINISH, MODEL, RunningServer, append, running_server, silence, speech

UPGRADE = (
    f"GET /api-ws/v1/realtime?model={MODEL} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


def frame(opcode: int, payload: bytes, *, final: bool = True, length: int | None = None) -> bytes:
    """A masked client frame; `length` may lie."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack(">H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", size)
    return head + bytes(4) + payload


HOSTILE_FRAMES = {
    "invalid UTF-8": frame(1, b"\xff\xfe\xfd"),
    "a reserved opcode": frame(3, b"x"),
    "a continuation of nothing": frame(0, b"x"),
    "a fragmented ping": frame(9, b"x", final=False),
    "an endless length": frame(2, b"x", length=1 << 62),
    "an unmasked frame": b"\x81\x02{}",
    "a close with half a code": frame(8, b"\x03"),
    "a close with a bad code": frame(8, struct.pack(">H", 999)),
    "random bytes": random.Random(1).randbytes(4096),
    "silence, then nothing": b"",
    "half a frame": frame(1, b'{"type"')[:6],
}


async def neighbour_is_well(running: RunningServer) -> None:
    client = await running.connect()
    await client.send(append(speech(1.5)), append(silence(1.2)), FINISH)
    await client.until("session.finished")
    check_events(client.seen)
    assert any(event["type"].endswith("completed") for event in client.seen)
    await client.socket.close()


async def raw(running: RunningServer, *parts: bytes) -> bytes:
    """Send bytes over TCP and hang up; what came back."""
    host, port = running.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.02)
    answer = b""
    try:
        async with asyncio.timeout(0.3):
            while chunk := await reader.read(65536):
                answer += chunk
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return answer


@pytest.mark.parametrize("name", HOSTILE_FRAMES)
async def test_hostile_frames_end_only_their_own_connection(name: str) -> None:
    async with running_server() as running:
        answer = await raw(running, UPGRADE, HOSTILE_FRAMES[name])
        assert b"session.created" in answer
        await neighbour_is_well(running)
        await running.assert_nothing_left()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00" * 1000,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        UPGRADE[:-4],
        UPGRADE.replace(b"13", b"99"),
        UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"x"),
        b"POST /api-ws/v1/realtime HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /api-ws/v1/realtime?model=%ff%fe&model=&a=b?model=x HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=range(8),
)
async def test_hostile_requests_harm_nobody(request_bytes: bytes) -> None:
    async with running_server() as running:
        answer = await raw(running, request_bytes)
        assert b"101 Switching" not in answer
        await neighbour_is_well(running)
        await running.assert_nothing_left()


def random_message(dice: random.Random) -> str | bytes:
    values: list[Any] = [
        None, True, 0, -1, 1e308, "", "zh", "opus", "pcm", [], {}, [[]], "A" * 5000, 8000,
        {"type": "server_vad", "threshold": dice.uniform(-2, 2)}, {"text": "x" * 100},
    ]  # fmt: skip
    keys = ["turn_detection", "sample_rate", "input_audio_format", "language", "audio", "corpus"]
    kind = dice.choice(["update", "append", "commit", "clear", "junk", "bytes", "audio"])
    match kind:
        case "update":
            session = {dice.choice(keys): dice.choice(values) for _ in range(dice.randrange(4))}
            return json.dumps({"type": "session.update", "session": session})
        case "append":
            return json.dumps({"type": "input_audio_buffer.append", "audio": dice.choice(values)})
        case "audio":
            return append(dice.choice([speech(0.3), silence(0.7), dice.randbytes(1001)]))
        case "junk":
            return json.dumps(dice.choice(values))
        case "bytes":
            return dice.randbytes(dice.randrange(200))
        case _:
            return json.dumps({"type": f"input_audio_buffer.{kind}"})


@pytest.mark.parametrize("seed", range(12))
async def test_any_mixture_of_messages_ends_in_order(seed: int) -> None:
    dice = random.Random(seed)
    async with running_server() as running:
        client = await running.connect()
        for _ in range(80):
            await client.send(random_message(dice))
        await client.send(FINISH)
        await client.until("session.finished", timeout_s=30)
        check_events(client.seen)
        await client.socket.close()
        await running.assert_nothing_left()


async def test_a_flood_of_clients_that_vanish_leaves_nothing() -> None:
    async with running_server(sessions_per_second=1000) as running:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(40):
            client = await running.connect()
            await client.send(append(speech(2.0)))
            client.vanish()
        await running.assert_nothing_left()
        await neighbour_is_well(running)
        assert len(os.listdir("/proc/self/fd")) <= before + 8
