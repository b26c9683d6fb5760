"""Connections from accept to their end: how many may be open, how long each may take, and which
one is closed to make room for another.

A session is bounded elsewhere (by admission, pings and its outbox) and is never closed here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import resource
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
from aiohttp.typedefs import Handler

from oyez.logs import RateLimitedLogger
from oyez.server.process.event_loop import LoopPacer
from oyez.settings import Settings

BESIDE_SESSIONS = 256
"""Connections for pages, files and health checks, in addition to those of sessions."""
OWN_FILES = 128
"""Open files besides clients' connections: models, the database, pipes and libraries."""
FIRST_REQUEST_S = 10.0
"""How long the headers of a connection's first request may take, counted from accept."""
UPGRADED = 101

log = logging.getLogger(__name__)


def allow_open_files(connections: int) -> int:
    """Raise the limit of open files, as far as the system permits, to what this many connections
    need, and return how many of them fit. Warns if not all do.

    `OWN_FILES` are kept back, so that files, the database and health checks have descriptors at
    any load.
    """
    needed = connections + OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    granted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < granted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        soft = granted
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    fitting = min(connections, max(soft - OWN_FILES, soft // 2))
    log.warning(
        "at most %d files may be open, %d connections need %d, so there may be %d: raise the "
        "limit (ulimit -n, LimitNOFILE) or lower max_connections and max_sessions",
        soft,
        connections,
        needed,
        fitting,
    )
    return fitting


class Transport(Protocol):
    """The part of an asyncio transport that is used here."""

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int: ...


@dataclass(slots=True, eq=False)
class Connection:
    """One client's socket. Times are in seconds of the clock of `Connections`."""

    network: str | None
    """Connections of one network are counted together; None: they are not bounded."""
    request_due_s: float
    """When the first request must be complete; infinite once it is."""
    progress_s: float
    """When the client last read some of what waits for it, or when nothing waited."""
    unsent_bytes: int = 0
    """How much waited for the client at the last check."""
    transport: Transport | None = None
    """The transport below TLS; None while it is being made."""
    http: asyncio.BaseProtocol | None = None
    """aiohttp's protocol; None until the TLS handshake is complete."""
    is_answering: bool = False
    """Whether a handler is working on a request."""
    unread_body: StreamReader | None = None
    """The rest of a request that was answered before its body was read."""


class Connections:
    """All connections of the server. Use it on the event loop only."""

    def __init__(
        self,
        settings: Settings,
        is_trusted_proxy: Callable[[IPv4Address | IPv6Address], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without connections.

        Args:
            settings: The bounds.
            is_trusted_proxy: Whether an address stands for many clients, so that it is not bounded.
                This machine is not bounded either: a proxy may run there that no setting names.
            clock: Returns seconds that never go back.
        """
        self.slow_reader_timeout_s = settings.slow_reader_timeout_s
        """A connection is closed if its client reads nothing for so long while something waits."""
        self.ended = 0
        """How many connections have ended since the start."""
        self._first_request_timeout_s = min(FIRST_REQUEST_S, settings.keepalive_timeout_s)
        self._max_open = allow_open_files(
            settings.max_connections or settings.max_sessions + BESIDE_SESSIONS
        )
        self._max_per_network = settings.max_connections_per_address
        self._is_trusted_proxy = is_trusted_proxy
        self._clock = clock
        self._seldom = RateLimitedLogger(log)
        self._pacer = LoopPacer()
        self._open = 0
        self._without_session: dict[Connection, None] = {}
        """Connections without a session. The one that has been idle the longest comes first."""
        self._in_network: Counter[str | None] = Counter()
        """How many of `_without_session` each network has."""
        self._by_http: dict[asyncio.BaseProtocol, Connection] = {}
        self._requests = 0
        self._no_requests = asyncio.Event()
        self._no_requests.set()

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
        connection = Connection(network, now_s + self._first_request_timeout_s, now_s)
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
            if now_s - connection.progress_s > self.slow_reader_timeout_s:
                self._abort(connection, "connections were closed: their clients did not read")
            elif now_s > connection.request_due_s:
                self._abort(connection, "connections were closed: no request came")

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record what each connection is doing, and spread a crowd of requests over many iterations
        of the event loop. The outermost middleware."""
        self._requests += 1
        self._no_requests.clear()
        try:
            connection = self._by_http.get(request.protocol)
            if connection:
                connection.request_due_s = math.inf
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

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Record that a connection is upgraded: it has a session until its handler returns. For
        the signal of the same name of `Application`."""
        connection = self._by_http.get(request.protocol)
        if connection and response.status == UPGRADED:
            self._unwatch(connection)

    async def wait_for_requests(self, timeout_s: float) -> None:
        """Wait until no request is being answered, sessions included, or the time is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._no_requests.wait(), timeout_s)

    def _answered(self, connection: Connection, body: StreamReader) -> None:
        connection.is_answering = False
        connection.unread_body = None if body.is_eof() else body
        if connection not in self._without_session:
            # Its session has ended, so what its client has not read is bounded here again.
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
        if connection in self._without_session:
            del self._without_session[connection]
            self._in_network[connection.network] -= 1
            if not self._in_network[connection.network]:
                del self._in_network[connection.network]

    def _forget(self, connection: Connection) -> None:
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
        if address.is_loopback or self._is_trusted_proxy(address):
            return None
        if isinstance(address, IPv6Address):
            return f"{IPv6Address(int(address) >> 64 << 64)}/64"
        return str(address)


def limit_bad_request_logs() -> None:
    """Shorten the log lines of malformed requests, for every server of this process."""
    # Python remembers each new text of a warning for ever, and clients choose these texts.
    warnings.filterwarnings("ignore", module="aiohttp.multipart")
    server_logger.addFilter(_shorten_bad_request)


def _shorten_bad_request(record: logging.LogRecord) -> bool:
    """Take out the traceback of a malformed request, because it shows what the client sent. How
    often such a line is written is limited for the whole logger (`logs.LIBRARY_LOGGERS`)."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError | web.RequestPayloadError):
        client = record.args[0] if isinstance(record.args, tuple) and record.args else None
        record.fields = {"client": client, "reason": type(error).__name__}
        record.msg, record.args = "a request was refused: it is no HTTP, or too large", ()
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.exc_info = record.exc_text = None
    return True
