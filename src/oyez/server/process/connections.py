"""Connections from accept to their end: how many may be open, how long each may take, and which
one is closed to make room for another.

A session is bounded elsewhere (by admission, pings and its outbox) and is never closed here.
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler, Middleware

from oyez.logs import RateLimitedLogger
from oyez.server.process.event_loop import LoopPacer
from oyez.server.process.resources import connections_that_fit
from oyez.settings import Settings

BESIDE_SESSIONS = 256
"""Connections for pages, files and health checks, in addition to those of sessions."""
FIRST_REQUEST_S = 10.0
"""How long the headers of a connection's first request may take, counted from accept."""
UPGRADED = 101

log = logging.getLogger(__name__)


def max_connections(settings: Settings) -> int:
    """Return how many connections the settings ask for."""
    return settings.max_connections or settings.max_sessions + BESIDE_SESSIONS


class Transport(Protocol):
    """The part of an asyncio transport that is used here."""

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int: ...


@dataclass(slots=True, eq=False)
class Connection:
    """One client's socket. Times are in seconds of the clock of `Connections`."""

    network: str | None
    """Connections of one network are counted together; None: they are not bounded."""
    opened_s: float
    progress_s: float
    """When the client last read some of what waits for it, or when nothing waited."""
    unsent_bytes: int = 0
    """How much waited for the client at the last check."""
    transport: Transport | None = None
    """The transport below TLS; None while it is being made."""
    http: asyncio.BaseProtocol | None = None
    """aiohttp's protocol; None until the TLS handshake is complete."""
    has_request: bool = False
    """Whether a complete request has arrived."""
    is_answering: bool = False
    """Whether a handler is working on a request."""
    has_session: bool = False
    """Whether the connection was upgraded, and its session has not ended."""
    unread_body: StreamReader | None = None
    """The rest of a request that was answered before its body was read."""


