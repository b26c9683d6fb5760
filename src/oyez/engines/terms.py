"""The terms of a context: names and words the speaker may use, out of a list or out of prose.

A line that consists of short parts for the most (separated by commas, semicolons, brackets or
other marks) is a list, and every short part a term. Any other line is prose. Of prose only words
that look like names, or are long, are terms: it is no use to expect "of" and "the".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_TERMS = 1_000
"""So many terms of a context are used, the first ones."""
MAX_LIST_WORDS = 4
MAX_LIST_WIDE = 12
MAX_TERM_CHARS = 50
"""Most words, characters of a script without spaces, and characters altogether, of a short part."""
LONG_LETTERS = 8
"""Words of prose with so many letters are expected too."""

_LINES = re.compile(r"[\r\n]+")
_PARTS = re.compile(r"""[,;:|/•·…!?¡¿()\[\]{}<>"“”„«»，、；：。！？（）【】「」『』《》،؛؟।\t]+"""
                    r"|(?<!\b[A-Z])(?<!\b[A-Z][a-z])(?<!\b[A-Z][a-z]{2})\.+(?=\s|$)"
                    r"|\s[-–—*]+\s|^\s*[-–—*]+\s")  # fmt: skip
"""Marks; also full stops, but not those of "Dr." and "J."; and dashes between words."""
_QUOTED = re.compile(r"[“\"「『《«„]([^”\"」』》»“]{2,50})[”\"」』》»“]")
_WIDE = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
_WIDE_NAMES = re.compile(r"[ァ-ヴー]{3,}|[A-Za-z][A-Za-z0-9]{2,}")


def terms_of(context: str) -> list[str]:
    """The terms in their order, each once whatever its case, at most MAX_TERMS."""
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
    """Words of prose that look like names, or are long."""
    if _WIDE.search(part):
        yield from _WIDE_NAMES.findall(part)
        return
    for place, raw in enumerate(part.split()):
        word = raw.strip("'’-.")
        if not _has_letters(word):
            continue
        capital = word[0].isupper() and place > 0 and len(word) > 1
        odd = word[1:] != word[1:].lower() or any(char.isdigit() for char in word)
        if capital or odd or len(word) >= LONG_LETTERS:
            yield word


def _has_letters(text: str) -> bool:
    return any(char.isalpha() for char in text)
