from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.server.access.access import Origins

LOCAL = Origins((), local=True)
PUBLIC = Origins(("https://app.example", "http://localhost:3000"), local=False)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://oyez.localhost:8080", "oyez.localhost:8080"),
        ("HTTP://LocalHost:8080", "localhost:8080"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://127.0.0.1", "127.0.0.1:80"),
        ("https://127.0.0.1", "127.0.0.1:443"),
    ],
)
def test_the_servers_own_pages_may_use_it(origin: str, host: str) -> None:
    assert LOCAL.permit(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "127.0.0.1:8080"),
        ("http://127.0.0.1:8081", "127.0.0.1:8080"),
        ("http://localhost:8080", "127.0.0.1:8080"),
        ("https://127.0.0.1:80", "127.0.0.1"),
        ("null", "127.0.0.1:8080"),
        ("", "127.0.0.1:8080"),
        ("http://", ""),
        ("http://[", "["),
        ("http://a:b", "a:b"),
        ("file://127.0.0.1:8080", "127.0.0.1:8080"),
        ("chrome-extension://127.0.0.1:8080", "127.0.0.1:8080"),
    ],
)
def test_others_may_not(origin: str, host: str) -> None:
    assert not LOCAL.permit(origin, host)


def test_a_name_that_its_owner_points_at_loopback_is_no_name_of_ours() -> None:
    rebound = ("http://evil.example:8080", "evil.example:8080")
    assert not LOCAL.permit(*rebound)
    assert Origins(("http://evil.example:8080",), local=True).permit(*rebound)
    assert PUBLIC.permit(*rebound), "a server for others has names"


def test_listed_pages_may_whatever_the_host() -> None:
    assert PUBLIC.permit("https://app.example", "asr.example")
    assert PUBLIC.permit("https://APP.example", "asr.example")
    assert PUBLIC.permit("http://localhost:3000", "asr.example")
    assert not PUBLIC.permit("http://app.example", "asr.example")
    assert not PUBLIC.permit("https://app.example.evil.example", "asr.example")
    assert Origins(("*",), local=True).permit("null", "anything")


@given(st.text(), st.text())
def test_any_header_can_be_read(origin: str, host: str) -> None:
    LOCAL.permit(origin, host)
