"""Words → lines of subtitles: how wide text is, and where it may be broken."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from oyez.files.results import Word

MAX_WIDTH = 42.0
"""Of a line: 42 Latin letters or 16 full-width characters, as broadcasters have it."""
MAX_LINES = 2
_WIDE = MAX_WIDTH / 16
_SENTENCE_ENDS = ".?!…。？！।؟"
_CLAUSE_ENDS = ",;:—，、；：،؛"
_CLOSING = "\"'”’»)]）」』"
_JOINER = "\u200d"


def width(text: str) -> float:
    """How much room text takes, in Latin letters."""
    return sum(map(_char_width, text))


def ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING)[-1:] in tuple(_SENTENCE_ENDS)


def ends_clause(text: str) -> bool:
    return text.rstrip(_CLOSING)[-1:] in tuple(_CLAUSE_ENDS)


def joined(words: Sequence[Word]) -> str:
    return " ".join("".join(word.text for word in words).split())


def lines(words: Sequence[Word]) -> tuple[str, ...]:
    """One line if that is enough, else two of about the same width, rather broken after a mark.
    More only if the words do not fit into two: see `fits`."""
    whole = joined(words)
    if width(whole) <= MAX_WIDTH:
        return (whole,)
    breaks = range(1, len(words))
    best = min(breaks, key=lambda at: _ugliness(words, at), default=0)
    first, second = joined(words[:best]), joined(words[best:])
    if not best or max(width(first), width(second)) > MAX_WIDTH:
        return _filled(words)
    return first, second


def fits(words: Sequence[Word]) -> bool:
    """Whether these words fit into one subtitle."""
    laid_out = lines(words)
    return len(laid_out) <= MAX_LINES and max(map(width, laid_out)) <= MAX_WIDTH


def narrow(words: Sequence[Word]) -> list[Word]:
    """The same words, those wider than a line in parts. No part ends inside a character as
    readers see it."""
    return [part for word in words for part in _parts(word)]


def graphemes(text: str) -> list[str]:
    """Characters as readers see them: letters with their marks, joined signs."""
    found: list[str] = []
    for character in text:
        if found and (_is_attached(character) or found[-1].endswith(_JOINER)):
            found[-1] += character
        else:
            found.append(character)
    return found


def _char_width(character: str) -> float:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else 1.0


def _is_attached(character: str) -> bool:
    is_mark = unicodedata.category(character)[0] == "M" or character == "ำ"
    is_tone = 0x1F3FB <= ord(character) <= 0x1F3FF
    is_jamo = 0x1160 <= ord(character) <= 0x11FF
    return is_mark or is_tone or is_jamo or character == _JOINER


def _ugliness(words: Sequence[Word], at: int) -> float:
    first, second = width(joined(words[:at])), width(joined(words[at:]))
    too_wide = max(0.0, max(first, second) - MAX_WIDTH)
    after = joined(words[:at])
    bonus = 12.0 if ends_sentence(after) else 8.0 if ends_clause(after) else 0.0
    return abs(first - second) + 100 * too_wide - bonus


def _filled(words: Sequence[Word]) -> tuple[str, ...]:
    """As many words in each line as it takes."""
    rows: list[list[Word]] = [[]]
    for word in words:
        if rows[-1] and width(joined([*rows[-1], word])) > MAX_WIDTH:
            rows.append([])
        rows[-1].append(word)
    return tuple(joined(row) for row in rows)


def _parts(word: Word) -> list[Word]:
    if width(word.text.strip()) <= MAX_WIDTH:
        return [word]
    texts = [""]
    for grapheme in graphemes(word.text):
        if width((texts[-1] + grapheme).strip()) > MAX_WIDTH:
            texts.append("")
        texts[-1] += grapheme
    step_s = (word.end_s - word.start_s) / len(texts)
    return [
        replace(
            word,
            text=text,
            start_s=word.start_s + index * step_s,
            end_s=word.start_s + (index + 1) * step_s,
        )
        for index, text in enumerate(texts)
    ]
