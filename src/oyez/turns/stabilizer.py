"""Stabilizer: from successive hypotheses of one segment to text that only grows.

Local agreement (Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and
Translation by Partial Hypothesis Selection"): what two successive hypotheses share is confirmed,
except for a tail so close to the end of the audio that more audio may still change it.

What was confirmed a while ago need not be recognised again. A partial of a long segment therefore
covers only the tail of its audio, from shortly before the last confirmed words, and costs the same
however long the segment is: see `AudioTail`.

Positions of pieces are samples from the start of the audio that was recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import takewhile

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import SPACELESS, Hypothesis, Piece, text_of
from oyez.turns.text_style import stable_prefix, styled

UNSTABLE_TAIL_SAMPLES = SAMPLE_RATE * 12 // 10
"""Words closer than this to the end of the audio are not confirmed yet. On 25 turns in ten
languages 9 finals contradicted confirmed words with 0.6 s, 6 with 1.2 s, 7 with 2.0 s."""
MUST_CONFIRM_SAMPLES = SAMPLE_RATE * 5 // 2
"""From this much audio on, a first word is confirmed even without agreement, because some clients
show only confirmed text."""
CUT_MARGIN_SAMPLES = SAMPLE_RATE * 3 // 20
"""A word that ends at most this far behind a cut belongs to the segment before the cut: segments
are cut between words, and where a word ends is an estimate."""
MAX_COMPARED_UNITS = 100
"""At most this many words or characters at the end of the shown text are looked for in a
hypothesis that contradicts it, so that an engine that repeats itself takes no time."""

WHOLE_SAMPLES = SAMPLE_RATE * 6
"""Audio up to this length is recognised as a whole."""
CONTEXT_SAMPLES = SAMPLE_RATE * 3
"""This much confirmed audio is recognised again as context for the words behind it."""
WORD_END_MARGIN_SAMPLES = SAMPLE_RATE * 3 // 10
"""The tail of the audio begins this long before its first word, because where a word ends is an
estimate."""

_BETWEEN_WORDS = " ,.?!:;…。，、？！：；।"


class Stabilizer:
    """The confirmed text of one segment and the rest of its latest hypothesis."""

    def __init__(self, carried_over: tuple[Piece, ...] = (), language: str | None = None) -> None:
        """carried_over: the segment's first words, if they were confirmed and shown with the
        segment before. language: that of these words."""
        self.unstable_text = ""
        """The rest of the hypothesis: `stable_text + unstable_text` is all of it."""
        self.confirmed = carried_over
        """The pieces of `stable_text`, with which the next partial must begin."""
        self.hypothesis = carried_over
        """The latest hypothesis that began with `confirmed`. An engine may start from it."""
        self.language = language
        """The language of that hypothesis; None before the first one."""
        self._shown = stable_prefix(text_of(carried_over), language) if language else ""
        self._carried_over_chars = len(self._shown)

    @property
    def stable_text(self) -> str:
        """The confirmed text in its style, without the words carried over. It only grows."""
        return self._shown[self._carried_over_chars :].lstrip(_BETWEEN_WORDS)

    def add_hypothesis(self, hypothesis: Hypothesis, audio_samples: int) -> None:
        """Take a hypothesis of the segment's first `audio_samples` samples."""
        pieces = hypothesis.pieces
        # One that contradicts confirmed pieces only gives the unstable text: what follows its
        # counterpart of the confirmed text
        if _common_prefix(self.confirmed, pieces) == len(self.confirmed):
            count = self._stable_count(pieces, audio_samples, hypothesis.language)
            self.confirmed = pieces[: max(count, len(self.confirmed))]
            self.hypothesis = pieces
            self.language = hypothesis.language
            shown = stable_prefix(text_of(self.confirmed), hypothesis.language)
            if shown.startswith(self._shown):
                self._shown = shown
        rest = unseen_part(styled(text_of(pieces), hypothesis.language), self._shown)
        self.unstable_text = rest if self.stable_text else rest.lstrip(_BETWEEN_WORDS)

    def set_final(self, text: str) -> None:
        """Take the text of the segment's final: all of it is stable."""
        self._shown += unseen_part(text, self._shown)
        self.unstable_text = ""

    def confirmed_after(self, limit_samples: int) -> tuple[Piece, ...]:
        """Return the confirmed whole words that end after `limit_samples`."""
        count = count_before(self.confirmed, limit_samples + CUT_MARGIN_SAMPLES)
        if count < len(self.confirmed):
            count = back_to_word_end(self.confirmed, count, self.language or "en")
        return self.confirmed[count:]

    def _stable_count(self, pieces: Sequence[Piece], audio_samples: int, language: str) -> int:
        agreed = _common_prefix(self.hypothesis, pieces)
        before_tail = count_before(pieces, audio_samples - UNSTABLE_TAIL_SAMPLES)
        # The last piece is never confirmed: nothing behind it shows that its word has ended
        count = back_to_word_end(pieces, min(agreed, before_tail, len(pieces) - 1), language)
        if count > 0 or self.confirmed or audio_samples < MUST_CONFIRM_SAMPLES:
            return count
        return _first_word(pieces, language)


