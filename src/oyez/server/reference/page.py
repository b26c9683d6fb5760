"""`/docs`: the reference as a page for people and as documents for programs. It needs no key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from oyez.engines.base import LANGUAGES
from oyez.server.reference.asyncapi import asyncapi
from oyez.server.reference.openapi import DOCUMENTS, openapi
from oyez.server.web.pages import StaticFile
from oyez.settings import Settings

Document = Mapping[str, Any]

STATIC = Path(__file__).parent / "static"
SHARED = files("oyez.web") / "static"
"""The files that this page shares with the page at `/`."""
FILES = {
    **dict.fromkeys(("docs.css", "docs.js"), STATIC),
    **dict.fromkeys(("theme.css", "theme.js", "icon.svg"), SHARED),
}
"""The files that the page loads, and their folders."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def reference_routes(settings: Settings) -> list[web.RouteDef]:
    """Return the routes of `/docs`. This makes the documents: call it before the server listens."""
    served = reference_files(settings)

    async def handle(request: web.Request) -> web.Response:
        return served[request.path].answer(request)

    return [operation.route(handle) for operation in DOCUMENTS]


@lru_cache(maxsize=4)
def reference_files(settings: Settings) -> Mapping[str, StaticFile]:
    """Make every file of `/docs`, by path, with the media type that the OpenAPI document names.

    The files are the same wherever the server is reached, so that a request costs no work. This
    takes about 0.1 s: do not call it while sessions run.
    """
    socket, http = asyncapi(settings), openapi(settings)
    made = {
        "/docs": render(socket, http).encode(),
        "/docs/openapi.json": _json(http),
        "/docs/asyncapi.json": _json(socket),
        **{f"/docs/{name}": (folder / name).read_bytes() for name, folder in FILES.items()},
    }
    return {
        each.path: StaticFile(made[each.path], next(iter(each.answers[200]["content"])), HEADERS)
        for each in DOCUMENTS
    }


def render(asyncapi: Document, openapi: Document) -> str:
    """Make the page from the two documents and nothing else. All text in them is escaped."""
    environment = Environment(
        loader=FileSystemLoader(STATIC), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"prose": prose, "breakable": breakable}
    environment.filters |= {"as_text": _as_text, "path_anchor": _path_anchor}
    (channel,) = asyncapi["channels"].values()
    events = [key.partition(".") for key in asyncapi["operations"]]
    return environment.get_template("docs.html.jinja").render(
        asyncapi=asyncapi,
        openapi=openapi,
        channel=channel,
        address=_address(asyncapi),
        client_events=[name for action, _, name in events if action == "receive"],
        server_events=[name for action, _, name in events if action == "send"],
        paths={
            path: methods
            for path, methods in openapi["paths"].items()
            if any(operation.get("x-page", True) for operation in methods.values())
        },
        languages=LANGUAGES,
        rows=rows,
        parameters=_parameters,
    )


def prose(text: str) -> Markup:
    """Escape `text`, and mark as code what stands between backquotes."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if position % 2 else part
        for position, part in enumerate(parts)
    )


def breakable(name: str) -> Markup:
    """Escape a long name, and let lines break behind its dots, slashes and underscores."""
    return Markup("").join(escape(part) + Markup("<wbr>") for part in re.split(r"(?<=[./_])", name))


def _address(asyncapi: Document) -> str:
    """The URL at which a client opens a session; scripts replace the host by the page's own."""
    (channel,), (server,) = asyncapi["channels"].values(), asyncapi["servers"].values()
    host = server["host"]
    for name, variable in server.get("variables", {}).items():
        host = host.replace(f"{{{name}}}", variable["default"])
    model = channel["bindings"]["ws"]["query"]["properties"]["model"]["examples"][0]
    return f"{server['protocol']}://{host}{channel['address']}?model={model}"


def _path_anchor(path: str) -> str:
    return "http" + re.sub("[^a-z0-9]+", "-", path.lower()).rstrip("-")


def _parameters(operation: Document, schemas: Document) -> Iterator[Row]:
    """The parameters of an operation and the fields of its body."""
    for parameter in operation.get("parameters", ()):
        described = {"description": parameter.get("description", ""), **parameter["schema"]}
        yield from rows({"properties": {parameter["name"]: described}}, schemas)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from rows(content["schema"], schemas)


def _as_text(example: object) -> str:
    if isinstance(example, str):
        return example
    return json.dumps(example, indent=2, ensure_ascii=False)


def _json(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


class Row(NamedTuple):
    """One field of a schema, for a table that people read."""

    path: str
    """The dotted path, as `param` of an `error` has it."""
    kind: str
    """The type, in words."""
    bounds: tuple[str, ...]
    """The other conditions of the value, and its default."""
    required: bool
    description: str
    allowed: tuple[str, ...]
    """The values that are allowed; empty if they are not listed."""


def rows(schema: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str = "") -> Iterator[Row]:
    """Yield the fields of an object, and after each field those of the objects in it.

    `schemas` holds the schemas that references name.
    """
    whole = _resolved(schema, schemas)
    for name, field in whole.get("properties", {}).items():
        choices = [_resolved(each, schemas) for each in field.get("anyOf", [field])]
        yield Row(
            path=prefix + name,
            kind=" or ".join(dict.fromkeys(_kind(each, schemas) for each in choices)),
            bounds=tuple(bound for each in choices for bound in _bounds(each)),
            required=name in whole.get("required", ()),
            description=field.get("description") or "",
            allowed=tuple(value for each in choices for value in _values(each)),
        )
        for each in choices:
            inner = each.get("items", each)
            yield from rows(inner, schemas, f"{prefix}{name}{'[]' if 'items' in each else ''}.")


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    if "allOf" in schema:
        (schema,) = schema["allOf"]
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return schema


def _kind(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    kind: str = schema.get("type", "string" if _values(schema) else "anything")
    if kind == "array" and "items" in schema:
        return f"array of {_kind(_resolved(schema['items'], schemas), schemas)}s"
    return kind


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    if "minimum" in schema and "maximum" in schema:
        yield f"from {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']:,} characters"
    if isinstance(schema.get("default"), int | float) and len(_values(schema)) != 1:
        yield f"default {schema['default']}"


def _values(schema: Mapping[str, Any]) -> list[str]:
    values = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return ['""' if value == "" else str(value) for value in values]
