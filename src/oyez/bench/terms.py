"""Terms to be given as context, taken from what was said in a recording.

A term is what a client would put on a list: in scripts with spaces a longer word, or one with a
capital inside a sentence; in scripts without, a katakana or Latin word, or what stands between
punctuation and the commonest little words. What is said in many recordings of a language is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping

from oyez.engines.base import SPACELESS

LONG_LETTERS = 8
LONG_LETTERS_OF = {"ko": 3, "hi": 5, "ar": 5}
"""In scripts that need fewer characters for a word."""
NAME_LETTERS = 4
MAX_SHARE = 0.2
"""Of the recordings of a language, in which a term is said at most."""
MAX_TERMS = 12
"""Of one recording: the longest."""

_MARKS = "\"'’.,;:!?…()।،؟«»“”„"
_WIDE = re.compile(r"[ァ-ヴー]{3,}|[A-Za-z]{4,}|[\u4e00-\u9fff]{3,6}|[\u0e00-\u0e7f]{6,20}")
_LITTLE = re.compile(
    "[的了是在和就都而及与着或之也不有这那我你他她它们一个说要会能为对到把被让从向]"
)


def rare_terms(references: Mapping[str, str], language: str) -> dict[str, list[str]]:
    """Terms of each reference (by any key), without what many of them share."""
    found = {key: terms_of(text, language) for key, text in references.items()}
    counts = Counter(term.casefold() for terms in found.values() for term in terms)
    most = max(1.0, MAX_SHARE * len(references))
    return {
        key: [term for term in terms if counts[term.casefold()] <= most]
        for key, terms in found.items()
    }


def terms_of(reference: str, language: str) -> list[str]:
    """The terms of one text, in order, each once whatever its case."""
    text = unicodedata.normalize("NFC", reference)
    if language == "ar":
        text = "".join(char for char in text if unicodedata.category(char) != "Mn")
    found: dict[str, str] = {}
    for term in _wide(text, language) if language in SPACELESS else _spaced(text, language):
        found.setdefault(term.casefold(), term)
    longest = set(sorted(found.values(), key=len, reverse=True)[:MAX_TERMS])
    return [term for term in found.values() if term in longest]


def _spaced(text: str, language: str) -> Iterator[str]:
    least = LONG_LETTERS_OF.get(language, LONG_LETTERS)
    starts_sentence = True
    for raw in text.split():
        word = raw.strip(_MARKS)
        named = word[:1].isupper() and len(word) >= NAME_LETTERS and not starts_sentence
        if word.replace("-", "").replace("'", "").isdigit():
            continue
        if len(word) >= least or named:
            yield word
        starts_sentence = raw[-1] in ".!?:;…"


def _wide(text: str, language: str) -> list[str]:
    found: list[str] = _WIDE.findall(_LITTLE.sub(" ", text) if language in ("zh", "yue") else text)
    return found
