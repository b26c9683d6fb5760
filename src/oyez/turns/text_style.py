"""Text style: recognised text is written as its own language is written, and joined.

The style covers the script (simplified for `zh`, Hong Kong traditional for `yue`), the language's
own punctuation, and spaces where the language has them. A character and its neighbours decide
everything here, so that text that grows keeps its beginning: see `stable_prefix`.
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
_SPACELESS = re.compile(
    r"[\u0e00-\u0eff\u2e80-\u312f\u31a0-\ua4cf\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
_ARABIC = r"[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]"


@dataclass(frozen=True, slots=True)
class _Punctuation:
    """How a language with its own punctuation marks writes the ASCII ones."""

    native: re.Pattern[str]
    """A character of the language's own script, or one of its own marks."""
    marks: Mapping[str, str]
    """From ASCII marks to the language's own."""
    ellipsis: str
    gap: str
    """The text between a mark and the next word."""


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
_OPEN_MARKS = re.compile(r"[\s,.?!:;…。，、？！：；।|]+$")

_UNSTABLE_CHINESE = {
    "zh": re.compile(r"[乾麼徵藉於瞭覆鍾沈鍊鉅薹彷牴衹祇著][^\n]?$"),
    "yue": re.compile(rf"[{_HAN_KANA}]{{1,2}}$"),
}
"""Characters at the end of a text whose form the next ones may still change: 乾 alone becomes 干,
but 乾隆 stays; simplified 发 becomes 發 or 髮."""

_PARTICLE = re.compile(r"(?<![显原名编巨专论土译遗昭卓合拙所])著(?![名作者称书述录有])")
"""著 where it stands for the particle 着 rather than for writing or fame."""


def styled(text: str, language: str) -> str:
    """Return `text`, as an engine gave it, in the style of `language`, one of LANGUAGES.

    The function is idempotent; it adds no words and drops none.
    """
    text = " ".join(_in_script(text, language).split())
    if language == "ko":
        text = " ".join(text.translate(_KOREAN_MARKS).split())
    if language == "hi":
        text = text.replace("|", "।")
    if own := _PUNCTUATION.get(language):
        text = _ASCII_RUN.sub(lambda run: _own_marks(run, own), text)
    text = (_FRENCH_SPACE_BEFORE_MARK if language == "fr" else _SPACE_BEFORE_MARK).sub(r"\1", text)
    if language in {"zh", "yue", "ja"}:
        text = _SPACE_AMONG_CJK.sub("", text)
    return text.strip()


def stable_prefix(text: str, language: str) -> str:
    """Return the beginning of `styled(text)` that stays the same whatever text follows.

    That is, `styled(text + more).startswith(stable_prefix(text))`. The one exception is a Chinese
    phrase that changes the script form of a character more than one (`zh`) or two (`yue`) places
    before it.
    """
    text = _OPEN_MARKS.sub("", text)
    if unstable := _UNSTABLE_CHINESE.get(language):
        text = _OPEN_MARKS.sub("", unstable.sub("", text))
    return styled(text, language)


def with_full_stop(text: str, language: str) -> str:
    """Return styled text, closed with the language's full stop if it ends in a word. Thai has no
    full stop."""
    if not text or not (unicodedata.category(text[-1])[0] in "LNMS" or text[-1] == "%"):
        return text
    return text + ("." if text.isascii() else _FULL_STOPS.get(language, "."))


def separator(left: str, right: str) -> str:
    """Return what belongs between two texts: a space, or nothing where either side is empty or in
    a script without spaces, or where `right` already begins with a space."""
    if not left or not right or right[0].isspace():
        return ""
    return "" if is_spaceless(left[-1]) or is_spaceless(right[0]) else " "


def is_spaceless(character: str) -> bool:
    """Return whether the character's script has no spaces between words: Thai, Lao, CJK with its
    punctuation, kana and full-width forms, but not Hangul."""
    return _SPACELESS.match(character) is not None


class TextJoiner:
    """Joins the styled texts of successive segments into one.

    A model ends a segment that was cut inside a sentence with a full stop. That stop is dropped
    when the next text begins with a lower-case letter.
    """

    def __init__(self) -> None:
        self._body = ""
        self._open_stop = ""

    def add(self, text: str) -> None:
        """Append `text`."""
        if text:
            whole = self.with_next(text)
            self._open_stop = "." if whole.endswith(".") and not whole.endswith("..") else ""
            self._body = whole.removesuffix(self._open_stop)

    def with_next(self, text: str) -> str:
        """Return the joined text as it is once `text` follows, without appending it.

        It leaves out a full stop that the next text may still drop, so that it only grows as
        `text` grows.
        """
        if not text:
            return self._body
        before = self._body + ("" if text[0].islower() else self._open_stop)
        return before + separator(before, text) + text

    @property
    def text(self) -> str:
        """The joined text, with its last full stop."""
        return self._body + self._open_stop


def _own_marks(run: re.Match[str], own: _Punctuation) -> str:
    if not _among_native(run, own.native):
        return run[0]
    marks = re.sub(r"\.{2,}", own.ellipsis, "".join(run[0].split()))
    gap = own.gap if run[0][-1].isspace() else ""
    return "".join(own.marks.get(mark, mark) for mark in marks) + gap


def _among_native(run: re.Match[str], native: re.Pattern[str]) -> bool:
    """Return whether a run of marks belongs to the language: it stands beside a character of the
    language's script, or at the end of a text in that script. Numbers, names and addresses in
    Latin letters keep the ASCII marks."""
    text = run.string
    before, after = text[: run.start()][-1:], text[run.end() :][:1]
    return bool((not after and native.search(text)) or native.match(before) or native.match(after))


def _in_script(text: str, language: str) -> str:
    if language == "yue":
        return str(_converter("s2hk").convert(text))
    if language != "zh":
        return text
    # OpenCC takes simplified 坏 (bad) for traditional 坏 (unfired clay) and changes no 著 at all
    changed = str(_converter("t2s").convert(text))
    kept = "".join(was if was == "坏" else now for was, now in zip(text, changed, strict=True))
    return _PARTICLE.sub("着", kept)


@lru_cache
def _converter(configuration: str) -> opencc.OpenCC:
    return opencc.OpenCC(configuration)
