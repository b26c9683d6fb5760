from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from oyez.server.access.access import (
    has_key_in_url,
    key_in_headers,
    key_in_subprotocols,
    query_parameters,
)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"Authorization": "Bearer k"}, "k"),
        ({"authorization": "bearer  k "}, "k"),
        ({"X-API-Key": "k"}, "k"),
        ({"Authorization": "Basic dTpw", "x-api-key": "k"}, "k"),
        ({"Authorization": "Bearer k", "X-API-Key": "other"}, "k"),
        ({"Authorization": "Bearer"}, ""),
        ({"Authorization": "Basic dTpw"}, None),
        ({"Authorization": "k"}, None),
        ({}, None),
    ],
)
def test_keys_come_in_two_headers(headers: dict[str, str], key: str | None) -> None:
    assert key_in_headers(CIMultiDict(headers)) == key


def offered(*names: str) -> str | None:
    return key_in_subprotocols(CIMultiDict({"Sec-WebSocket-Protocol": ", ".join(names)}))


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_a_page_offers_its_key_as_a_subprotocol(key: str) -> None:
    encoded = base64.urlsafe_b64encode(key.encode()).decode()
    assert offered("oyez", "oyez-key." + encoded.rstrip("=")) == key
    assert offered("oyez-key." + encoded, "oyez") == key


@pytest.mark.parametrize(
    "names", [(), ("oyez",), ("oyez", "oyez-key.a!b"), ("oyez", "oyez-key._w")]
)
def test_what_is_no_key_is_none(names: tuple[str, ...]) -> None:
    assert offered(*names) is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("model=m&api_key=k", True),
        ("token=k", True),
        ("a=b?Access_Token=k", True),
        ("api%5Fkey=k", True),
        ("apikey", True),
        ("model=token", False),
        ("model=m&tokens=3", False),
        ("", False),
    ],
)
def test_a_key_in_the_url_is_noticed(query: str, found: bool) -> None:
    assert has_key_in_url(query) is found


@given(st.text())
def test_any_query_can_be_read(query: str) -> None:
    has_key_in_url(query)


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ("", None),
        ("model", ""),
        ("model=a", "a"),
        ("model=a%20b+c", "a b c"),
        ("a=b?model=a", "a"),
        ("model=mine?model=a", "a"),
        ("Model=a", None),
    ],
)
def test_the_model_is_found_in_broken_queries_too(query: str, model: str | None) -> None:
    assert dict(query_parameters(query)).get("model") == model
