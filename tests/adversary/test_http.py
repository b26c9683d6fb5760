"""HTTP of strangers: slow, many, malformed, never read."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest
from hypothesis import given, settings

from support.adversary import (
    ATTACKER,
    ELSEWHERE,
    SPEAKER,
    MeasuredServer,
    Tolerated,
    bystanders,
    for_seconds,
    many_descriptors,
)
from support.blocking_websocket import BlockingWebSocket
from support.hostile_inputs import forms, http_requests
from support.raw_http import ask, many_connections, post, send_to_all, status, upload

GET = b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n"
REFUSED = (400, 404, 405, 413, 414, 429, 431, 503)
CONNECTIONS = 600
"""More than the server admits."""
CROWD = Tolerated(iteration_s=0.1, probe_median_s=0.2, failed_probes=1)
"""Hundreds of connections have something to do in the same turn; none of them 20 ms. Those of this
machine are not bounded by address: so many at once may push out one that has just come."""
SMUGGLED = {
    "length and chunks": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Content-Length: 5\r\n\r\nabcd",
    "unknown coding": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n"
    b"0\r\n\r\n",
    "space before colon": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n"
    b"\r\n0\r\n\r\n",
    "line feeds only": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "folded header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "length with a sign": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
    "line feed in a chunk": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n4;\nx\r\nabcd\r\n0\r\n\r\n",
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "zero in a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_requests_that_two_readers_take_differently(server: MeasuredServer, name: str) -> None:
    answer = ask(server.address, SMUGGLED[name])
    assert status(answer) == 400
    assert len(re.findall(rb"^HTTP/1\.. \d", answer, re.MULTILINE)) == 1


@contextmanager
def connections(server: MeasuredServer, count: int = CONNECTIONS) -> Iterator[list[socket.socket]]:
    with many_descriptors(), ExitStack() as open_:
        yield [
            open_.enter_context(one)
            for one in many_connections(server.address, count, source=ELSEWHERE)
        ]


def test_answers_that_nobody_reads(server: MeasuredServer, attack_s: float) -> None:
    """A key holder gets in meanwhile, and health checks are answered."""

    def attack() -> None:
        with connections(server) as all_:
            for _ in for_seconds(2 * attack_s):
                send_to_all(all_, GET % (b"/docs", b"x") * 16)
                BlockingWebSocket(server.address, SPEAKER).close()
                time.sleep(0.1)

    with bystanders(server, CROWD) as watch:
        watch.attack("unread answers", attack)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"],
    ids=["nothing", "half a head", "no body"],
)
def test_requests_that_never_come(server: MeasuredServer, attack_s: float, sent: bytes) -> None:
    def attack() -> None:
        with connections(server) as all_:
            send_to_all(all_, sent)
            for _ in for_seconds(attack_s):
                send_to_all(all_, b"X" if sent else b"")
                BlockingWebSocket(server.address, SPEAKER).close()
                time.sleep(0.1)

    with bystanders(server, CROWD) as watch:
        watch.attack("requests", attack)


def test_a_burst_of_connections(server: MeasuredServer, attack_s: float) -> None:
    """All of them are there at one instant, because the process could not look meanwhile."""

    def attack() -> None:
        with many_descriptors(), ExitStack() as open_:
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                for one in many_connections(server.address, 1_000, source=ELSEWHERE):
                    open_.enter_context(one)
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            time.sleep(attack_s)
            assert status(ask(server.address, upload(ATTACKER, b"no audio"))) == 400

    with bystanders(server, CROWD) as watch:
        watch.attack("a burst", attack)


def test_pages_again_and_again(server: MeasuredServer, attack_s: float) -> None:
    """Each time under another name, by several at a time, one after the other on a connection."""
    with bystanders(server) as watch:
        for path in (b"/docs", b"/docs/asyncapi.json", b"/docs/openapi.json", b"/metrics", b"/"):
            watch.attack(path.decode(), partial(ask_under_many_names, server, path, attack_s / 2))


def ask_under_many_names(server: MeasuredServer, path: bytes, seconds: float) -> None:
    with connections(server, 8) as all_:
        for one in all_:
            one.settimeout(0.2)
        for number in for_seconds(seconds):
            for one in all_:
                with suppress(OSError):
                    one.sendall(GET % (path, b"host-%d.example" % number))
                    one.recv(1 << 18)


def test_pipelined_requests(server: MeasuredServer, attack_s: float) -> None:
    """Sent without end, and their answers never read."""

    def attack() -> None:
        with connections(server, 4) as all_:
            for _ in for_seconds(attack_s):
                send_to_all(all_, GET % (b"/healthz", b"x") * 1_000)

    with bystanders(server) as watch:
        watch.attack("requests", attack)


def test_huge_heads(server: MeasuredServer, attack_s: float) -> None:
    heads = {
        "a long line": b"GET /" + b"a" * 1_000_000,
        "a long header": b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000,
        "many headers": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000,
        "many cookies": b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a=b;" * 1_900 + b"\r\n\r\n",
        "a long chunk": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"0" * 1_000_000,
    }
    with bystanders(server) as watch:
        for name, head in heads.items():
            watch.attack(name, partial(ask_again_and_again, server, head, attack_s / 4))


def ask_again_and_again(server: MeasuredServer, request: bytes, seconds: float) -> None:
    for _ in for_seconds(seconds):
        answer = ask(server.address, request, seconds=0.5, source=ELSEWHERE)
        assert status(answer) in (0, 200, *REFUSED)


def test_uploads_in_drops(server: MeasuredServer, attack_s: float) -> None:
    """Ten of one key. Another key's file is answered meanwhile."""
    begun = post(
        ATTACKER, "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(100),
        claimed_bytes=1_000_000,
    )  # fmt: skip

    def attack() -> None:
        with connections(server, 10) as all_:
            time.sleep(0.1)
            assert send_to_all(all_, begun) == 10
            for _ in for_seconds(attack_s):
                send_to_all(all_, b"\0")
                time.sleep(0.05)
            assert status(ask(server.address, upload(SPEAKER, b"no audio"), seconds=5)) == 400

    with bystanders(server) as watch:
        watch.attack("uploads", attack)


