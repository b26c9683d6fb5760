"""How many terms were recognised, and what became of the other words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jiwer

from oyez.bench.scoring import BY_CHARACTER, normalise


@dataclass(frozen=True, slots=True)
class TermScore:
    """Counts; units are words, or characters in BY_CHARACTER languages."""

    terms: int = 0
    """Times that a term was said."""
    heard: int = 0
    """Times that it was recognised, whole."""
    others: int = 0
    """Units of the reference that are not part of a term."""
    other_errors: int = 0
    """Errors in those, and units inserted anywhere."""

    def __add__(self, more: TermScore) -> TermScore:
        return TermScore(
            self.terms + more.terms,
            self.heard + more.heard,
            self.others + more.others,
            self.other_errors + more.other_errors,
        )


def score_terms(reference: str, hypothesis: str, language: str, terms: Iterable[str]) -> TermScore:
    """Compare two texts of one of LANGUAGES. A reference without words scores nothing."""
    said, heard = units_of(reference, language), units_of(hypothesis, language)
    if not said:
        return TermScore()
    wrong = [False] * len(said)
    errors = 0
    for chunk in jiwer.process_words(" ".join(said), " ".join(heard)).alignments[0]:
        if chunk.type == "equal":
            continue
        places = range(chunk.ref_start_idx, chunk.ref_end_idx)
        for place in places:
            wrong[place] = True
        errors += len(places) or chunk.hyp_end_idx - chunk.hyp_start_idx
    found = [
        range(start, start + len(term))
        for term in {tuple(units_of(term, language)) for term in terms}
        for start in places_of(term, said)
    ]
    in_terms = {place for places in found for place in places}
    return TermScore(
        terms=len(found),
        heard=sum(not any(wrong[place] for place in places) for places in found),
        others=len(said) - len(in_terms),
        other_errors=errors - sum(wrong[place] for place in in_terms),
    )


def written(terms: Iterable[str], text: str, language: str) -> set[str]:
    """Which of the terms are in a text."""
    units = units_of(text, language)
    return {term for term in terms if places_of(units_of(term, language), units)}


def units_of(text: str, language: str) -> list[str]:
    plain = normalise(text, language)
    return list(plain.replace(" ", "")) if language in BY_CHARACTER else plain.split()


def places_of(term: Sequence[str], units: Sequence[str]) -> list[int]:
    """Where `term`, if it is any, begins in `units`."""
    size = len(term)
    if not size:
        return []
    return [i for i in range(len(units) - size + 1) if list(units[i : i + size]) == list(term)]
