"""What the page says of the socket, section by section."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from oyez.engines.base import LANGUAGES
from oyez.server.reference.html import Child, Html, breakable, join, prose, tag
from oyez.server.reference.rows import Row, rows

Document = Mapping[str, Any]


def start_section(asyncapi: Document) -> Html:
    """Where to connect and with what."""
    channel = next(iter(asyncapi["channels"].values()))
    server = next(iter(asyncapi["servers"].values()))
    model = channel["bindings"]["ws"]["query"]["properties"]["model"]
    host = server["host"]
    for name, variable in server.get("variables", {}).items():
        host = host.replace(f"{{{name}}}", variable["default"])
    address = f"{server['protocol']}://{host}{channel['address']}?model={model['examples'][0]}"
    security = asyncapi["components"]["securitySchemes"].values()
    return section(
        "start",
        "Connect",
        prose(asyncapi["info"]["description"]),
        code(address, "Address", id="address"),
        tag("ul", *(tag("li", prose(scheme["description"])) for scheme in security)),
        tag("p", "Models: ", *listed(model["examples"]), prose(model["description"])),
    )


def course_section(asyncapi: Document) -> Html:
    """What follows what, in either mode."""
    channel = next(iter(asyncapi["channels"].values()))
    sent = event_names(asyncapi, "receive")
    return section(
        "course",
        "The course of a session",
        prose(
            "With one turn. Every `item_id` ends in one `…completed` or `…failed`, in the order of "
            "`…committed`; the next turn may begin before. `…append` and `…text` come many times."
        ),
        *(
            join(tag("h4", mode), tag("ol", *(_step(name, name in sent) for name in course)))
            for mode, course in channel["x-courses"].items()
        ),
    )


def _step(name: str, is_sent: bool) -> Html:
    who = "You send " if is_sent else "You get "
    return tag("li", tag("span", who, class_="soft"), tag("a", breakable(name), href=f"#{name}"))


def event_names(asyncapi: Document, action: str) -> list[str]:
    """The types of all events of one direction, in order."""
    operations = asyncapi["operations"].values()
    messages = [each["messages"] for each in operations if each["action"] == action]
    return [str(refer["$ref"]).rpartition("/")[2] for (refer,) in messages]


def event_sections(asyncapi: Document, action: str) -> Iterable[Html]:
    """One section for each event of one direction."""
    components = asyncapi["components"]
    for name in event_names(asyncapi, action):
        message = components["messages"][name]
        schema = {"$ref": message["payload"]["$ref"]}
        examples = [json.dumps(each["payload"], indent=2) for each in message["examples"]]
        yield section(
            name,
            tag("code", breakable(name)),
            prose(message["summary"]),
            tag("p", prose(message["description"])) if "description" in message else None,
            _answers(asyncapi, f"{action}.{name}"),
            fields_list(rows(schema, components["schemas"])),
            *(code(example, f"Example of {name}") for example in examples),
        )


def socket_sections(asyncapi: Document) -> Iterable[Html]:
    """What concerns all events: codes, limits, languages."""
    channel = next(iter(asyncapi["channels"].values()))
    yield section(
        "codes",
        "Errors and closing",
        prose("`error.type` says whose fault it is, `error.code` what it is, `param` where."),
        definitions("Types of errors", channel["x-error-types"]),
        definitions("Codes of errors", channel["x-error-codes"]),
        definitions("Close codes", channel["x-close-codes"]),
        tag("p", "Ignored, because programs for sibling services send them: "),
        tag("p", *listed(channel["x-ignored-events"])),
    )
    limits = {
        f"{name} = {limit['value']:,}": limit["description"]
        for name, limit in channel["x-limits"].items()
    }
    text = prose("Settings of this server that a client can run into.")
    yield section("limits", "Limits", text, definitions("Name and value", limits))
    yield section(
        "languages",
        "Languages",
        prose("What `language` may be. Left out: detected for each stretch of speech."),
        tag("p", *listed(LANGUAGES)),
    )


def section(anchor: str, title: Child, lead: Html, *content: Child) -> Html:
    """A titled part of the page that can be linked to."""
    link = tag("a", "#", class_="anchor", href=f"#{anchor}", aria_label="Link to this section")
    return tag(
        "section", tag("h3", title, link), tag("p", lead, class_="lead"), *content, id=anchor
    )


def fields_list(fields: Iterable[Row]) -> Html | None:
    """One entry for each field; nothing where there is none."""
    entries = [
        tag(
            "div",
            tag("dt", _path(row.path), tag("span", _kind(row), class_="soft")),
            tag("dd", prose(row.description), " " if row.description else None, _allowed(row)),
        )
        for row in fields
    ]
    return tag("dl", *entries, class_="fields") if entries else None


def code(text: str, label: str, **attributes: str) -> Html:
    """Text to copy. attributes: of the text."""
    return tag("pre", tag("code", text, **attributes), tabindex="0", aria_label=label)


def definitions(title: str, meanings: Mapping[str, str]) -> Html:
    """Names and what they mean."""
    entries = [
        tag("div", tag("dt", tag("code", name)), tag("dd", prose(meaning)))
        for name, meaning in meanings.items()
    ]
    return join(tag("h4", title), tag("dl", *entries))


def listed(names: Iterable[str]) -> list[Child]:
    """Names as code, with spaces between."""
    return [part for name in names for part in (tag("code", name), " ")]


def _path(path: str) -> Html:
    """A dotted name: what it is inside of is less important, and lines may break at the dots."""
    outer, dot, name = path.rpartition(".")
    shown = tag("span", breakable(outer + dot), class_="soft") if dot else None
    return tag("code", shown, breakable(name))


def _kind(row: Row) -> str:
    return ", ".join([row.kind, *row.bounds, *([] if row.required else ["optional"])])


def _allowed(row: Row) -> Html | None:
    if len(row.allowed) < 2:
        return join("Always ", *listed(row.allowed)) if row.allowed else None
    if set(LANGUAGES) <= set(row.allowed):
        others = [value for value in row.allowed if value not in LANGUAGES]
        link = tag("a", "language codes", href="#languages")
        return join("One of the ", link, *(["; also ", *listed(others)] if others else []))
    return join("One of ", *listed(row.allowed))


def _answers(asyncapi: Document, operation: str) -> Html | None:
    reply = asyncapi["operations"][operation].get("reply")
    if reply is None:
        return None
    names = [str(refer["$ref"]).rpartition("/")[2] for refer in reply["messages"]]
    links = [part for name in names for part in (tag("a", tag("code", name), href=f"#{name}"), " ")]
    return tag("p", "Answered by: ", *links)
