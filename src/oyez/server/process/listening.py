"""The port: bound before anything is loaded, and listened on once everything is ready."""

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
from oyez.server.process.connections import Connection, Connections
from oyez.server.process.event_loop import LoopPacer

BACKLOG = 1024
"""The most connections that the kernel holds until they are accepted."""
ACCEPTS_PER_ITERATION = 8
"""How many connections are accepted before the rest of the event loop runs."""
PAUSE_S = 0.1
"""Time until the next try when the system has no resources for another connection."""
OVERDUE_CHECK_S = 0.5
"""Time between two checks for connections that take too long."""
HANDSHAKE_TIMEOUT_S = 5.0
"""How long a TLS handshake may take, by default."""
TLS_BUFFER_BYTES = 32 * 1024
"""Size of each TLS connection's read buffer: two records. asyncio's default is 256 KiB."""

TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

log = logging.getLogger(__name__)


class ListenError(Exception):
    """The port is not available; the message says why."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to this port and does not listen yet. Raises ListenError."""
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
        # Two sockets may be bound to one port until one of them listens: `Listening` can fail too.
        return listener
    except OSError as error:
        listener.close()
        raise _taken(where, error) from error


def _taken(where: str, error: OSError) -> ListenError:
    return ListenError(
        f"cannot listen on {where}: {error.strerror}; choose another with --port or --host"
    )


