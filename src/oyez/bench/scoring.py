"""How a text compares with its reference, and with the way its language is written.

Text is compared without case, punctuation and symbols, after Unicode NFKC: English through
Whisper's English normaliser (numbers, spellings, contractions), Arabic without vowel signs,
Chinese in one script. Languages without spaces are scored by character, and so is Korean, because
its writers place spaces differently.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from typing import Self

import jiwer
import opencc
from whisper_normalizer.english import EnglishTextNormalizer

from oyez.engines.base import SPACELESS
from oyez.turns.text_style import styled

BY_CHARACTER = SPACELESS | {"ko"}
LEFT_OUT_WORDS = 5
LEFT_OUT_CHARACTERS = 10
"""A sentence counts as left out if so many units in a row were spoken and not written."""
LOOP_ROUNDS = 3
LOOP_LETTERS = 4
"""Words of so many letters, said so often in a row, are a loop; "no, no, no" is not."""
LONGEST_LOOP = 12
LONG_CHARACTERS = 20
"""A Chinese or Japanese text of this length rarely has no mark inside."""

_SCRIPTS = {
    "zh": ("CJK",),
    "yue": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL",),
    "th": ("THAI",),
    "ar": ("ARABIC",),
    "hi": ("DEVANAGARI",),
    "ru": ("CYRILLIC",),
    "uk": ("CYRILLIC",),
}
"""How the Unicode names of a language's letters begin; `LATIN` for a language without a row."""

_CLOSING_MARKS = dict.fromkeys(("zh", "yue", "ja"), "。？！…") | {
    "hi": "।?!…",
    "ar": ".؟!…",
    "th": "",
}
_USUAL_CLOSING_MARKS = ".?!…"
_MARKS_INSIDE = dict.fromkeys(("zh", "yue", "ja"), "，、；：。？！…")
_CLOSING_BRACKETS = "\"'”’»」』)）》】"

_CONVERSIONS = {"zh": ("t2s", "s2t"), "yue": ("s2hk", "t2s")}
"""The names of OpenCC's conversions into the form that a language is written in, and out of it."""

