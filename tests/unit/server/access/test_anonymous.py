"""Who is let in without a key: the table of docs/operations.md, row by row and in any mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from oyez.accounts.keys import Key
from oyez.server.access.access import PROXY_HEADERS, Access, is_of_this_machine
from oyez.server.access.callers import ANONYMOUS
from oyez.server.access.refusals import INVALID_KEY, NO_KEY, NO_KEYS_YET, Refusal
from oyez.settings import Settings
from support.keys import FakeDirectory, a_key, own_key

HERE = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]
ELSEWHERE = [
    "192.168.1.7",
    "203.0.113.7",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    "172.17.0.1",
    "",
    None,
]
OWN_HOSTS = ["localhost", "LocalHost:8080", "127.0.0.1:8080", "[::1]:8080", "a.localhost", None]
OTHER_HOSTS = [
    "asr.example.org",
    "10.0.0.1:8080",
    "localhost.example.org",
    "0.0.0.0",
    "[",
    "",
    "box",
]
OF_PROXIES = ["X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Anything", *PROXY_HEADERS]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ROWS = [
    a_key("active"),
    a_key("expired", expires_at=LONG_AGO),
    replace(a_key("revoked"), revoked_at=LONG_AGO),
]
OTHERS = ["User-Agent", "X-Request-Id", "Accept", "X-Forwarder"]


def an_access(settings: Settings, rows: Sequence[Key] = ()) -> Access:
    """Access with these keys in the database."""
    accounts = SimpleNamespace(directory=FakeDirectory(*rows), ledger=None)
    return Access(settings, accounts)  # type: ignore[arg-type]


@pytest.mark.parametrize("peer", HERE)
def test_a_program_of_this_machine(peer: str) -> None:
    assert is_of_this_machine(peer, {"Host": "127.0.0.1:8080", "User-Agent": "curl"})


@pytest.mark.parametrize("peer", ELSEWHERE)
def test_another_machine_and_one_that_is_not_known(peer: str | None) -> None:
    assert not is_of_this_machine(peer, {"Host": "127.0.0.1:8080"})


@pytest.mark.parametrize("header", sorted(OF_PROXIES))
def test_a_header_of_a_proxy_even_an_empty_one(header: str) -> None:
    assert not is_of_this_machine("127.0.0.1", {"Host": "127.0.0.1:8080", header: ""})


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_a_name_that_is_not_of_this_machine(host: str) -> None:
    assert not is_of_this_machine("127.0.0.1", {"Host": host})


@pytest.mark.parametrize(
    "given_settings",
    [{"host": "0.0.0.0"}, {"host": "::"}, {"host": "192.168.1.2"}, {"trusted_proxies": "10.0.0.1"}],
    ids=str,
)
def test_a_server_for_other_machines_accepts_no_caller_without_a_key_unless_it_accepts_all(
    given_settings: dict[str, Any],
) -> None:
    request = make_mocked_request("GET", "/", {"Host": "localhost"}).clone(remote="127.0.0.1")
    assert an_access(Settings()).authenticate(request) is ANONYMOUS
    assert an_access(Settings(**given_settings)).authenticate(request) is NO_KEYS_YET
    for_all = Settings(**given_settings, allow_insecure=True)
    assert an_access(for_all).authenticate(request) is ANONYMOUS


PEER, PROXY, HOST, LISTENING, TRUSTED, STATIC, ROW = range(7)
"""What stands against a caller without a key."""


@st.composite
def callers(draw: st.DrawFn) -> tuple[set[int], str | None, dict[str, str], dict[str, Any], Any]:
    """Up to two things that stand against a caller; its address and headers, the settings and the
    keys of the database."""
    against = draw(st.sets(st.sampled_from(range(7)), max_size=2))

    def chosen(what: int, harmless: list[Any], harmful: list[Any]) -> Any:
        return draw(st.sampled_from(harmful if what in against else harmless))

    peer = chosen(PEER, HERE, ELSEWHERE)
    names = [
        *draw(st.lists(st.sampled_from(OTHERS))),
        *chosen(PROXY, [[]], [[h] for h in OF_PROXIES]),
    ]
    headers = dict.fromkeys(draw(st.permutations(names)), "203.0.113.7")
    if (host := chosen(HOST, OWN_HOSTS, OTHER_HOSTS)) is not None:
        headers["Host"] = host
    settings = {
        "host": chosen(LISTENING, ["127.0.0.1", "::1", "localhost"], ["0.0.0.0", "::", "10.1.1.1"]),
        "trusted_proxies": chosen(TRUSTED, [()], [("127.0.0.1",), ("10.0.0.0/8", "::1")]),
        **chosen(STATIC, [{}], [{"api_key": ""}, {"api_key": own_key("a")}]),
    }
    return against, peer, headers, settings, chosen(ROW, [[]], [[row] for row in ROWS])


@given(callers(), st.booleans(), st.sampled_from([None, "any"]))
def test_who_has_no_key_is_let_in_exactly_where_the_table_says_so(
    caller: tuple[set[int], str | None, dict[str, str], dict[str, Any], list[Key]],
    allow_insecure: bool,
    offered: str | None,
) -> None:
    against, peer, headers, given_settings, rows = caller
    settings = Settings(allow_insecure=allow_insecure, **given_settings)
    access = an_access(settings, rows)
    if offered:
        headers["Authorization"] = f"Bearer {offered}"
    request = make_mocked_request("GET", "/v1/models", headers)
    found = access.authenticate(request.clone(remote=peer) if peer is not None else request)

    has_keys = bool(against & {STATIC, ROW})
    assert (found is ANONYMOUS) == (not has_keys and (allow_insecure or not against))
    if isinstance(found, Refusal):
        assert found.status == 401
        assert (found is NO_KEYS_YET) == (not has_keys)
        assert not has_keys or found is (INVALID_KEY if offered else NO_KEY)
