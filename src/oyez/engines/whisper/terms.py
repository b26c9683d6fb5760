"""Extracts terms from a request's context: names and words that the speaker may use.

A line that consists mostly of short parts (separated by commas, semicolons, brackets or other
marks) is a list, and each short part is a term. Any other line is prose. In prose, only long words
and words that look like names are terms, because biasing towards common words such as "of" is
useless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_TERMS = 1_000
"""Only the first terms of a context are used, up to this number."""
MAX_LIST_WORDS = 4
"""Most words of a short part."""
MAX_LIST_WIDE = 12
"""Most characters of scripts without spaces in a short part."""
MAX_TERM_CHARS = 50
"""Most characters of a short part."""
LONG_LETTERS = 8
"""Words of prose with at least this many letters are terms."""

_LINES = re.compile(r"[\r\n]+")
_PARTS = re.compile(
    r"""[,;:|/•·…!?¡¿()\[\]{}<>"“”„«»，、；：。！？（）【】「」『』《》،؛؟।\t]+"""
    r"|(?<!\b[A-Z])(?<!\b[A-Z][a-z])(?<!\b[A-Z][a-z]{2})\.+(?=\s|$)"
    r"|\s[-–—*]+\s|^\s*[-–—*]+\s"
)
"""Separators of parts: marks, full stops except those of abbreviations such as "Dr." and "J.", and
dashes between words."""
_QUOTED = re.compile(r"[“\"「『《«„]([^”\"」』》»“]{2,50})[”\"」』》»“]")
_WIDE = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
_WIDE_NAMES = re.compile(r"[ァ-ヴー]{3,}|[A-Za-z][A-Za-z0-9]{2,}")


def terms_of(context: str) -> list[str]:
    """Return the terms of `context` in order, at most MAX_TERMS. Terms that differ only in case are
    returned once."""
    found: dict[str, str] = {}
    for line in _LINES.split(context):
        for term in _terms_of_line(line):
            found.setdefault(term.casefold(), term)
            if len(found) == MAX_TERMS:
                return list(found.values())
    return list(found.values())


def _terms_of_line(line: str) -> Iterator[str]:
    parts = [" ".join(part.split()) for part in _PARTS.split(line)]
    in_long_parts = sum(len(part) for part in parts if _is_long(part))
    is_prose = 2 * in_long_parts > sum(len(part) for part in parts)
    if is_prose:
        yield from (quoted for quoted in _QUOTED.findall(line) if not _is_long(quoted))
    for part in parts:
        if is_prose or _is_long(part):
            yield from _names(part)
        elif _has_letters(part):
            yield part


def _is_long(part: str) -> bool:
    words, wide = len(part.split()), len(_WIDE.findall(part))
    return words > MAX_LIST_WORDS or wide > MAX_LIST_WIDE or len(part) > MAX_TERM_CHARS


def _names(part: str) -> Iterator[str]:
    """Yield the words of prose that are long or look like names."""
    if _WIDE.search(part):
        yield from _WIDE_NAMES.findall(part)
        return
    for index, raw in enumerate(part.split()):
        word = raw.strip("'’-.")
        if not _has_letters(word):
            continue
        capital = word[0].isupper() and index > 0 and len(word) > 1
        mixed = word[1:] != word[1:].lower() or any(char.isdigit() for char in word)
        if capital or mixed or len(word) >= LONG_LETTERS:
            yield word


def _has_letters(text: str) -> bool:
    return any(char.isalpha() for char in text)