class Listening:
    """Accepts connections until it is closed, as far as `Connections` admits them.

    asyncio's own accept loop is not used: connections could be counted only after the TLS
    handshake, and its tries and log lines multiply when descriptors run out.
    """

    def __init__(
        self,
        listener: socket.socket,
        new_http: Callable[[], asyncio.Protocol],
        connections: Connections,
        *,
        tls: ssl.SSLContext | None = None,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        """Accept connections from now on. Raises ListenError if another process listens on the
        port by now.

        Args:
            listener: The socket that `bind` returned.
            new_http: Makes the protocol that reads a connection's requests.
            connections: Counts connections and makes room.
            tls: The context of TLS; None: connections are not encrypted.
            handshake_timeout_s: A connection is closed if its TLS handshake takes longer.
        """
        try:
            listener.listen(BACKLOG)
        except OSError as error:
            host, port = listener.getsockname()[:2]
            raise _taken(f"{host}:{port}", error) from error
        listener.setblocking(False)
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES  # asyncio has no parameter for it
        self._listener = listener
        self._new_http = new_http
        self._connections = connections
        self._tls = tls
        self._handshake_timeout_s = handshake_timeout_s
        self._handshakes = LoopPacer()
        self._seldom = RateLimitedLogger(log)
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._tasks = [
            self._loop.create_task(self._accept_all()),
            self._loop.create_task(self._close_overdue()),
        ]

    async def close(self) -> None:
        """Stop accepting connections; those that are open stay open."""
        tasks = [*self._tasks, *self._opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _close_overdue(self) -> None:
        while True:
            await asyncio.sleep(OVERDUE_CHECK_S)
            try:
                self._connections.close_overdue()
            except Exception as error:  # noqa: BLE001 - a bug may raise anything
                _log_fault(error)

    async def _accept_all(self) -> None:
        while True:
            try:
                for _ in range(ACCEPTS_PER_ITERATION):
                    await self._accept()
                await asyncio.sleep(0)
            except ConnectionError:
                pass  # the client has left already
            except OSError as error:
                what = error.strerror or type(error).__name__
                self._seldom.warning("no connection can be accepted", reason=what)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # Descriptors or memory have run out: an idle client gives its own back.
                    self._connections.close_idle()
                await asyncio.sleep(PAUSE_S)
            except Exception as error:  # noqa: BLE001 - a bug may raise anything; others are accepted
                _log_fault(error)
                await asyncio.sleep(PAUSE_S)

    async def _accept(self) -> None:
        accepted, peer = await self._loop.sock_accept(self._listener)
        try:
            connection = self._connections.admit(peer[0])
        except BaseException:
            accepted.close()
            raise
        if connection is None:
            self._refuse(accepted)
            return
        counted = _ClientSocket(accepted, lambda: self._connections.closed(connection))
        task = self._loop.create_task(self._open(connection, counted))
        self._opening.add(task)
        task.add_done_callback(lambda done: self._opened(done, counted))

    def _opened(self, done: asyncio.Task[None], accepted: socket.socket) -> None:
        self._opening.discard(done)
        if done.cancelled():
            accepted.close()  # a task that is cancelled before it begins does not close it
        elif error := done.exception():
            accepted.close()
            _log_fault(error)

    def _refuse(self, accepted: socket.socket) -> None:
        with accepted, suppress(OSError):
            accepted.setblocking(False)
            if self._tls is None:
                with suppress(BlockingIOError):
                    accepted.recv(1 << 16)  # closing with unread data would discard the answer
                accepted.send(TOO_MANY)

    async def _open(self, connection: Connection, accepted: _ClientSocket) -> None:
        """Hand an accepted socket to aiohttp, after the TLS handshake if there is TLS."""

        def http() -> asyncio.Protocol:
            made = self._new_http()
            self._connections.join(connection, made)
            return made

        try:
            if self._tls is None:
                connection.transport, _ = await self._loop.connect_accepted_socket(http, accepted)
            else:
                await self._open_tls(connection, accepted, http, self._tls)
        except OSError as error:
            # The socket is closed: the client left, did not speak TLS, or took too long. The frames
            # and the error refer to each other, which would keep the TLS objects alive until a
            # garbage collection.
            traceback.clear_frames(error.__traceback__)

    async def _open_tls(
        self,
        connection: Connection,
        accepted: _ClientSocket,
        new_http: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
    ) -> None:
        """Open a connection in two steps, first the transport and then TLS on top of it: the lower
        transport can be aborted at any time and shows how much the client has not read. Raises
        OSError if the handshake fails or takes too long; the socket is closed then."""
        # Wait for the client's first byte. Until then the connection costs a descriptor only, and
        # it can be closed to make room.
        connection.transport = accepted
        async with asyncio.timeout(self._handshake_timeout_s):
            await accepted.wait_for_data()
        # A handshake is a millisecond of work, so a crowd of them is spread over the event loop.
        await self._handshakes.wait()
        if accepted.fileno() < 0:
            return  # it was closed to make room
        connection.transport = None  # a transport is made that owns the socket
        early = _EarlyData()
        transport, _ = await self._loop.connect_accepted_socket(lambda: early, accepted)
        connection.transport = transport
        secured = await self._loop.start_tls(
            transport,
            early,
            context,
            server_side=True,
            ssl_handshake_timeout=self._handshake_timeout_s,
            ssl_shutdown_timeout=self._connections.slow_reader_timeout_s,
        )
        if secured is None or early.lost:
            return
        # From here on aiohttp reads. What came right behind the handshake is handed over first.
        http = new_http()
        secured.set_protocol(http)
        http.connection_made(secured)
        if early.received:
            http.data_received(bytes(early.received))


class _ClientSocket(socket.socket):
    """A client's socket that reports when its descriptor is closed, whether by aiohttp, by TLS or
    after a handshake that failed. It is itself the transport of a client that has not begun TLS."""

    def __init__(self, accepted: socket.socket, on_close: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.setblocking(False)
        self._on_close: Callable[[], None] | None = on_close
        self._loop = asyncio.get_running_loop()
        self._has_data: asyncio.Future[None] = self._loop.create_future()

    def close(self) -> None:
        super().close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    async def wait_for_data(self) -> None:
        """Wait until the client sends its first byte or leaves."""
        self._loop.add_reader(self, self._readable)
        try:
            await self._has_data
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Close the socket. Call it before another transport owns the socket."""
        self._has_data.cancel()
        if self.fileno() >= 0:
            self._loop.remove_reader(self)
            self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def _readable(self) -> None:
        self._loop.remove_reader(self)
        if not self._has_data.done():
            self._has_data.set_result(None)


class _EarlyData(asyncio.Protocol):
    """Reads nothing until TLS begins, and keeps what arrives right behind the handshake."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()  # start_tls resumes it

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


def _log_fault(error: BaseException) -> None:
    log.error("internal error", exc_info=error, extra={"rate_limit": True})