@dataclass(frozen=True, slots=True)
class AudioTail:
    """The part of a segment's audio that a partial covers, and the words that lie before it."""

    offset_samples: int = 0
    """Where the tail begins, from the beginning of the segment's audio."""
    omitted: tuple[Piece, ...] = ()
    """The confirmed pieces whose audio is left out."""

    def pieces_inside(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """Return those of the whole segment's pieces, which begin with `omitted`, that lie in the
        tail, with positions from its beginning."""
        return shifted(pieces[len(self.omitted) :], -self.offset_samples)

    def completed(self, hypothesis: Hypothesis) -> Hypothesis:
        """Return a hypothesis of the tail as one of the whole segment."""
        if not self.offset_samples:
            return hypothesis
        inside = shifted(hypothesis.pieces, self.offset_samples)
        return replace(hypothesis, pieces=(*self.omitted, *inside))


WHOLE_AUDIO = AudioTail()


def audio_tail(confirmed: Sequence[Piece], audio_samples: int, language: str) -> AudioTail:
    """Return the part of `audio_samples` samples of audio that the next partial should cover, when
    their first words are confirmed."""
    if audio_samples <= WHOLE_SAMPLES or not confirmed:
        return WHOLE_AUDIO
    count = count_before(confirmed, confirmed[-1].end_samples - CONTEXT_SAMPLES)
    count = back_to_word_end(confirmed, count, language)
    offset = confirmed[count - 1].end_samples - WORD_END_MARGIN_SAMPLES if count else 0
    return AudioTail(offset, tuple(confirmed[:count])) if offset > 0 else WHOLE_AUDIO


def unseen_part(whole: str, shown: str) -> str:
    """Return what of `whole` follows `shown`.

    Where `whole` contradicts what was shown, this is what follows the counterpart of the shown
    text in `whole`, so that a reader sees neither a gap nor a repetition.
    """
    if whole.startswith(shown):
        return whole[len(shown) :]
    if " " not in whole:
        return "".join(_units_after(list(whole), list(shown)))
    rest = " ".join(_units_after(whole.split(" "), shown.split(" ")))
    return " " + rest if rest else ""


def _units_after(whole: list[str], shown: list[str]) -> list[str]:
    """Return the words or characters of `whole` behind those that correspond to `shown`."""
    first = max(0, len(shown) - MAX_COMPARED_UNITS)
    shown_end, near = shown[first:], whole[first : first + 2 * MAX_COMPARED_UNITS]
    *matches, _ = SequenceMatcher(None, shown_end, near, autojunk=False).get_matching_blocks()
    if not matches:
        return whole[len(shown) :]
    last = matches[-1]
    # Units shown behind the last match were misrecognised: as many of `whole` are passed over
    return whole[first + last.b + len(shown_end) - last.a :]


def count_before(pieces: Sequence[Piece], limit_samples: int) -> int:
    """Return how many pieces at the beginning end before `limit_samples` or there."""
    return sum(takewhile(bool, (piece.end_samples <= limit_samples for piece in pieces)))


def shifted(pieces: Sequence[Piece], by_samples: int) -> tuple[Piece, ...]:
    """Return the pieces as pieces of audio that begins `by_samples` earlier."""
    return tuple(piece.shifted(by_samples) for piece in pieces)


def back_to_word_end(pieces: Sequence[Piece], count: int, language: str) -> int:
    """Return the largest number of pieces, up to `count`, that ends where a word ends. In a
    language without spaces every piece is a word."""
    while count > 0 and language not in SPACELESS and not pieces[count].text.startswith(" "):
        count -= 1
    return count


def _first_word(pieces: Sequence[Piece], language: str) -> int:
    """Return how many pieces the first word has."""
    counts = range(1, len(pieces))
    ends = (count for count in counts if back_to_word_end(pieces, count, language) == count)
    return next(ends, len(pieces))


def _common_prefix(one: Sequence[Piece], other: Sequence[Piece]) -> int:
    """Return how many pieces at the beginning have the same texts."""
    same = (a.text == b.text for a, b in zip(one, other, strict=False))
    return sum(takewhile(bool, same))
