"""JSON Schemas (draft 7) of every event, made from the types the server works with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from oyez.protocol.client_events import ClientEvent
from oyez.protocol.limits import SessionLimits
from oyez.protocol.qwen import schema as session_schema
from oyez.protocol.server_events import ServerEvent
from oyez.server.reference.docstrings import fields_of, text_of

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/{name}"
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def server_schemas(events: Iterable[type[ServerEvent]]) -> dict[str, Schema]:
    """Event classes and what they are made of, by class name. Every field is always sent, but
    those of types that leave out what was not asked for."""
    schemas = schemas_of(events)
    for cls, schema in schemas.items():
        for field in schema["properties"].values():
            field.pop("default", None)
        if not cls.__struct_config__.omit_defaults:
            schema["required"] = list(schema["properties"])
    return {cls.__name__: schema for cls, schema in schemas.items()}


def client_schemas(
    events: Mapping[str, type[ClientEvent]], limits: SessionLimits
) -> dict[str, Schema]:
    """Event classes and what they are made of, by class name: what clients should send."""
    schemas = {cls.__name__: schema for cls, schema in schemas_of(events.values()).items()}
    for name, cls in events.items():
        schema = schemas[cls.__name__]
        own = schema["properties"]
        own["event_id"] = {"type": "string", "description": "Comes back in the `error` it causes."}
        schema["properties"] = {"type": {"const": name}, **own}
        schema["required"] = ["type", *(key for key in own if key != "event_id")]
    patch = schemas_of([session_schema.SessionPatch])
    schemas |= {cls.__name__: schema for cls, schema in patch.items()}
    _bound(schemas, limits)
    return schemas


def schemas_of(types: Iterable[Any]) -> dict[Any, Schema]:
    """These types and all they refer to, with their docstrings."""
    types = list(types)
    _, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    by_name = _classes(types)
    return {by_name[name]: _described(by_name[name], schema) for name, schema in components.items()}


def _classes(types: Iterable[Any]) -> dict[str, Any]:
    """Every class the types are made of, by name."""
    found: dict[str, Any] = {}
    waiting = [msgspec.inspect.type_info(cls) for cls in types]
    while waiting:
        info: Any = waiting.pop()
        cls = getattr(info, "cls", None)
        if cls is not None and cls.__name__ in found:
            continue
        if isinstance(info, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
            found[info.cls.__name__] = info.cls
            waiting += [field.type for field in info.fields]
        waiting += getattr(info, "types", ())
        waiting += [info.item_type] if hasattr(info, "item_type") else []
        waiting += [info.type] if isinstance(info, msgspec.inspect.Metadata) else []
    return found


def _described(cls: type, schema: Schema) -> Schema:
    del schema["title"]  # the name says it
    schema["description"] = text_of(cls)
    texts = fields_of(cls)
    for name, field in schema["properties"].items():
        if name not in texts:
            continue
        if "$ref" in field:  # draft 7 ignores what stands beside a reference
            schema["properties"][name] = field = {"allOf": [dict(field)]}
        field["description"] = texts[name]
    return schema


def _bound(schemas: dict[str, Schema], limits: SessionLimits) -> None:
    """What depends on settings."""
    audio = schemas["AudioAppend"]["properties"]["audio"]
    audio |= {"pattern": BASE64, "maxLength": -(-limits.max_append_bytes // 3) * 4}
    update = schemas["SessionUpdate"]["properties"]["session"]
    update.clear()
    update["description"] = "What is to change."
    update["allOf"] = [{"$ref": REFERENCE.format(name="SessionPatch")}]
    for owner, key in (
        ("CorpusPatch", "text"),
        ("TranscriptionPatch", "corpus_text"),
        ("SessionPatch", "corpus_text"),
    ):
        for choice in schemas[owner]["properties"][key]["anyOf"]:
            if choice["type"] == "string":
                choice["maxLength"] = limits.max_corpus_chars
