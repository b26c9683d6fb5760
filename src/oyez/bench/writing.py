"""Whether text is written the way its language is: script, marks that end it, marks inside."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import opencc

from oyez.engines.base import SPACELESS

LONG_CHARACTERS = 20
"""A Chinese or Japanese text this long rarely does without a mark inside."""

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
"""How the Unicode names of a language's letters begin; `LATIN` where it is not listed."""

_CLOSING_MARKS = {
    "zh": "。？！…",
    "yue": "。？！…",
    "ja": "。？！…",
    "hi": "।?!…",
    "ar": ".؟!…",
    "th": "",
}
_USUAL_CLOSING_MARKS = ".?!…"
_MARKS_INSIDE = dict.fromkeys(("zh", "yue", "ja"), "，、；：。？！…")
_CLOSING_BRACKETS = "\"'”’»」』)）》】"

_CONVERSIONS = {"zh": ("t2s", "s2t"), "yue": ("s2hk", "t2s")}
"""OpenCC's conversions into the form a language is written in, and out of it."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How many texts there were, and how they were written. Texts without letters do not count."""

    texts: int = 0
    closable: int = 0
    """Texts whose language ends a sentence with a mark; Thai does not …"""
    closed: int = 0
    """… and those that do end in one of its own."""
    long: int = 0
    """Texts of LONG_CHARACTERS or more in Chinese or Japanese …"""
    divided: int = 0
    """… and those with a mark before the last."""
    wrong_script: int = 0
    """Texts most words of which (characters, where there are no spaces) belong to another script,
    or, in Chinese, that hold a character in the other form: traditional in `zh`, simplified in
    `yue`."""

    def __add__(self, other: Writing) -> Writing:
        return Writing(
            self.texts + other.texts,
            self.closable + other.closable,
            self.closed + other.closed,
            self.long + other.long,
            self.divided + other.divided,
            self.wrong_script + other.wrong_script,
        )


def judge(text: str, language: str) -> Writing:
    """How one text was written that should be in `language`, one of LANGUAGES."""
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
    """See `Writing.wrong_script`. A name in other letters does no harm, however long."""
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
    """Vowel signs are letters here too."""
    return unicodedata.category(char)[0] in "LM"


def _other_forms(text: str, language: str) -> list[str]:
    """Chinese characters of `text` that are written otherwise in `language`.

    Those that the way back changes are not of the other form, but variants: 說 beside 説.
    """
    if language not in _CONVERSIONS:
        return []
    into, out_of = (_converter(name) for name in _CONVERSIONS[language])
    pairs = zip(text, str(into.convert(text)), strict=True)
    return [was for was, now in pairs if was != now and out_of.convert(was) == was]


@lru_cache
def _converter(configuration: str) -> opencc.OpenCC:
    return opencc.OpenCC(configuration)