def test_forms_without_end(server: MeasuredServer, attack_s: float) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n'
    kinds = {
        "fields": part % b"x",
        "long fields": part % (b"x" * 200_000),
        "boundaries": b"--b\r\n",
        "line ends": b"\r\n",
        "dashes": b"\r\n--",
    }
    with bystanders(server) as watch:
        for name, once in kinds.items():
            body = once * (2_000_000 // len(once))
            request = post(ATTACKER, "multipart/form-data; boundary=b", body)
            watch.attack(name, partial(ask_again_and_again, server, request, attack_s / 4))


def test_forms_that_are_malformed_in_a_new_way_each_time(
    server: MeasuredServer, attack_s: float
) -> None:
    """What is said about them, and kept of them, is bounded."""

    def attack() -> None:
        for number in for_seconds(attack_s):
            parts = [
                b"--b\r\nContent-Disposition: form-data; =%d-%d-%s\r\n\r\nx\r\n"
                % (number, part, b"x" * 4_000)
                for part in range(60)
            ]
            request = post(ATTACKER, "multipart/form-data; boundary=b", b"".join(parts))
            ask(server.address, request, seconds=0.5)

    with bystanders(server) as watch:
        watch.attack("forms", attack)


def test_generated_requests(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:

        @settings(max_examples=round(60 * attack_s), deadline=None, database=None)
        @given(http_requests())
        def run(request: bytes) -> None:
            def attack() -> None:
                answer = ask(server.address, request, seconds=0.05, source=ELSEWHERE)
                assert status(answer) != 500

            assert watch.is_cheap(attack)

        run()


def test_generated_forms(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:

        @settings(max_examples=round(60 * attack_s), deadline=None, database=None)
        @given(forms())
        def run(form: tuple[str, bytes]) -> None:
            def attack() -> None:
                answer = ask(server.address, post(ATTACKER, *form), seconds=0.3)
                assert status(answer) in (0, *REFUSED), answer[:500]

            assert watch.is_cheap(attack)

        run()
