"""Stage 6: recognised text → text in the style of its own language.

Script (simplified for `zh`, Hong Kong traditional for `yue`), the language's own punctuation,
and spaces where the language has them. Everything here is decided by a character and its
neighbours, so text that grows keeps its beginning: see `settled`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import opencc

_HAN_KANA = (
    r"\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_FULL_WIDTH_MARKS = r"\u3001-\u3003\u3008-\u301f\uff01-\uff0f\uff1a-\uff1f\uff5f-\uff65"
_CJK = rf"[{_HAN_KANA}{_FULL_WIDTH_MARKS}\U00020000-\U0003ffff]"
_ARABIC = r"[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]"


@dataclass(frozen=True, slots=True)
class _Punctuation:
    """How a language with marks of its own writes the ASCII ones."""

    native: re.Pattern[str]
    """A character of the language's own script, or one of its own marks."""
    marks: Mapping[str, str]
    ellipsis: str
    gap: str
    """What stands between a mark and the next word."""


_CHINESE_MARKS = {",": "，", ".": "。", "?": "？", "!": "！", ":": "：", ";": "；"}
_CHINESE = _Punctuation(re.compile(_CJK), _CHINESE_MARKS, "……", "")
_PUNCTUATION = {
    "zh": _CHINESE,
    "yue": _CHINESE,
    "ja": _Punctuation(re.compile(_CJK), _CHINESE_MARKS | {",": "、"}, "…", ""),
    "ar": _Punctuation(re.compile(_ARABIC), {",": "،", "?": "؟", ";": "؛"}, "...", " "),
}
_KOREAN_MARKS = str.maketrans(
    {"，": ", ", "、": ", ", "。": ". ", "？": "? ", "！": "! ", "：": ": ", "；": "; "}
)
_FULL_STOPS = {"zh": "。", "yue": "。", "ja": "。", "hi": "।", "th": ""}

_ASCII_RUN = re.compile(r"\s*[,.?!:;][,.?!:;\s]*")
_SPACE_BEFORE_MARK = re.compile(r"\s+([,.?!:;…।]+)(?=\s|$)")
_FRENCH_SPACE_BEFORE_MARK = re.compile(r"\s+([,.…]+)(?=\s|$)")
_SPACE_AMONG_CJK = re.compile(
    rf"(?<={_CJK})\s+(?={_CJK})|(?<=[{_FULL_WIDTH_MARKS}])\s+|\s+(?=[{_FULL_WIDTH_MARKS}])"
)
_UNDECIDED = re.compile(r"[\s,.?!:;…。，、？！：；।|]+$")

_UNSETTLED_CHINESE = {
    "zh": re.compile(r"[乾麼徵藉於瞭覆鍾沈鍊鉅薹彷牴衹祇著][^\n]?$"),
    "yue": re.compile(rf"[{_HAN_KANA}]{{1,2}}$"),
}
"""Characters at the end whose form the next ones may still change (乾 alone is 干, 乾隆 is not;
simplified 发 is 發 or 髮)."""


def styled(text: str, language: str) -> str:
    """Write `text`, as an engine gave it, in the style of `language`, one of LANGUAGES.

    Idempotent. Adds no words and drops none.
    """
    text = " ".join(_in_script(text, language).split())
    if language == "ko":
        text = " ".join(text.translate(_KOREAN_MARKS).split())
    if language == "hi":
        text = text.replace("|", "।")
    own = _PUNCTUATION.get(language)
    if own is not None:
        text = _ASCII_RUN.sub(lambda run: _own_marks(run, own), text)
    text = (_FRENCH_SPACE_BEFORE_MARK if language == "fr" else _SPACE_BEFORE_MARK).sub(r"\1", text)
    if language in {"zh", "yue", "ja"}:
        text = _SPACE_AMONG_CJK.sub("", text)
    return text.strip()


def settled(text: str, language: str) -> str:
    """The beginning of `styled(text)` that stays the same whatever text follows.

    `styled(text + more).startswith(settled(text))`. The one exception: a Chinese phrase that
    changes the script form of a character more than one (`zh`) or two (`yue`) places before it.
    """
    text = _UNDECIDED.sub("", text)
    unsettled = _UNSETTLED_CHINESE.get(language)
    if unsettled is not None:
        text = _UNDECIDED.sub("", unsettled.sub("", text))
    return styled(text, language)


def finished(text: str, language: str) -> str:
    """Close styled text with the language's full stop if it ends in a word. Thai has none."""
    if not text or not _ends_in_word(text):
        return text
    return text + ("." if text.isascii() else _FULL_STOPS.get(language, "."))


def _ends_in_word(text: str) -> bool:
    return unicodedata.category(text[-1])[0] in "LNMS" or text[-1] == "%"


def _own_marks(run: re.Match[str], own: _Punctuation) -> str:
    if not _among_native(run, own.native):
        return run[0]
    marks = re.sub(r"\.{2,}", own.ellipsis, "".join(run[0].split()))
    gap = own.gap if run[0][-1].isspace() else ""
    return "".join(own.marks.get(mark, mark) for mark in marks) + gap


def _among_native(run: re.Match[str], native: re.Pattern[str]) -> bool:
    """A run of marks is the language's own beside a character of its script, or at the end of
    a text in that script. Numbers, names and addresses in Latin letters keep theirs."""
    text = run.string
    before, after = text[: run.start()][-1:], text[run.end() :][:1]
    if after == "" and native.search(text):
        return True
    return any(native.match(char) for char in (before, after) if char)


# Script


def _in_script(text: str, language: str) -> str:
    if language == "zh":
        return _simplified(text)
    if language == "yue":
        return str(_converter("s2hk").convert(text))
    return text


def _simplified(text: str) -> str:
    # OpenCC reads simplified 坏 (bad) as traditional 坏 (unfired clay) and leaves every 著 alone
    changed = str(_converter("t2s").convert(text))
    kept = "".join(was if was == "坏" else now for was, now in zip(text, changed, strict=True))
    return _PARTICLE.sub("着", kept)


_PARTICLE = re.compile(r"(?<![显原名编巨专论土译遗昭卓合拙所])著(?![名作者称书述录有])")
"""著 that stands for the particle 着, not for writing or fame."""


@lru_cache
def _converter(configuration: str) -> opencc.OpenCC:
    return opencc.OpenCC(configuration)
