"""HTTP operations: a route together with its description, and answers in JSON.

`server/reference` makes the OpenAPI document from these descriptions. What describes a type and the
ways to send a key is also in its other document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

Description = dict[str, Any]
"""A part of an OpenAPI document. In place of a reference to a schema it holds the type itself, and
in place of an example the object itself."""

JSON = "application/json"
TEXT = "text/plain"
NAME_IN_PATH: Description = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
}
REFERENCE = "#/components/schemas/{name}"
BEARER: Description = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer KEY`; the scheme in any case. A server that needs no "
    "keys accepts requests without one, except those of web pages of other origins.",
}
API_KEY_HEADER: Description = {
    "name": "X-API-Key",
    "in": "header",
    "description": "`X-API-Key: KEY` does the same.",
}
"""The second way to send a key. The two documents give it types with different names."""
BEARER_KEY: tuple[dict[str, list[str]], ...] = ({"bearer": []},)
"""The operation needs a key in the header `Authorization`."""
API_KEY: tuple[dict[str, list[str]], ...] = ({}, *BEARER_KEY, {"apiKey": []})
"""The operation takes an API key in either header, or none where the server needs none."""


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One method of one path. In JSON it is as OpenAPI describes it, with path and method added."""

    path: str
    """The path as aiohttp's router reads it, with `{name}` for a part that varies."""
    method: Literal["get", "post"] = "get"
    name: str = msgspec.field(name="operationId")
    """A name that no other operation has."""
    summary: str
    description: str = ""
    parameters: tuple[Description, ...] = ()
    request_body: Description | None = msgspec.field(name="requestBody", default=None)
    answers: Mapping[int, Description] = msgspec.field(name="responses")
    """The possible answers by HTTP status."""
    security: tuple[dict[str, list[str]], ...] = ()
    """The security schemes of which a request needs one; empty if it needs none."""
    is_on_page: bool = msgspec.field(name="x-page", default=True)
    """Whether the page at `/docs` shows this operation."""

    def route(self, handler: Handler) -> web.RouteDef:
        """Return the route that lets `handler` serve this operation."""
        add = web.post if self.method == "post" else web.get
        return add(self.path, handler)


def json_answer(
    description: str, body: type[msgspec.Struct] | msgspec.Struct | None
) -> Description:
    """Describe an answer in JSON. `body` is its type, or an example of it."""
    content: Description = {"schema": body or {"type": "object"}}
    if isinstance(body, msgspec.Struct):
        content = {"schema": type(body), "example": body}
    return {"description": description, "content": {JSON: content}}


def text_answer(description: str, media_type: str = TEXT) -> Description:
    """Describe an answer that is a text, or a file, of this media type."""
    content = {media_type: {"schema": {"type": "string"}}}
    return {"description": description, "content": content}


def json_response(
    body: msgspec.Struct, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Encode `body` as the JSON of an HTTP response."""
    try:
        text = msgspec.json.encode(body)
    except UnicodeEncodeError:  # it repeats bytes of a client that are not UTF-8
        text = json.dumps(msgspec.to_builtins(body), ensure_ascii=False).encode("utf-8", "replace")
    return web.Response(
        body=text, status=status, headers=headers, content_type=JSON, charset="utf-8"
    )


def reference_to(cls: type) -> Description:
    """Return the reference by which documents refer to the JSON Schema of `cls`."""
    return {"$ref": REFERENCE.format(name=cls.__name__)}


def schemas_of(types: Iterable[type]) -> dict[str, Description]:
    """Make the JSON Schemas of these types and of all types in them, by class name."""
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    for schema in schemas.values():
        del schema["title"]  # it repeats the name
        schema["description"] = " ".join(schema.get("description", "").split())
    return schemas
