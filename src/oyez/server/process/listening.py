"""The port: taken before anything is loaded, listened on once all is ready."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import traceback
from asyncio import sslproto
from collections.abc import Callable
from contextlib import suppress

from oyez.logs import RateLimitedLogger
from oyez.server.process.connections import Connection, Connections, Turns

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted."""
ACCEPTS_PER_TURN = 8
"""Then others on the event loop have their turn."""
PAUSE_S = 0.1
"""Until the next try, where the system has nothing left for another connection."""
SWEEP_S = 0.5
HANDSHAKE_TIMEOUT_S = 5.0
"""How long a TLS handshake may take."""
TLS_BUFFER_BYTES = 32 * 1024
"""What each TLS connection holds to read into: two records. asyncio's own measure is 256 KiB."""

TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

log = logging.getLogger(__name__)


class ListenError(Exception):
    """The port cannot be had; the message says why."""


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


def listen(
    listener: socket.socket,
    new_http: Callable[[], asyncio.Protocol],
    connections: Connections,
    *,
    tls: ssl.SSLContext | None,
    shutdown_timeout_s: float,
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> Listening:
    """Accept connections from now on, as far as `connections` admits them.

    shutdown_timeout_s: how long a client may take to read what waits for it when TLS ends.
    handshake_timeout_s: after which a connection is closed that is not through with TLS. Raises
    ListenError: another process listens by now.
    """
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _taken(f"{host}:{port}", error) from error
    listener.setblocking(False)
    secure = _Secure(tls, handshake_timeout_s, shutdown_timeout_s) if tls else None
    return Listening(listener, new_http, connections, secure)


class Listening:
    """An accept loop of our own: asyncio's counts a connection only once TLS is through, and
    multiplies its tries and its log lines when descriptors run out."""

    def __init__(
        self,
        listener: socket.socket,
        new_http: Callable[[], asyncio.Protocol],
        connections: Connections,
        secure: _Secure | None,
    ) -> None:
        self._listener = listener
        self._new_http = new_http
        self._connections = connections
        self._secure = secure
        self._seldom = RateLimitedLogger(log)
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._tasks = [self._loop.create_task(part) for part in (self._accept_all(), self._sweep())]

    async def close(self) -> None:
        """Accept no more; connections that are open stay."""
        tasks = [*self._tasks, *self._opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                self._connections.sweep()
            except Exception as error:  # noqa: BLE001 - our bug may be any
                _log_fault(error)

    async def _accept_all(self) -> None:
        while True:
            try:
                for _ in range(ACCEPTS_PER_TURN):
                    await self._accept()
                await asyncio.sleep(0)
            except ConnectionError:
                pass  # the client has left already
            except OSError as error:
                what = error.strerror or type(error).__name__
                self._seldom.warning("no connection can be accepted", reason=what)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._connections.close_idle()
                await asyncio.sleep(PAUSE_S)
            except Exception as error:  # noqa: BLE001 - our bug may be any; others are let in
                _log_fault(error)
                await asyncio.sleep(PAUSE_S)

    async def _accept(self) -> None:
        accepted, peer = await self._loop.sock_accept(self._listener)
        connection = self._connections.admit(peer[0])
        if connection is None:
            self._refuse(accepted)
            return
        counted = _Counted(accepted, lambda: self._connections.closed(connection))
        task = self._loop.create_task(self._open(connection, counted))
        self._opening.add(task)
        task.add_done_callback(lambda done: self._opened(done, counted))

    def _opened(self, done: asyncio.Task[None], accepted: socket.socket) -> None:
        self._opening.discard(done)
        if done.cancelled():
            accepted.close()  # a task that was cancelled before it began has not looked at it
        elif error := done.exception():
            accepted.close()
            _log_fault(error)

    def _refuse(self, accepted: socket.socket) -> None:
        with accepted, suppress(OSError):
            accepted.setblocking(False)
            if self._secure is None:
                with suppress(BlockingIOError):
                    accepted.recv(1 << 16)  # unread, it would take the answer away with it
                accepted.send(TOO_MANY)

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        """Hand an accepted socket to aiohttp, once TLS is through where there is TLS."""

        def http() -> asyncio.Protocol:
            made = self._new_http()
            self._connections.join(connection, made)
            return made

        try:
            if self._secure is None:
                connection.transport, _ = await self._loop.connect_accepted_socket(http, accepted)
            else:
                await self._secure.open(connection, accepted, http)
        except OSError as error:
            # it is closed: the client has left, spoke no TLS, or took too long. The frames refer to
            # the error, and with it would keep all of TLS until a garbage collection
            traceback.clear_frames(error.__traceback__)


class _Counted(socket.socket):
    """A client's socket. It counts for as long as its descriptor is open, whoever closes it:
    aiohttp, TLS, or a handshake that failed."""

    def __init__(self, accepted: socket.socket, on_close: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.setblocking(False)
        self._on_close: Callable[[], None] | None = on_close

    def close(self) -> None:
        super().close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


class _Secure:
    """TLS, in two steps: so the transport below it is known, which can be aborted at any time and
    knows what the client has not taken."""

    def __init__(
        self, context: ssl.SSLContext, handshake_timeout_s: float, shutdown_timeout_s: float
    ) -> None:
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES  # there is no other way to choose it
        self._context = context
        self._handshake_timeout_s = handshake_timeout_s
        self._shutdown_timeout_s = shutdown_timeout_s
        self._turns = Turns()

    async def open(
        self,
        connection: Connection,
        accepted: socket.socket,
        new_http: Callable[[], asyncio.Protocol],
    ) -> None:
        """Raises OSError: the handshake failed, or took too long; the socket is closed then."""
        loop = asyncio.get_running_loop()
        connection.transport = silent = _Silent(accepted)
        async with asyncio.timeout(self._handshake_timeout_s):
            await silent.begun()
        await self._turns.take()  # a handshake is a millisecond of work: not all at once
        if accepted.fileno() < 0:
            return  # it was closed to make room
        connection.transport = None  # until there is the next one: `silent` has given it away
        early = _Early()
        transport, _ = await loop.connect_accepted_socket(lambda: early, accepted)
        connection.transport = transport
        secured = await loop.start_tls(
            transport,
            early,
            self._context,
            server_side=True,
            ssl_handshake_timeout=self._handshake_timeout_s,
            ssl_shutdown_timeout=self._shutdown_timeout_s,
        )
        if secured is None or early.lost:
            return
        http = new_http()
        secured.set_protocol(http)
        http.connection_made(secured)
        if early.received:
            http.data_received(bytes(early.received))


class _Silent:
    """Stands for the transport of a client that has not begun TLS: a descriptor and no more."""

    def __init__(self, accepted: socket.socket) -> None:
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.create_future()
        self._loop.add_reader(accepted, self._readable)

    async def begun(self) -> None:
        """Wait for the client's first byte, or its end."""
        try:
            await self._begun
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        self._begun.cancel()
        if self._accepted.fileno() >= 0:
            self._loop.remove_reader(self._accepted)
            self._accepted.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def _readable(self) -> None:
        self._loop.remove_reader(self._accepted)
        if not self._begun.done():
            self._begun.set_result(None)


class _Early(asyncio.Protocol):
    """Reads nothing until TLS begins; keeps what comes right behind the handshake."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()  # start_tls resumes

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


def _log_fault(error: BaseException) -> None:
    log.error("internal error", exc_info=error, extra={"rate_limit": True})


def _taken(where: str, error: OSError) -> ListenError:
    return ListenError(
        f"cannot listen on {where}: {error.strerror}; choose another with --port or --host"
    )
