"""JSON Schemas that allow nothing they do not name: for checking what the server sends."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft7Validator

from oyez.protocol.server_events import SERVER_EVENTS
from oyez.server.reference.asyncapi import asyncapi
from oyez.settings import Settings


def closed(schema: Any) -> Any:
    """The same schema, in which objects may not have other fields."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and schema.get("type") == "object":
        inner["additionalProperties"] = False
    return inner


def complaints(
    document: dict[str, Any], name: str, value: Any, *, strict: bool = True
) -> list[str]:
    """What a document's schema of this name has to say against a value."""
    components = document["components"]
    if strict:
        components = closed(components)
    root = {"$ref": f"#/components/schemas/{name}", "components": components}
    errors = Draft7Validator(root).iter_errors(value)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


def complaints_about_event(document: dict[str, Any], event: dict[str, Any]) -> list[str]:
    """What an AsyncAPI document has to say against an event."""
    message = document["components"]["messages"].get(event["type"])
    if message is None:
        return [f"no message is called {event['type']}"]
    return complaints(document, message["payload"]["$ref"].rpartition("/")[2], event)


def as_described(event: dict[str, Any]) -> dict[str, Any]:
    """The same event. Raises AssertionError if the reference does not allow a server to send it."""
    errors = [error.message for error in _validators()[event["type"]].iter_errors(event)]
    assert not errors, f"{event} is not as the reference says: {errors}"
    return event


@cache
def _validators() -> dict[str, Draft7Validator]:
    document = asyncapi(Settings())
    components = closed(document["components"])
    return {
        name: Draft7Validator({**components["messages"][name]["payload"], "components": components})
        for name in SERVER_EVENTS
    }
