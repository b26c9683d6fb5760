"""The terms of a recording's reference, and how many of them were recognised.

A term is what a client would put on a list. In scripts with spaces it is a longer word, or one with
a capital inside a sentence. In scripts without spaces it is a katakana or Latin word, or the text
between punctuation and the commonest little words. A word of many recordings is not a term.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import jiwer

from oyez.bench.scoring import BY_CHARACTER, normalise
from oyez.engines.base import SPACELESS

TERM_LETTERS = 8
TERM_LETTERS_OF = {"ko": 3, "hi": 5, "ar": 5}
"""The letters of a term in scripts that need fewer characters for a word."""
NAME_LETTERS = 4
MAX_SHARE = 0.2
"""The largest share of a language's recordings in which a term is said."""
MAX_TERMS = 12
"""The most terms of one recording; the longest are kept."""

_MARKS = "\"'’.,;:!?…()।،؟«»“”„"
_WIDE = re.compile(r"[ァ-ヴー]{3,}|[A-Za-z]{4,}|[\u4e00-\u9fff]{3,6}|[\u0e00-\u0e7f]{6,20}")
_LITTLE = re.compile(
    "[的了是在和就都而及与着或之也不有这那我你他她它们一个说要会能为对到把被让从向]"
)


def rare_terms(references: Mapping[str, str], language: str) -> dict[str, list[str]]:
    """Return the terms of each reference (by any key), without what many of them share."""
    found = {key: spoken_terms(text, language) for key, text in references.items()}
    counts = Counter(term.casefold() for terms in found.values() for term in terms)
    most = max(1.0, MAX_SHARE * len(references))
    return {
        key: [term for term in terms if counts[term.casefold()] <= most]
        for key, terms in found.items()
    }


def spoken_terms(reference: str, language: str) -> list[str]:
    """Return the terms of one reference in order, each once whatever its case."""
    text = unicodedata.normalize("NFC", reference)
    if language == "ar":
        text = "".join(char for char in text if unicodedata.category(char) != "Mn")
    found: dict[str, str] = {}
    for term in _wide(text, language) if language in SPACELESS else _spaced(text, language):
        found.setdefault(term.casefold(), term)
    longest = set(sorted(found.values(), key=len, reverse=True)[:MAX_TERMS])
    return [term for term in found.values() if term in longest]


def _spaced(text: str, language: str) -> Iterator[str]:
    least = TERM_LETTERS_OF.get(language, TERM_LETTERS)
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


@dataclass(frozen=True, slots=True)
class TermScore:
    """Counts. A unit is a word, or a character in the languages of BY_CHARACTER."""

    terms: int = 0
    """How often a term was said."""
    recalled: int = 0
    """How often a term was recognised as a whole."""
    others: int = 0
    """The units of the reference that are not part of a term."""
    other_errors: int = 0
    """The errors in these, and the units inserted anywhere."""

    def __add__(self, more: TermScore) -> TermScore:
        return TermScore(
            self.terms + more.terms,
            self.recalled + more.recalled,
            self.others + more.others,
            self.other_errors + more.other_errors,
        )


def score_terms(reference: str, hypothesis: str, language: str, terms: Iterable[str]) -> TermScore:
    """Compare two texts in one of LANGUAGES. A reference without words has no units."""
    said, recognised = _units(reference, language), _units(hypothesis, language)
    if not said:
        return TermScore()
    wrong = [False] * len(said)
    errors = 0
    for chunk in jiwer.process_words(" ".join(said), " ".join(recognised)).alignments[0]:
        if chunk.type == "equal":
            continue
        places = range(chunk.ref_start_idx, chunk.ref_end_idx)
        for place in places:
            wrong[place] = True
        errors += len(places) or chunk.hyp_end_idx - chunk.hyp_start_idx
    found = [
        range(start, start + len(term))
        for term in {tuple(_units(term, language)) for term in terms}
        for start in _places(term, said)
    ]
    in_terms = {place for places in found for place in places}
    return TermScore(
        terms=len(found),
        recalled=sum(not any(wrong[place] for place in places) for places in found),
        others=len(said) - len(in_terms),
        other_errors=errors - sum(wrong[place] for place in in_terms),
    )


def written(terms: Iterable[str], text: str, language: str) -> set[str]:
    """Return which of the terms are in a text."""
    units = _units(text, language)
    return {term for term in terms if _places(_units(term, language), units)}


def _units(text: str, language: str) -> list[str]:
    plain = normalise(text, language)
    return list(plain.replace(" ", "")) if language in BY_CHARACTER else plain.split()


def _places(term: Sequence[str], units: Sequence[str]) -> list[int]:
    """Return where `term` begins in `units`; nothing if the term is empty."""
    size = len(term)
    if not size:
        return []
    return [i for i in range(len(units) - size + 1) if list(units[i : i + size]) == list(term)]
