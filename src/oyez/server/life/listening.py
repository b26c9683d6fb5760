"""The port: taken before anything is loaded, listened on once all is ready."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

BACKLOG = 1024

HANDSHAKE_TIMEOUT_S = 20.0
"""How long a TLS handshake may take."""

TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class ListenError(Exception):
    """The port cannot be had; the message says why."""


class _Refusal(asyncio.Protocol):
    """A connection beyond the most there may be: one answer, nothing is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(TOO_MANY)
        transport.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket on this port that does not listen yet. Raises ListenError."""
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"cannot listen on {where}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # two sockets may be bound to one port until one of them listens
        return listener
    except OSError as error:
        listener.close()
        raise _taken(where, error) from error


async def listen(
    listener: socket.socket,
    new_connection: Callable[[], asyncio.Protocol],
    *,
    has_room: Callable[[], bool],
    tls: ssl.SSLContext | None,
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> asyncio.Server:
    """Accept connections; while there is no room, they are told so (503) and closed.

    handshake_timeout_s: after which a connection is closed that is not through with TLS.
    Raises ListenError: another process listens by now.
    """

    def accept() -> asyncio.Protocol:
        return new_connection() if has_room() else _Refusal()

    try:
        return await asyncio.get_running_loop().create_server(
            accept,
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=handshake_timeout_s if tls else None,
        )
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _taken(f"{host}:{port}", error) from error


def _taken(where: str, error: OSError) -> ListenError:
    return ListenError(
        f"cannot listen on {where}: {error.strerror}; choose another with --port or --host"
    )
