"""How many words (or characters) of a reference were got wrong.

Text is compared without case, punctuation and symbols, after Unicode NFKC: English through
Whisper's English normaliser (numbers, spellings, contractions), Arabic without vowel signs,
Chinese in one script. Languages without spaces are scored by character, and so is Korean, whose
spaces writers place differently.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jiwer

from oyez.engines.base import SPACELESS
from oyez.turns.text_style import styled

BY_CHARACTER = SPACELESS | {"ko"}


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of units: words, or characters in BY_CHARACTER languages."""

    units: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per unit of the reference; may exceed 1."""
        return self.errors / self.units if self.units else 0.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.units + other.units,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def score(reference: str, hypothesis: str, language: str) -> Score:
    """Compare two texts of one of LANGUAGES. A reference without words scores no unit."""
    said, heard = normalise(reference, language), normalise(hypothesis, language)
    if not said:
        return Score()
    counts: jiwer.WordOutput | jiwer.CharacterOutput
    if language in BY_CHARACTER:
        counts = jiwer.process_characters(said.replace(" ", ""), heard.replace(" ", ""))
    else:
        counts = jiwer.process_words(said, heard)
    units = counts.hits + counts.substitutions + counts.deletions
    return Score(units, counts.substitutions, counts.deletions, counts.insertions)


def count_words(text: str) -> int:
    """Words of a text in whatever language; characters where there are no spaces."""
    plain = _plain(text)
    wide = sum(unicodedata.east_asian_width(char) == "W" for char in plain)
    narrow = "".join(" " if unicodedata.east_asian_width(char) == "W" else char for char in plain)
    return wide + len(narrow.split())


def same_words(shown: str, final: str) -> bool:
    """Whether `final` begins with the words of `shown`, whatever their case and punctuation."""
    return "".join(_plain(final).split()).startswith("".join(_plain(shown).split()))


def normalise(text: str, language: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    if language == "en":
        return _plain(str(_english()(text)))
    if language in ("zh", "yue"):
        text = styled(text, language)
    if language == "ar":
        text = "".join(char for char in text if unicodedata.category(char) != "Mn")
    return _plain(text)


def _plain(text: str) -> str:
    """Lower case, and a space for each run of punctuation, symbols and spaces."""
    kept = (" " if unicodedata.category(char)[0] in "PSZC" else char for char in text.casefold())
    return " ".join("".join(kept).split())


@lru_cache
def _english() -> Any:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()