_ENGLISH = EnglishTextNormalizer()


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts, or lists, that are added field by field."""

    def __add__(self, other: Self) -> Self:
        names = [each.name for each in fields(self)]
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True, slots=True)
class Score(Counts):
    """Counts of units: words, or characters in the languages of BY_CHARACTER."""

    units: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All errors together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """The errors per unit of the reference, which may exceed 1."""
        return self.errors / self.units if self.units else 0.0


@dataclass(frozen=True, slots=True)
class Faults(Counts):
    """Faults that an error rate hides: sentences left out, and repeated words."""

    left_out: int = 0
    """Passages of the reference that are missing."""
    loops: int = 0
    """Texts that repeat themselves."""


@dataclass(frozen=True, slots=True)
class Writing(Counts):
    """How many texts there are, and how they are written. Texts without letters do not count."""

    texts: int = 0
    closable: int = 0
    """Texts whose language ends a sentence with a mark; Thai does not."""
    closed: int = 0
    """Closable texts that end in a mark of their language."""
    long: int = 0
    """Texts of LONG_CHARACTERS or more in Chinese or Japanese."""
    divided: int = 0
    """Long texts with a mark before the last."""
    wrong_script: int = 0
    """Texts of which most words (characters in languages without spaces) are in another script, or
    which are Chinese and hold a character in the other form: traditional in `zh`, simplified in
    `yue`."""


@dataclass(frozen=True, slots=True)
class Quality(Counts):
    """How good texts are."""

    score: Score = Score()
    faults: Faults = Faults()
    writing: Writing = Writing()


def assess(reference: str | None, text: str, parts: Sequence[str], language: str | None) -> Quality:
    """Compare a text with its reference, if there is one, and judge how its parts are written.

    language: one of LANGUAGES. Without one, the texts are compared as English, and not judged.
    """
    writing = sum((judge(part, language) for part in parts if language), Writing())
    code = language or "en"
    return Quality(
        score(reference or "", text, code), find_faults(reference or "", text, code), writing
    )


def score(reference: str, hypothesis: str, language: str) -> Score:
    """Compare two texts in one of LANGUAGES. A reference without words has no units."""
    found = _align(reference, hypothesis, language)
    if not found:
        return Score()
    units = found.hits + found.substitutions + found.deletions
    return Score(units, found.substitutions, found.deletions, found.insertions)


def find_faults(reference: str, hypothesis: str, language: str) -> Faults:
    """Find the faults of one text in one of LANGUAGES. An empty reference has nothing to miss."""
    found = _align(reference, hypothesis, language)
    chunks = found.alignments[0] if found else []
    least = LEFT_OUT_CHARACTERS if language in BY_CHARACTER else LEFT_OUT_WORDS
    runs = (each.ref_end_idx - each.ref_start_idx for each in chunks if each.type == "delete")
    return Faults(sum(run >= least for run in runs), int(_has_loop(_units(hypothesis, language))))


def _align(
    reference: str, hypothesis: str, language: str
) -> jiwer.WordOutput | jiwer.CharacterOutput | None:
    """Align two texts unit by unit; None if the reference has no units."""
    said, written = _units(reference, language), _units(hypothesis, language)
    if not said:
        return None
    if language in BY_CHARACTER:
        return jiwer.process_characters("".join(said), "".join(written))
    return jiwer.process_words(" ".join(said), " ".join(written))


def _units(text: str, language: str) -> list[str]:
    plain = normalise(text, language)
    return list(plain.replace(" ", "")) if language in BY_CHARACTER else plain.split()


def _has_loop(units: list[str]) -> bool:
    for start in range(len(units)):
        for length in range(1, min(LONGEST_LOOP, (len(units) - start) // LOOP_ROUNDS) + 1):
            once = units[start : start + length]
            again = units[start : start + length * LOOP_ROUNDS]
            if again == once * LOOP_ROUNDS and len("".join(once)) >= LOOP_LETTERS:
                return True
    return False


def count_words(text: str) -> int:
    """Count the words of a text in any language, or its characters if it has no spaces."""
    plain = _plain(text)
    wide = sum(unicodedata.east_asian_width(char) == "W" for char in plain)
    narrow = "".join(" " if unicodedata.east_asian_width(char) == "W" else char for char in plain)
    return wide + len(narrow.split())


def same_words(shown: str, final: str) -> bool:
    """Return whether `final` begins with the words of `shown`, without case and punctuation."""
    return "".join(_plain(final).split()).startswith("".join(_plain(shown).split()))


def normalise(text: str, language: str) -> str:
    """Return a text as it is compared; see the module."""
    text = unicodedata.normalize("NFKC", text)
    if language == "en":
        return _plain(str(_ENGLISH(text)))
    if language in ("zh", "yue"):
        text = styled(text, language)
    if language == "ar":
        text = "".join(char for char in text if unicodedata.category(char) != "Mn")
    return _plain(text)


def _plain(text: str) -> str:
    """Return lower case with one space for each run of punctuation, symbols and spaces."""
    kept = (" " if unicodedata.category(char)[0] in "PSZC" else char for char in text.casefold())
    return " ".join("".join(kept).split())


def judge(text: str, language: str) -> Writing:
    """Judge how a text is written that should be in `language`, one of LANGUAGES."""
    text = unicodedata.normalize("NFC", text.strip())
    if not any(map(_is_letter, text)):
        return Writing()
    closing = _CLOSING_MARKS.get(language, _USUAL_CLOSING_MARKS)
    end = text.rstrip(_CLOSING_BRACKETS)
    inside = _MARKS_INSIDE.get(language, "")
    long = bool(inside) and len(text) >= LONG_CHARACTERS
    return Writing(
        texts=1,
        closable=int(closing != ""),
        closed=int(end.endswith(tuple(closing))),
        long=int(long),
        divided=int(long and any(mark in inside for mark in end.rstrip(closing))),
        wrong_script=int(in_wrong_script(text, language)),
    )


def in_wrong_script(text: str, language: str) -> bool:
    """Return what `Writing.wrong_script` counts. A run of foreign letters counts as one word."""
    own = foreign = 0
    kinds = (_kind(char, language) for char in unicodedata.normalize("NFKC", text))
    for kind, run in groupby(kinds):
        foreign += kind == "foreign"
        if kind == "own":
            own += len(list(run)) if language in SPACELESS else 1
    return foreign > own or bool(_other_forms(text, language))


def _kind(char: str, language: str) -> str:
    if not _is_letter(char):
        return ""
    scripts = _SCRIPTS.get(language, ("LATIN",))
    return "own" if unicodedata.name(char, "").startswith(scripts) else "foreign"


def _is_letter(char: str) -> bool:
    """Return whether a character is a letter or a vowel sign."""
    return unicodedata.category(char)[0] in "LM"


def _other_forms(text: str, language: str) -> list[str]:
    """Return the Chinese characters of `text` that are written otherwise in `language`.

    A character that the conversion back changes too is a variant, as 說 is of 説, and not one of
    the other form.
    """
    if language not in _CONVERSIONS:
        return []
    into, out_of = (_converter(name) for name in _CONVERSIONS[language])
    pairs = zip(text, str(into.convert(text)), strict=True)
    return [was for was, now in pairs if was != now and out_of.convert(was) == was]


@lru_cache
def _converter(configuration: str) -> opencc.OpenCC:
    return opencc.OpenCC(configuration)
