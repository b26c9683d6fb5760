"""Markdown files as tests read them: headings, links, tables, blocks of code."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
SKIPPED = {"node_modules", "target", "build", "dist"}


def markdown_files() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted(file for file in ROOT.rglob("*.md") if not _is_made(file))


@dataclass(frozen=True)
class Block:
    """A block of code between fences."""

    file: Path
    line: int
    info: str
    """What stands behind the fence: a language, and marks for tests."""
    text: str

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def name(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Table:
    heading: str
    """The section it is in."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Cells as Markdown source."""


def blocks(file: Path) -> list[Block]:
    """Every block of code of a file."""
    return [
        Block(file, (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for token in _tokens(file)
        if token.type == "fence"
    ]


def links(file: Path) -> Iterator[str]:
    """Where its links and pictures lead."""
    for token in _inline(file):
        for child in token.children or ():
            for key in ("href", "src"):
                if value := child.attrGet(key):
                    yield str(value)


def anchors(file: Path) -> set[str]:
    """What can be linked to in a file: its headings, as GitHub names them."""
    found: dict[str, int] = {}
    for title in headings(file):
        anchor = _anchor(title)
        count = found[anchor] = found.get(anchor, -1) + 1
        if count:
            found[f"{anchor}-{count}"] = 0
    return set(found)


def headings(file: Path) -> list[str]:
    """Its headings as Markdown source."""
    tokens = _tokens(file)
    return [
        tokens[place + 1].content
        for place, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def tables(file: Path) -> list[Table]:
    """Every table of a file."""
    found: list[Table] = []
    heading = ""
    rows: list[list[str]] = []
    tokens = _tokens(file)
    for place, token in enumerate(tokens):
        match token.type:
            case "heading_open":
                heading = tokens[place + 1].content
            case "table_open":
                rows = []
            case "tr_open":
                rows.append([])
            case "th_open" | "td_open":
                rows[-1].append(tokens[place + 1].content)
            case "table_close":
                columns, *body = map(tuple, rows)
                found.append(Table(heading, columns, tuple(body)))
    return found


def codes(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def _is_made(file: Path) -> bool:
    parts = file.relative_to(ROOT).parts
    return bool(SKIPPED & set(parts)) or any(part.startswith(".") for part in parts)


def _anchor(title: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").strip().lower()
    kept = (c for c in text if c in " -_" or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


@cache
def _tokens(file: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(file.read_text(encoding="utf-8"))


def _inline(file: Path) -> list[Token]:
    return [token for token in _tokens(file) if token.type == "inline"]
