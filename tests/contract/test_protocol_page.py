"""`docs/protocol.md` names every event, field and code there is, and none that there is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import msgspec

from oyez.engines.base import LANGUAGES
from oyez.protocol.qwen.codec import CLIENT_EVENTS, UNSUPPORTED_EVENT_TYPES
from oyez.protocol.server_events import (
    CLOSE_CODES,
    ERROR_CODES,
    ERROR_TYPES,
    SERVER_EVENTS,
    ServerEvent,
)
from oyez.server.reference.asyncapi import asyncapi
from oyez.server.reference.openapi import REFUSALS
from oyez.server.reference.page import rows
from oyez.server.transcriptions.errors import CODES
from oyez.settings import Settings
from support.markdown import ROOT, codes, headings, tables

PAGE = ROOT / "docs" / "protocol.md"
TABLES = tables(PAGE)
SENT_BY_WEBSOCKETS = {1002, 1007, 1009}
"""For clients that break RFC 6455 or send messages that are too long."""


def table(first_column: str) -> tuple[tuple[str, ...], ...]:
    (found,) = [each.rows for each in TABLES if each.columns[0] == first_column]
    return found


def test_every_client_event_has_a_section_and_no_other() -> None:
    named = {name for title in headings(PAGE) for name in codes(title)}
    assert named == set(CLIENT_EVENTS)


def test_every_field_of_an_update_is_in_its_table_and_no_other() -> None:
    schemas = asyncapi(Settings())["components"]["schemas"]
    fields = list(rows(schemas["SessionPatch"], schemas))
    objects = {row.path for row in fields if row.kind.startswith("object")}
    named = {name for row in table("Field of `session`") for name in codes(row[0])}
    assert named <= {row.path for row in fields}
    assert {row.path for row in fields} - objects <= named


def test_every_server_event_is_in_the_table_with_its_fields() -> None:
    named = {codes(event)[0]: set(codes(fields)) for event, fields, _ in table("Event")}
    assert named == {name: fields_of(cls) for name, cls in SERVER_EVENTS.items()}


def test_every_object_in_an_event_is_in_the_table_with_its_fields() -> None:
    named = sorted(sorted(codes(fields)) for _, fields, _ in table("Objects in them"))
    inner = {cls for event in SERVER_EVENTS.values() for cls in _inner(event)}
    assert named == sorted(sorted(fields_of(cls)) for cls in inner)


def fields_of(cls: type[msgspec.Struct]) -> set[str]:
    own = set(cls.__struct_fields__)
    return own - {"event_id"} if issubclass(cls, ServerEvent) else own


def _inner(cls: Any) -> Iterator[Any]:
    struct = msgspec.inspect.type_info(cls)
    assert isinstance(struct, msgspec.inspect.StructType)
    waiting = [field.type for field in struct.fields]
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            yield info.cls
            waiting += [field.type for field in info.fields]
        inner = [getattr(info, "item_type", None), getattr(info, "type", None)]
        waiting += [*getattr(info, "types", ()), *filter(None, inner)]


def test_every_error_code_is_in_the_table_and_no_other() -> None:
    assert {codes(row[0])[0] for row in table("`code`")} == set(ERROR_CODES)
    assert {name for name in ERROR_TYPES if f"`{name}`" in PAGE.read_text()} == set(ERROR_TYPES)


def test_every_close_code_is_in_the_table_and_no_other() -> None:
    assert {int(row[0]) for row in table("Close code")} == set(CLOSE_CODES)


def test_every_refusal_is_in_the_table_and_no_other() -> None:
    named = {(int(row[0]), codes(row[1])[0]) for row in table("HTTP status")}
    assert named == {(refusal.status, refusal.code) for refusal in REFUSALS}


def test_ignored_events_and_languages_are_named() -> None:
    text = PAGE.read_text()
    assert {name for name in UNSUPPORTED_EVENT_TYPES if f"`{name}`" not in text} == set()
    assert f"`{' '.join(LANGUAGES)}`" in text


def test_codes_of_openais_api_are_in_the_page_on_files() -> None:
    page = ROOT / "docs" / "http.md"
    (errors,) = [each.rows for each in tables(page) if each.columns == ("Status", "`code`")]
    named = {name for row in errors for name in codes(row[1])}
    sent = set(CODES.values())
    for file in (ROOT / "src/oyez/server/transcriptions").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                sent |= _codes_of_errors(node)
    assert sent - named == set()


def test_codes_in_the_source_are_those_that_are_listed() -> None:
    errors, closes = set(), set()
    for room in ("protocol", "server"):
        for file in (ROOT / "src/oyez" / room).rglob("*.py"):
            if file.parent.name == "transcriptions":  # codes of another API
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    errors |= _codes_of_errors(node)
                closes |= _close_codes(node)
    assert errors <= set(ERROR_CODES)
    assert closes | SENT_BY_WEBSOCKETS == set(CLOSE_CODES)


def _codes_of_errors(call: ast.Call) -> set[str]:
    return {
        keyword.value.value
        for keyword in call.keywords
        if keyword.arg == "code"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    }


CLOSING_CALLS = ("close", "closure")


def _close_codes(node: ast.AST) -> set[int]:
    """In calls of `close` (`abort` sends no frame) and `Closure`, and in pairs of a code and a
    reason."""
    if isinstance(node, ast.Tuple):
        given: list[ast.expr] = node.elts[:1]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).lower().endswith(CLOSING_CALLS):
        given = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "code")]
    else:
        return set()
    numbers = [each.value for each in given if isinstance(each, ast.Constant)]
    return {each for each in numbers if isinstance(each, int) and 1000 <= each < 5000}
