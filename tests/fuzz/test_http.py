"""Requests that no HTTP library would send."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from support.server import running_server

PATHS = (
    "/",
    "/v1/models",
    "/docs",
    "/docs/asyncapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
    "/nothing",
)
UPGRADE = "/api-ws/v1/realtime?model=%FF%00"
HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
VALUES = (
    b"",
    b"\xff\xfe",
    b"http://\xff",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"%00",
    b'"',
    b"[",
    b"a" * 4000,
)
NAMES = (
    *("Origin", "Host", "Authorization", "X-API-Key", "Sec-WebSocket-Protocol", "Cookie"),
    *("If-None-Match", "X-Forwarded-For", "X-Forwarded-Proto", "Accept-Encoding", "Range"),
)


async def ask(address: str, path: str, *headers: bytes, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of the answer to a request that holds these bytes; 0 without an answer."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = b"".join(header + b"\r\n" for header in headers)
    writer.write(f"{method} {path} HTTP/1.1\r\n".encode() + lines + HANDSHAKE + b"\r\n")
    try:
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            if status == 101:
                return status, b""
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            return status, await reader.readexactly(length)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "keys", [{}, {"api_key": "k-0123456789-0123456789"}], ids=["without keys", "with a key"]
)
async def test_no_header_is_a_fault_of_the_server(keys: dict[str, Any]) -> None:
    async with running_server(**keys, sessions_per_second=10_000) as running:
        everywhere = itertools.product(PATHS, NAMES, VALUES[:4])
        for path, name, value in [*itertools.product([UPGRADE], NAMES, VALUES), *everywhere]:
            header = name.encode() + b": " + value
            headers = [header] if name == "Host" else [b"Host: localhost", header]
            status, _ = await ask(running.address, path, *headers)
            assert status < 500, (path, header[:60])
        await running.assert_nothing_left()


async def test_what_is_no_text_is_not_repeated_as_it_is() -> None:
    async with running_server() as running:
        status, body = await ask(
            running.address, UPGRADE, b"Host: localhost", b"Origin: http://\xff\xfe"
        )
        assert status == 403
        assert "http://??" in json.loads(body)["message"]
