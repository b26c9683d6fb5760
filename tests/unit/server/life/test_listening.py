from __future__ import annotations

import asyncio
import ssl

import trustme

from oyez.server.life.listening import bind, listen

AUTHORITY = trustme.CA()


def context() -> ssl.SSLContext:
    issued = AUTHORITY.issue_cert("127.0.0.1")
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(made)
    return made


async def test_who_does_not_shake_hands_in_time_is_closed() -> None:
    """And nobody else: a connection that is through may say nothing for longer than that."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = await listen(
        listener,
        asyncio.Protocol,
        has_room=lambda: True,
        tls=context(),
        handshake_timeout_s=0.3,
    )
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    async with server, asyncio.timeout(5):
        through, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        assert await silent.read() == b""
        assert not through.at_eof()
        writer.close()
        silent_writer.close()
