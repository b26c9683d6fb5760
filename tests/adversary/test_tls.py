"""The TLS port: handshakes that do not finish, and bytes that are none."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from property.strategies import spoiled
from support.adversary import (
    ELSEWHERE,
    SPEAKER,
    MeasuredServer,
    Tolerated,
    bystanders,
    for_seconds,
    many_descriptors,
    measured_server,
)
from support.blocking_websocket import BlockingWebSocket
from support.raw_http import ask, many_connections, send_to_all

AUTHORITY = trustme.CA()
CONNECTIONS = 1_500
CROWD = Tolerated(iteration_s=0.1, probe_median_s=0.2, failed_probes=1)
"""Hundreds of connections have something to do in the same turn; none of them 20 ms. Those of this
machine are not bounded by address: so many at once may push out one that has just come."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeasuredServer]:
    folder = tmp_path_factory.mktemp("tls")
    issued = AUTHORITY.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.pem"))
    flags = [f"--tls-cert={folder}/cert.pem", f"--tls-key={folder}/key.pem"]
    with measured_server(folder, *flags, ca_file=str(folder / "ca.pem")) as running:
        yield running


def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("sent", [0, 5, 300], ids=["nothing", "a record's head", "half a hello"])
def test_handshakes_that_do_not_finish(server: MeasuredServer, attack_s: float, sent: int) -> None:
    """More than the process has descriptors for; a key holder gets in meanwhile."""
    hello = client_hello()[:sent]

    def attack() -> None:
        with many_descriptors(), ExitStack() as open_:
            all_ = many_connections(server.address, CONNECTIONS, source=ELSEWHERE)
            for one in all_:
                open_.enter_context(one)
            for _ in for_seconds(2 * attack_s):
                send_to_all(all_, hello)
                BlockingWebSocket(server.address, SPEAKER, tls=trust()).close()
                time.sleep(0.1)

    with bystanders(server, CROWD) as watch:
        watch.attack("handshakes", attack)


def test_handshakes_again_and_again(server: MeasuredServer, attack_s: float) -> None:
    hello = client_hello()

    def attack() -> None:
        for _ in for_seconds(attack_s):
            ask(server.address, hello, seconds=0.2, source=ELSEWHERE)

    with bystanders(server) as watch:
        watch.attack("hellos", attack)


def test_what_is_no_tls(server: MeasuredServer, attack_s: float) -> None:
    kinds = (b"GET / HTTP/1.1\r\n\r\n", bytes(100_000), b"\x16\x03\x01\xff\xff" * 20_000)

    def attack() -> None:
        for number in for_seconds(attack_s):
            ask(server.address, kinds[number % 3], seconds=0.2, source=ELSEWHERE)

    with bystanders(server) as watch:
        watch.attack("no TLS", attack)


def test_generated_handshakes(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:

        @settings(max_examples=round(40 * attack_s), deadline=None, database=None)
        @given(st.one_of(st.binary(max_size=600), spoiled(client_hello(), 0)))
        def run(data: bytes) -> None:
            assert watch.is_cheap(lambda: ask(server.address, data, seconds=0.05, source=ELSEWHERE))

        run()
