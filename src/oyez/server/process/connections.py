"""Connections from accept to their end: how many there may be, how long each may take, and which
one is closed to make room for another.

A session is bounded elsewhere (by admission, pings and its outbox) and is never closed here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from aiohttp import StreamReader, web
from aiohttp.typedefs import Handler, Middleware

from oyez.logs import RateLimitedLogger
from oyez.server.process.resources import connections_that_fit
from oyez.settings import Settings

BESIDE_SESSIONS = 256
"""Connections for pages, files and health checks, beside those of sessions."""
FIRST_REQUEST_S = 10.0
"""How long the headers of a connection's first request may take, from accept on."""
UPGRADED = 101
REQUESTS_A_TURN_S = 0.003
"""How long a turn of the event loop may be kept by requests; most take 0.1 to 0.2 ms."""
REQUESTS_A_TURN = 16
"""Of those that wait, so many try again in the next turn."""

log = logging.getLogger(__name__)


def max_connections(settings: Settings) -> int:
    """How many connections the settings ask for."""
    return settings.max_connections or settings.max_sessions + BESIDE_SESSIONS


class Transport(Protocol):
    """What is used of asyncio's."""

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int: ...


@dataclass(slots=True, eq=False)
class Connection:
    """One client's socket. Times are in s, of the clock of `Connections`."""

    network: str | None
    """Whose connections are counted together; None: they are not bounded."""
    opened_s: float
    taken_s: float
    """When the client last took something of what waits for it, or nothing waited."""
    waiting_bytes: int = 0
    """What waited for the client when that was last looked at."""
    transport: Transport | None = None
    """Below TLS; None: it is being made."""
    http: asyncio.BaseProtocol | None = None
    """aiohttp's; None: TLS is not through."""
    asked: bool = False
    """A whole request has come."""
    answering: bool = False
    """A handler is at work on a request."""
    session: bool = False
    unread: StreamReader | None = None
    """What its client still sends of a request that has been answered."""


