"""The server accepts exactly the messages that the reference describes."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from oyez.protocol.errors import ClientError
from oyez.protocol.qwen import codec
from oyez.protocol.qwen.codec import CLIENT_EVENTS
from oyez.server.reference.asyncapi import asyncapi
from oyez.server.reference.page import rows
from oyez.settings import Settings
from support.closed import complaints
from support.driver import Driver
from support.from_schema import ANYTHING, fitting, nearly

MAX_APPEND_BYTES = 30
DOCUMENT = asyncapi(Settings(max_append_bytes=MAX_APPEND_BYTES))
SCHEMAS = DOCUMENT["components"]["schemas"]
PATCH = SCHEMAS["SessionPatch"]
BOUNDED = [row.path for row in rows(PATCH, SCHEMAS) if any(" to " in each for each in row.bounds)]
BASE64 = st.text("ABab01+/= \n", max_size=44) | st.binary(max_size=40).map(
    lambda data: b64encode(data).decode()
)


def takes(session: dict[str, Any]) -> bool:
    """Whether the server accepts this update."""
    (answer,) = Driver().update(**session)
    return bool(answer["type"] == "session.updated")


@given(fitting(PATCH, SCHEMAS))
def test_every_update_that_is_described_is_taken(session: dict[str, Any]) -> None:
    assert complaints(DOCUMENT, "SessionPatch", session) == []
    assert takes(session)


@given(nearly(PATCH, SCHEMAS))
def test_every_update_that_is_taken_is_described(session: dict[str, Any]) -> None:
    taken = takes(session)
    event(f"taken: {taken}")
    assert taken == (complaints(DOCUMENT, "SessionPatch", tidy(session), strict=False) == [])


@pytest.mark.parametrize("path", BOUNDED)
def test_bounds_are_those_that_are_described(path: str) -> None:
    (schema,) = [each for each in _at(path)["anyOf"] if "minimum" in each]
    low, high = schema["minimum"], schema["maximum"]
    assert [takes(_nested(path, value)) for value in (low - 1, low, high, high + 1)] == [
        *(False, True),
        *(True, False),
    ]


def _at(path: str) -> dict[str, Any]:
    *outer, name = path.split(".")
    schema = PATCH
    for key in outer:
        (reference,) = [each for each in schema["properties"][key]["anyOf"] if "$ref" in each]
        schema = SCHEMAS[reference["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = schema["properties"][name]
    return found


def _nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    nested: dict[str, Any] = value
    return nested


def tidy(session: dict[str, Any]) -> dict[str, Any]:
    """The session with languages in small letters and without spaces: the server accepts others."""
    for holder in (session, session.get("input_audio_transcription")):
        if isinstance(holder, dict) and isinstance(holder.get("language"), str):
            holder["language"] = holder["language"].strip().lower()
    return session


@given(st.sampled_from(sorted(CLIENT_EVENTS)).flatmap(lambda name: fitting(_schema(name), SCHEMAS)))
def test_every_event_that_is_described_is_understood(message: dict[str, Any]) -> None:
    assert complaints(DOCUMENT, CLIENT_EVENTS[message["type"]].__name__, message) == []
    decoded = codec.decode(json.dumps(message), max_append_bytes=MAX_APPEND_BYTES)
    assert type(decoded) is CLIENT_EVENTS[message["type"]]
    assert decoded.event_id == message.get("event_id")


@given(st.sampled_from(sorted(CLIENT_EVENTS)), ANYTHING | BASE64, st.booleans())
def test_every_event_that_is_understood_is_described(name: str, value: Any, given: bool) -> None:
    fields = {"session": {} if value is None else value, "audio": value} if given else {}
    message = {"type": name, **fields}
    try:
        decoded = codec.decode(json.dumps(message), max_append_bytes=MAX_APPEND_BYTES)
    except ClientError as error:
        assert error.param in ("audio", "session")
        decoded = None
    if isinstance(value, str) and given:
        message["audio"] = _plain(value)
    if name == "session.update" and decoded and not takes(message["session"]):
        decoded = None
    described = complaints(DOCUMENT, CLIENT_EVENTS[name].__name__, message, strict=False) == []
    event(f"understood: {decoded is not None}")
    assert described == (decoded is not None)


def _plain(base64: str) -> str:
    """The text without line breaks and surplus padding, which the server accepts."""
    text = "".join(base64.split())
    bare = text.rstrip("=")
    return bare if bare and len(bare) % 4 == 0 else text


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = SCHEMAS[CLIENT_EVENTS[name].__name__]
    return schema
