from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address, ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from oyez.server.process.connections import OWN_FILES, Connection, Connections, allow_open_files
from oyez.server.process.event_loop import MAX_WORK_S
from oyez.settings import Settings


class Transport:
    """How much waits for its client, and whether it was aborted."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes

    def abort(self) -> None:
        self.aborted = True


class Port:
    """Connections over a clock that is moved by hand."""

    def __init__(self, most: int = 4, per_network: int = 2) -> None:
        self.now_s = 0.0
        bounds = {"max_connections": most, "max_connections_per_address": per_network}
        self.table = Connections(
            Settings().model_copy(update=bounds),
            lambda address: address in ip_network("10.0.0.0/8"),
            lambda: self.now_s,
        )

    def open(self, host: str = "10.0.0.1") -> tuple[Connection, Transport]:
        connection = self.table.admit(host)
        assert connection is not None
        transport = Transport()
        connection.transport = transport
        return connection, transport

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now_s += 1.0
            self.table.close_overdue()

    async def ask(
        self, connection: Connection, then: Callable[[], object] | None = None, status: int = 200
    ) -> None:
        """A request on it; `then` happens while it is being answered."""
        request = make_mocked_request("GET", "/")
        self.table.join(connection, request.protocol)

        async def handler(request: web.Request) -> web.Response:
            response = web.Response(status=status)
            await self.table.on_response_prepare(request, response)
            if then:
                then()
            return response

        await self.table.middleware(request, handler)


async def test_the_one_that_was_idle_for_longest_makes_room() -> None:
    port = Port(most=3)
    (first, first_transport), (_, second), (_, third) = port.open(), port.open(), port.open()
    await port.ask(first)
    port.open()
    assert (first_transport.aborted, second.aborted, third.aborted) == (False, True, False)
    port.open()
    assert (first_transport.aborted, third.aborted) == (False, True)


async def test_what_is_being_answered_and_sessions_make_no_room() -> None:
    port = Port(most=2)
    (working, one), (session, two) = port.open(), port.open()

    def no_other_is_let_in() -> None:
        assert port.table.admit("10.0.0.1") is None

    async def while_working() -> None:
        await port.ask(session, no_other_is_let_in, status=101)

    request = make_mocked_request("GET", "/")
    port.table.join(working, request.protocol)

    async def handler(request: web.Request) -> web.Response:
        await while_working()
        return web.Response()

    await port.table.middleware(request, handler)
    assert not one.aborted and not two.aborted
    assert port.table.admit("10.0.0.1") is not None  # both are idle now


async def test_one_that_has_closed_leaves_room() -> None:
    port = Port(most=1)
    connection, transport = port.open()
    port.table.closed(connection)
    port.open()
    assert not transport.aborted and len(port.table) == 1


@pytest.mark.parametrize(
    ("hosts", "together"),
    [
        (("198.51.100.1", "198.51.100.1", "198.51.100.1"), True),
        (("198.51.100.1", "198.51.100.1", "198.51.100.2"), False),
        (("198.51.100.1", "::ffff:198.51.100.1", "198.51.100.1"), True),
        (("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"), True),
        (("2001:db8::1", "2001:db8::2", "2001:db8:0:1::3"), False),
        (("fe80::1%eth0", "fe80::2%eth0", "fe80::3%eth0"), True),
        (("10.0.0.1", "10.0.0.1", "10.0.0.1"), False),  # a proxy: it stands for many
    ],
)
async def test_one_address_has_its_bound(hosts: tuple[str, ...], together: bool) -> None:
    port = Port(most=100)
    transports = [port.open(host)[1] for host in hosts]
    assert [each.aborted for each in transports] == [together, False, False]


async def test_sessions_do_not_count_for_an_address_until_they_end() -> None:
    port = Port(most=100)
    session, transport = port.open("198.51.100.1")

    def many_more() -> None:
        for _ in range(2):
            port.open("198.51.100.1")
        port.pass_s(100.0)  # nor is a session bounded here in time
        assert not transport.aborted

    await port.ask(session, many_more, status=101)
    for _ in range(2):
        port.open("198.51.100.1")
    transport.waiting_bytes = 10
    port.pass_s(40.0)
    assert transport.aborted


async def test_the_first_request_must_come_soon() -> None:
    port = Port(most=100)
    asked, asked_transport = port.open()
    _, silent = port.open()
    await port.ask(asked)
    port.pass_s(10.0)
    assert not silent.aborted
    port.pass_s(1.0)
    assert silent.aborted and not asked_transport.aborted


@pytest.mark.parametrize(("takes_bytes", "is_closed"), [(0, True), (10, False)])
async def test_a_client_must_take_some_of_what_waits_for_it(
    takes_bytes: int, is_closed: bool
) -> None:
    port = Port()
    connection, transport = port.open()

    def answer_goes_out() -> None:
        transport.waiting_bytes = 10_000
        for _ in range(50):
            transport.waiting_bytes -= takes_bytes
            port.pass_s(1.0)

    await port.ask(connection, answer_goes_out)
    assert transport.aborted == is_closed


async def test_a_long_upload_and_a_long_work_are_no_fault_of_the_connection() -> None:
    port = Port(most=1)
    connection, transport = port.open()
    await port.ask(connection, lambda: port.pass_s(3600.0))
    assert not transport.aborted


async def test_a_client_that_reads_outlasts_one_that_does_not() -> None:
    port = Port(most=2)
    (reading, one), (stalled, two) = port.open(), port.open()
    await port.ask(reading)
    await port.ask(stalled)
    one.waiting_bytes = two.waiting_bytes = 1000
    port.pass_s(1.0)
    one.waiting_bytes = 900
    port.pass_s(1.0)
    port.open()
    assert (one.aborted, two.aborted) == (False, True)


async def test_requests_that_come_at_once_are_spread_over_iterations_of_the_event_loop() -> None:
    port = Port()
    loop = asyncio.get_running_loop()
    iteration = 0
    iterations: list[int] = []

    def next_iteration() -> None:
        nonlocal iteration
        iteration += 1
        if len(iterations) < 60:
            loop.call_soon(next_iteration)

    async def busy(request: web.Request) -> web.Response:
        iterations.append(iteration)
        take_s(MAX_WORK_S / 2)
        return web.Response()

    loop.call_soon(next_iteration)
    requests = [make_mocked_request("GET", "/") for _ in range(60)]
    async with asyncio.timeout(5):
        await asyncio.gather(*(port.table.middleware(each, busy) for each in requests))
    assert max(Counter(iterations).values()) <= 2
    assert iteration < 200  # and none is left without a request


async def test_a_request_that_waits_for_a_later_iteration_can_make_room() -> None:
    port = Port(most=2)
    (first, _), (waiting, transport) = port.open(), port.open()

    async def come_later() -> None:
        port.open()

    use_up = partial(take_s, 2 * MAX_WORK_S)
    await asyncio.gather(port.ask(first, use_up), port.ask(waiting), come_later())
    assert transport.aborted


def take_s(seconds: float) -> None:
    """Block the event loop for so long."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        pass


