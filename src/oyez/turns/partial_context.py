"""Stage 5a: the end of a window that a partial hears.

What was confirmed a while ago is not heard again: a partial begins shortly before the last
confirmed words, so that it costs the same however long its window is. The words it leaves out are
put in front of the answer: everybody else sees the whole window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Hypothesis, Piece
from oyez.turns.stabilizer import heard_before, whole_words

LONG_SAMPLES = SAMPLE_RATE * 6
"""Audio up to this long is heard as a whole."""
CONTEXT_SAMPLES = SAMPLE_RATE * 3
"""Confirmed audio that is heard again, for the words behind it to be understood."""
MARGIN_SAMPLES = SAMPLE_RATE * 3 // 10
"""Audio heard before the first word: where a word ends is an estimate."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A window's audio from sample `start` of it on, behind the words `left_out`."""

    start: int = 0
    left_out: tuple[Piece, ...] = ()

    def of(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        """Pieces of the whole window, which begin with `left_out` → those in the excerpt."""
        return moved(pieces[len(self.left_out) :], -self.start)

    def completed(self, heard: Hypothesis) -> Hypothesis:
        """What was heard in the excerpt → what was heard in the whole window."""
        if not self.start:
            return heard
        return replace(heard, pieces=(*self.left_out, *moved(heard.pieces, self.start)))


WHOLE = Excerpt()


def excerpt(confirmed: Sequence[Piece], audio_samples: int, language: str) -> Excerpt:
    """What to hear of a window of so much audio whose first words are confirmed."""
    if audio_samples <= LONG_SAMPLES or not confirmed:
        return WHOLE
    count = heard_before(confirmed, confirmed[-1].end_samples - CONTEXT_SAMPLES)
    count = whole_words(confirmed, count, language)
    start = confirmed[count - 1].end_samples - MARGIN_SAMPLES if count else 0
    return Excerpt(start, tuple(confirmed[:count])) if start > 0 else WHOLE


def moved(pieces: Sequence[Piece], by_samples: int) -> tuple[Piece, ...]:
    """Pieces about audio → the same about audio that begins `by_samples` earlier."""
    return tuple(replace(p, end_samples=p.end_samples + by_samples) for p in pieces)
