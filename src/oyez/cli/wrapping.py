"""Text cut into lines of a terminal, where characters take no, one or two columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from rich.cells import cell_len, get_character_cell_size

OPENING = frozenset("([{“‘«「『（《〈【")
"""Not left at the end of a line …"""
CLOSING = frozenset(")]}”’»」』）》〉】,.;:!?…，。、；：！？·ー～%")
"""… and not put at the beginning of one, where there is a choice."""


def printable(text: str) -> str:
    """`text` without what a terminal would obey: control characters become spaces."""
    return "".join(" " if unicodedata.category(char) == "Cc" else char for char in text)


def wrap(text: str, columns: int) -> Iterator[tuple[int, int]]:
    """The lines of `text` as (start, stop), each at most `columns` (2 or more) wide.

    Lines break at spaces and between wide characters, else where the line is full.
    """
    columns = max(2, columns)
    start, width, breakable = 0, 0, 0
    for at, char in enumerate(text):
        size = get_character_cell_size(char)
        if at > start and _may_break(text[at - 1], char):
            breakable = at
        if width + size > columns and not char.isspace():
            stop = breakable if breakable > start else at
            yield start, _without_spaces(text, start, stop)
            start, breakable = stop, stop
            width = cell_len(text[start:at])
        if at == start and char.isspace():
            start, breakable = at + 1, at + 1
            continue
        width += size
    if start < len(text):
        yield start, _without_spaces(text, start, len(text))


def _without_spaces(text: str, start: int, stop: int) -> int:
    return start + len(text[start:stop].rstrip())


def _may_break(before: str, after: str) -> bool:
    if before.isspace():
        return not after.isspace()
    if after in CLOSING or before in OPENING:
        return False
    if not get_character_cell_size(after):
        return False
    return get_character_cell_size(before) == 2 or get_character_cell_size(after) == 2
