"""HTML in which every text is escaped: elements are made by `tag`, never pasted together."""

from __future__ import annotations

import re
from html import escape

VOID = {"meta", "link", "br", "hr", "img", "wbr"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None


def tag(name: str, /, *children: Child, **attributes: str | bool) -> Html:
    """One element. A str child is text and is escaped, Html is not, None is left out. An
    attribute's underscores become hyphens (a trailing one is dropped); False leaves it out."""
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Elements and texts, one behind the other."""
    return Html("".join(_text(child) for child in children if child is not None))


def prose(text: str) -> Html:
    """Text in which `…` is code, as docstrings and setting descriptions have it."""
    parts = re.split(r"`([^`]+)`", text)
    return join(*(tag("code", part) if odd % 2 else part for odd, part in enumerate(parts)))


def breakable(name: str) -> Html:
    """A long name that may be broken behind its dots, slashes and underscores."""
    parts = re.split(r"(?<=[./_])", name)
    return join(*(join(part, tag("wbr")) for part in parts))


def _text(child: str) -> str:
    return child if isinstance(child, Html) else escape(child, quote=False)


def _attribute(key: str, value: str | bool) -> str:
    if value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
