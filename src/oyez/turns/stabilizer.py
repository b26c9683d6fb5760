"""Stage 5: successive hypotheses of one window → words that only ever grow.

Local agreement (Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and
Translation by Partial Hypothesis Selection"): what two successive hypotheses share is confirmed,
except for a tail so close to the edge of the audio that more audio may still change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import SPACELESS, Hypothesis, Piece
from oyez.turns.text_style import settled, styled

HELD_BACK_SAMPLES = SAMPLE_RATE * 12 // 10
"""Words heard closer than this to the edge of the audio are not firm yet. On 25 turns in ten
languages 9 finals contradicted promised words at 0.6 s, 6 at 1.2 s, 7 at 2.0 s."""
COMPARED_UNITS = 100
"""So many words or characters at the end of what was shown are looked for in a hypothesis that
contradicts it: an engine that repeats itself must not hold anybody up."""
CUT_MARGIN_SAMPLES = SAMPLE_RATE * 3 // 20
"""Where a word ends is an estimate; windows are cut between words."""
MUST_SHOW_SAMPLES = SAMPLE_RATE * 5 // 2
"""With so much audio heard, something is confirmed even without agreement: some clients show
only confirmed text."""

_BETWEEN_WORDS = " ,.?!:;…。，、？！：；।"


class Words:
    """What the listener of one window has been promised, and the rest of the hypothesis."""

    def __init__(self, begun: tuple[Piece, ...] = (), language: str | None = None) -> None:
        """begun: its first words, if they were promised with the window before."""
        self.tentative = ""
        """The rest of the hypothesis: `promised + tentative` is all of it."""
        self.confirmed = begun
        """The pieces behind `promised`, which the next partial must begin with."""
        self.hypothesis = begun
        """The last hypothesis that began with `confirmed`, for the engine to start from."""
        self.language = language
        """Of the last hypothesis."""
        self._promised = settled(_text(begun), language) if language else ""
        self._begun_chars = len(self._promised)

    @property
    def promised(self) -> str:
        """Confirmed text, styled: it only grows."""
        return self._promised[self._begun_chars :].lstrip(_BETWEEN_WORDS)

    def hear(self, heard: Hypothesis, audio_samples: int) -> None:
        """Take in a hypothesis about the window's first `audio_samples` samples."""
        pieces = heard.pieces
        if _texts(pieces[: len(self.confirmed)]) == _texts(self.confirmed):
            count = self._firm_count(pieces, audio_samples, heard.language)
            self.confirmed = pieces[: max(count, len(self.confirmed))]
            self.hypothesis = pieces
            self.language = heard.language
            promised = settled(_text(self.confirmed), heard.language)
            if promised.startswith(self._promised):
                self._promised = promised
        rest = remainder(styled(_text(pieces), heard.language), self._promised)
        self.tentative = rest if self.promised else rest.lstrip(_BETWEEN_WORDS)

    def finish(self, final: str) -> None:
        """The window's final text is known: nothing is tentative any more."""
        self._promised += remainder(final, self._promised)
        self.tentative = ""

    def confirmed_behind(self, limit_samples: int) -> tuple[Piece, ...]:
        """Whole words confirmed that were heard behind `limit_samples`."""
        count = heard_before(self.confirmed, limit_samples + CUT_MARGIN_SAMPLES)
        if count < len(self.confirmed):
            count = whole_words(self.confirmed, count, self.language or "en")
        return self.confirmed[count:]

    def _firm_count(self, pieces: Sequence[Piece], audio_samples: int, language: str) -> int:
        agreed = _common_prefix(self.hypothesis, pieces)
        firm = heard_before(pieces, audio_samples - HELD_BACK_SAMPLES)
        count = whole_words(pieces, min(agreed, firm, len(pieces) - 1), language)
        if count > 0 or self.confirmed or audio_samples < MUST_SHOW_SAMPLES:
            return count
        return _first_word(pieces, language)


def remainder(whole: str, shown: str) -> str:
    """What is left of `whole` behind `shown`.

    Where `whole` contradicts what was shown, what follows its counterpart in `whole`: the
    listener sees neither gap nor repetition.
    """
    if whole.startswith(shown):
        return whole[len(shown) :]
    if " " not in whole:
        return "".join(_behind(list(whole), list(shown)))
    rest = " ".join(_behind(whole.split(" "), shown.split(" ")))
    return " " + rest if rest else ""


def _behind(whole: list[str], shown: list[str]) -> list[str]:
    """The units of `whole` behind those that correspond to `shown`."""
    first = max(0, len(shown) - COMPARED_UNITS)
    shown_end, near = shown[first:], whole[first : first + 2 * COMPARED_UNITS]
    *matches, _ = SequenceMatcher(None, shown_end, near, autojunk=False).get_matching_blocks()
    if not matches:
        return whole[len(shown) :]
    last = matches[-1]
    return whole[first + last.b + len(shown_end) - last.a :]


def glue(left: str, right: str) -> str:
    """What belongs between two stretches of text: a space, or nothing where either side is of a
    script without spaces, or empty."""
    if not left or not right or right[0].isspace() or spaceless(left[-1]) or spaceless(right[0]):
        return ""
    return " "


class Passage:
    """Texts of successive windows as one. A window that was cut inside a sentence is given a full
    stop by the model; it goes when the next one begins with a small letter."""

    def __init__(self) -> None:
        self._body = ""
        self._stop = ""

    def add(self, text: str) -> None:
        """`text` comes next."""
        if not text:
            return
        self._body = self.followed_by(text)
        self._stop = "." if self._body.endswith(".") and not self._body.endswith("..") else ""
        self._body = self._body.removesuffix(self._stop)

    def followed_by(self, text: str) -> str:
        """All of it with `text` behind, for which an undecided full stop is decided. Grows as
        `text` grows."""
        if not text:
            return self._body
        before = self._body + ("" if text[0].islower() else self._stop)
        return before + glue(before, text) + text

    @property
    def text(self) -> str:
        """All of it."""
        return self._body + self._stop


def spaceless(character: str) -> bool:
    """Thai, Lao, CJK with its punctuation, kana, full-width forms; not Hangul."""
    code = ord(character)
    return (
        0x0E00 <= code <= 0x0EFF
        or 0x2E80 <= code <= 0x312F
        or 0x31A0 <= code <= 0xA4CF
        or 0xF900 <= code <= 0xFAFF
        or 0xFF00 <= code <= 0xFFEF
        or 0x20000 <= code <= 0x3FFFF
    )


def _text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def _texts(pieces: Sequence[Piece]) -> list[str]:
    return [piece.text for piece in pieces]


def _common_prefix(one: Sequence[Piece], other: Sequence[Piece]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a.text != b.text:
            break
        count += 1
    return count


def heard_before(pieces: Sequence[Piece], limit_samples: int) -> int:
    """How many pieces at the beginning were heard before `limit_samples`."""
    count = 0
    for piece in pieces:
        if piece.end_samples > limit_samples:
            break
        count += 1
    return count


def whole_words(pieces: Sequence[Piece], count: int, language: str) -> int:
    """The largest number of pieces up to `count` that ends where a word ends."""
    while count > 0 and language not in SPACELESS and not pieces[count].text.startswith(" "):
        count -= 1
    return count


def _first_word(pieces: Sequence[Piece], language: str) -> int:
    for count in range(1, len(pieces)):
        if whole_words(pieces, count, language) == count:
            return count
    return len(pieces)