def test_this_machine_and_trusted_proxies_are_not_bounded_by_address() -> None:
    table = Connections(
        Settings(max_connections_per_address=1, max_connections=300),
        lambda address: address == ip_address("203.0.113.9"),
    )
    for host in ("127.0.0.1", "::1", "203.0.113.9", "::ffff:203.0.113.9"):
        assert [table.admit(host), table.admit(host)].count(None) == 0
    assert table.admit("203.0.113.8") is not None
    assert table.admit("203.0.113.8") is None  # nothing of it can be closed yet


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "raised_to", "fitting"),
    [
        (1024, 4096, 500, None, 500),
        (1024, 4096, 2000, 2000 + OWN_FILES, 2000),
        (1024, 4096, 5000, 4096, 4096 - OWN_FILES),
        (1024, 1024, 5000, None, 1024 - OWN_FILES),
        (100, 100, 5000, None, 50),
        (1024, resource.RLIM_INFINITY, 5000, 5000 + OWN_FILES, 5000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 5000, None, 5000),
    ],
)
def test_open_files(
    soft: int,
    hard: int,
    connections: int,
    raised_to: int | None,
    fitting: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: calls.append(limits))
    assert allow_open_files(connections) == fitting
    assert calls == ([(raised_to, hard)] if raised_to else [])
    assert ("LimitNOFILE" in caplog.text) == (fitting < connections)