class Connections:
    """All connections of the server. Use it on the event loop only."""

    def __init__(
        self,
        *,
        max_open: int,
        max_per_network: int,
        first_request_timeout_s: float,
        slow_reader_timeout_s: float,
        is_unbounded: Callable[[IPv4Address | IPv6Address], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without connections.

        Args:
            max_open: The most connections that may be open.
            max_per_network: The most connections without a session from one address (IPv6: /64);
                0: no bound.
            first_request_timeout_s: A connection is closed if no request has arrived by then.
            slow_reader_timeout_s: A connection is closed if its client reads nothing for so long
                while something waits for it.
            is_unbounded: Whether `max_per_network` does not apply to an address.
            clock: Returns seconds that never go back.
        """
        self._max_open = max_open
        self._max_per_network = max_per_network
        self._first_request_timeout_s = first_request_timeout_s
        self._slow_reader_timeout_s = slow_reader_timeout_s
        self._is_unbounded = is_unbounded
        self._clock = clock
        self._seldom = RateLimitedLogger(log)
        self._open = 0
        self.ended = 0
        """How many connections have ended since the start."""
        self._without_session: dict[Connection, None] = {}
        """Connections without a session. The one that has been idle the longest comes first."""
        self._in_network: Counter[str | None] = Counter()
        """How many of `_without_session` each network has."""
        self._by_http: dict[asyncio.BaseProtocol, Connection] = {}
        self._pacer = LoopPacer()
        self._requests = 0
        self._no_requests = asyncio.Event()
        self._no_requests.set()

    @classmethod
    def from_settings(
        cls, settings: Settings, is_trusted_proxy: Callable[[IPv4Address | IPv6Address], bool]
    ) -> Connections:
        """Return connections with the bounds of the settings.

        A trusted proxy stands for many clients, so its address is not bounded; neither is this
        machine, where a proxy may run that no setting names.
        """
        return cls(
            max_open=connections_that_fit(max_connections(settings)),
            max_per_network=settings.max_connections_per_address,
            first_request_timeout_s=min(FIRST_REQUEST_S, settings.keepalive_timeout_s),
            slow_reader_timeout_s=settings.slow_reader_timeout_s,
            is_unbounded=lambda address: address.is_loopback or is_trusted_proxy(address),
        )

    def __len__(self) -> int:
        """Return how many descriptors clients hold."""
        return self._open

    def admit(self, host: str) -> Connection | None:
        """Count a connection from this address, and close another one if there is no room. Returns
        None if there is none because all others are sessions or are being answered."""
        network = self._network(host)
        bound = self._max_per_network if network else 0
        if bound and self._in_network[network] >= bound:
            has_room = self.close_idle(network)
        else:
            has_room = self._open < self._max_open or self.close_idle()
        if not has_room:
            self._seldom.warning("connections are refused: all others are in use")
            return None
        now_s = self._clock()
        connection = Connection(network, opened_s=now_s, progress_s=now_s)
        self._open += 1
        self._watch(connection)
        return connection

    def join(self, connection: Connection, http: asyncio.BaseProtocol) -> None:
        """Record that requests of this connection have `http` as their `protocol`."""
        connection.http = http
        self._by_http[http] = connection

    def closed(self, connection: Connection) -> None:
        """Record that the connection's descriptor has been closed."""
        self._open -= 1
        self.ended += 1
        self._forget(connection)
        if connection.unread_body is not None:
            connection.unread_body.feed_eof()  # else aiohttp waits some seconds for the rest

    def close_idle(self, network: str | None = None) -> bool:
        """Close the connection without a session that has been idle the longest; of one network,
        if it is given. Returns False if none is idle."""
        for connection in self._without_session:
            is_idle = not connection.is_answering and connection.transport is not None
            if is_idle and network in (None, connection.network):
                self._abort(connection, "idle connections were closed to make room for others")
                return True
        return False

    def close_overdue(self) -> None:
        """Close connections that take too long. Call it at least once a second."""
        now_s = self._clock()
        for connection in list(self._without_session):
            if connection.transport is None:
                continue
            unsent_bytes = connection.transport.get_write_buffer_size()
            if not unsent_bytes:
                connection.progress_s = now_s
            elif unsent_bytes < connection.unsent_bytes:
                # The client reads, however slowly: it is idle only from now on.
                connection.progress_s = now_s
                self._to_end(connection)
            connection.unsent_bytes = unsent_bytes
            if now_s - connection.progress_s > self._slow_reader_timeout_s:
                self._abort(connection, "connections were closed: their clients did not read")
            elif (
                not connection.has_request
                and now_s - connection.opened_s > self._first_request_timeout_s
            ):
                self._abort(connection, "connections were closed: no request came")

    @property
    def middleware(self) -> Middleware:
        """The outermost middleware: it records what each connection is doing and spreads a crowd
        of requests over many iterations of the event loop."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._requests += 1
            self._no_requests.clear()
            try:
                connection = self._by_http.get(request.protocol)
                if connection:
                    connection.has_request = True
                await self._pacer.wait()
                if connection:  # until now it was idle and could be closed to make room
                    connection.is_answering = True
                return await handler(request)
            finally:
                self._requests -= 1
                if not self._requests:
                    self._no_requests.set()
                if connection := self._by_http.get(request.protocol):
                    self._answered(connection, request.content)

        return count

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Record that a connection is upgraded: it has a session until its handler returns. For
        the signal of the same name of `Application`."""
        connection = self._by_http.get(request.protocol)
        if connection and response.status == UPGRADED and not connection.has_session:
            connection.has_session = True
            self._unwatch(connection)

    async def wait_for_requests(self, timeout_s: float) -> None:
        """Wait until no request is being answered, sessions included, or the time is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._no_requests.wait(), timeout_s)

    def _answered(self, connection: Connection, body: StreamReader) -> None:
        connection.is_answering = False
        connection.unread_body = None if body.is_eof() else body
        if connection.has_session:
            # The session has ended, so what its client has not read is bounded here again.
            connection.has_session = False
            self._watch(connection)
        connection.progress_s = self._clock()
        self._to_end(connection)

    def _abort(self, connection: Connection, why: str) -> None:
        self._seldom.info(why, network=connection.network or "unbounded")
        self._forget(connection)
        assert connection.transport is not None
        connection.transport.abort()

    def _watch(self, connection: Connection) -> None:
        self._without_session[connection] = None
        self._in_network[connection.network] += 1

    def _unwatch(self, connection: Connection) -> None:
        del self._without_session[connection]
        self._in_network[connection.network] -= 1
        if not self._in_network[connection.network]:
            del self._in_network[connection.network]

    def _forget(self, connection: Connection) -> None:
        if connection in self._without_session:
            self._unwatch(connection)
        if connection.http is not None:
            self._by_http.pop(connection.http, None)

    def _to_end(self, connection: Connection) -> None:
        self._without_session[connection] = self._without_session.pop(connection)

    def _network(self, host: str) -> str | None:
        """Return the address, or the /64 of an IPv6 address, which one client has to itself. None:
        its connections are not bounded."""
        address = ip_address(host)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if self._is_unbounded(address):
            return None
        if isinstance(address, IPv6Address):
            return f"{IPv6Address(int(address) >> 64 << 64)}/64"
        return str(address)


class _ShortenBadRequests(logging.Filter):
    """Replaces aiohttp's tracebacks of malformed requests by one line now and then.

    Any client can cause them, and their content must not reach the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seldom = RateLimitedLogger(log)

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | web.RequestPayloadError):
            return True
        client = record.args[0] if isinstance(record.args, tuple) and record.args else None
        self._seldom.warning(
            "a request was refused: it is no HTTP, or too large",
            client=client,
            reason=type(error).__name__,
        )
        return False


def limit_bad_request_logs() -> None:
    """Limit the log lines of malformed requests, for every server of this process."""
    # Python remembers each new text of a warning for ever, and clients choose these texts.
    warnings.filterwarnings("ignore", module="aiohttp.multipart")
    if not any(isinstance(each, _ShortenBadRequests) for each in server_logger.filters):
        server_logger.addFilter(_ShortenBadRequests())