class Connections:
    """Event loop only."""

    def __init__(
        self,
        *,
        most: int,
        per_network: int,
        first_request_timeout_s: float,
        slow_reader_timeout_s: float,
        unbounded: Callable[[IPv4Address | IPv6Address], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """most: of all connections. per_network: of one address (IPv6: /64) without a session; 0:
        no bound. unbounded: addresses for which that does not hold. clock: seconds that never go
        back."""
        self._most = most
        self._per_network = per_network
        self._first_request_timeout_s = first_request_timeout_s
        self._slow_reader_timeout_s = slow_reader_timeout_s
        self._unbounded = unbounded
        self._clock = clock
        self._seldom = RateLimitedLogger(log)
        self._open = 0
        self.ended = 0
        """How many connections have ended since the start."""
        self._without_session: dict[Connection, None] = {}
        """The one that has been idle for longest comes first."""
        self._in_network: Counter[str | None] = Counter()
        """How many of `_without_session` each network has."""
        self._by_http: dict[asyncio.BaseProtocol, Connection] = {}
        self._turns = Turns()
        self._requests = 0
        self._no_requests = asyncio.Event()
        self._no_requests.set()

    @classmethod
    def of(
        cls, settings: Settings, trusts: Callable[[IPv4Address | IPv6Address], bool]
    ) -> Connections:
        """trusts: whether an address is that of a trusted proxy. It is not bounded, as it stands
        for many clients, and neither is this machine, where a proxy may run unnamed."""
        return cls(
            most=connections_that_fit(max_connections(settings)),
            per_network=settings.max_connections_per_address,
            first_request_timeout_s=min(FIRST_REQUEST_S, settings.keepalive_timeout_s),
            slow_reader_timeout_s=settings.slow_reader_timeout_s,
            unbounded=lambda address: address.is_loopback or trusts(address),
        )

    def __len__(self) -> int:
        """How many descriptors clients hold."""
        return self._open

    def admit(self, host: str) -> Connection | None:
        """Count a connection from this address, and close another one where there is no room. None:
        there is no room, because all others are sessions or being answered."""
        network = self._network(host)
        bound = self._per_network if network else 0
        if bound and self._in_network[network] >= bound:
            has_room = self.close_idle(network)
        else:
            has_room = self._open < self._most or self.close_idle()
        if not has_room:
            self._seldom.warning("connections are refused: all others are in use")
            return None
        now_s = self._clock()
        connection = Connection(network, opened_s=now_s, taken_s=now_s)
        self._open += 1
        self._watch(connection)
        return connection

    def join(self, connection: Connection, http: asyncio.BaseProtocol) -> None:
        """From now on `http`, which is the `protocol` of requests, stands for the connection."""
        connection.http = http
        self._by_http[http] = connection

    def closed(self, connection: Connection) -> None:
        """Its descriptor has been given back."""
        self._open -= 1
        self.ended += 1
        self._forget(connection)
        if connection.unread is not None:
            connection.unread.feed_eof()  # aiohttp would wait some seconds for more

    def close_idle(self, network: str | None = None) -> bool:
        """Close the connection without a session that has been idle for longest. network: of its
        connections; None: of all. False: none is idle."""
        for connection in self._without_session:
            is_idle = not connection.answering and connection.transport is not None
            if is_idle and network in (None, connection.network):
                self._abort(connection, "idle connections were closed to make room for others")
                return True
        return False

    def sweep(self) -> None:
        """Close connections that take too long. To be called every second or oftener."""
        now_s = self._clock()
        for connection in list(self._without_session):
            if connection.transport is None:
                continue
            waiting_bytes = connection.transport.get_write_buffer_size()
            if not waiting_bytes:
                connection.taken_s = now_s
            elif waiting_bytes < connection.waiting_bytes:
                connection.taken_s = now_s
                self._to_end(connection)
            connection.waiting_bytes = waiting_bytes
            if now_s - connection.taken_s > self._slow_reader_timeout_s:
                self._abort(connection, "connections were closed: their clients did not read")
            elif (
                not connection.asked and now_s - connection.opened_s > self._first_request_timeout_s
            ):
                self._abort(connection, "connections were closed: no request came")

    @property
    def middleware(self) -> Middleware:
        """To be the outermost: knows what each connection is doing."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._requests += 1
            self._no_requests.clear()
            try:
                connection = self._by_http.get(request.protocol)
                if connection:
                    connection.asked = True
                await self._turns.take()
                if connection:  # until then it is idle, and may have to make room
                    connection.answering = True
                return await handler(request)
            finally:
                self._requests -= 1
                if not self._requests:
                    self._no_requests.set()
                if connection := self._by_http.get(request.protocol):
                    self._answered(connection, request.content)

        return count

    async def upgraded(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `Application.on_response_prepare`: whoever is answered 101 has a session, until its
        handler returns."""
        connection = self._by_http.get(request.protocol)
        if connection and response.status == UPGRADED and not connection.session:
            connection.session = True
            self._unwatch(connection)

    async def no_requests(self, timeout_s: float) -> None:
        """Wait until no request is being answered, a session included; at most for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._no_requests.wait(), timeout_s)

    def _answered(self, connection: Connection, body: StreamReader) -> None:
        connection.answering = False
        connection.unread = None if body.is_eof() else body
        if connection.session:  # what its client has not read yet is bounded here again
            connection.session = False
            self._watch(connection)
        connection.taken_s = self._clock()
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
        """An address; of IPv6 the /64, which one client has to itself. None: it is not bounded."""
        address = ip_address(host)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if self._unbounded(address):
            return None
        if isinstance(address, IPv6Address):
            return f"{IPv6Address(int(address) >> 64 << 64)}/64"
        return str(address)


class Turns:
    """A crowd of requests, or of handshakes, that come at once is served over many turns of the
    event loop, so that sessions have theirs meanwhile."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._taken = 0
        """Requests that were begun in this turn of the event loop."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Return at once while requests have taken less than REQUESTS_A_TURN_S of this turn; else
        in a later turn, about in order. One a turn is always begun."""
        loop = asyncio.get_running_loop()
        has_waited = False
        while not self._has_time(loop, has_waited):
            future = loop.create_future()
            if has_waited:
                self._waiting.appendleft(future)
            else:
                self._waiting.append(future)
            await future
            has_waited = True
        self._taken += 1

    def _has_time(self, loop: asyncio.AbstractEventLoop, has_waited: bool) -> bool:
        if self._began_s is None:
            self._begin(loop)
        if not self._taken:
            return True
        others_first = bool(self._waiting) and not has_waited
        return not others_first and loop.time() - (self._began_s or 0.0) < REQUESTS_A_TURN_S

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._began_s, self._taken = loop.time(), 0
        loop.call_soon(self._end, loop)

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        self._began_s = None
        if self._waiting:
            self._begin(loop)
        for _ in range(min(len(self._waiting), REQUESTS_A_TURN)):
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
