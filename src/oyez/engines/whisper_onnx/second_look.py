"""A second look at answers that are hard to believe.

Decoding sometimes ends far too early, begins far too late or skips sentences, or ends in a text so
unlikely that it was dropped, on audio it decodes well when cut a little differently.

- A final with words for the beginning of its audio only: the rest is decoded by itself.
- A final that seems to pass over a stretch of its audio: that is decoded by itself, and believed
  if the model is sure of it and the final does not have it already.
- A final without words although there seems to be speech: decoded again behind some silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Hypothesis, Piece, Purpose, Request
from oyez.engines.whisper_faults import letters

MAX_LOOKS = 3
"""Rounds for one request: a bound, rarely reached."""
UNHEARD_SAMPLES = SAMPLE_RATE * 3 // 2
"""So much audio behind the last word is looked at again. Finals end with their speech."""
PASSED_OVER_SAMPLES = 2 * SAMPLE_RATE
"""So much audio before a piece, or between two, is looked at again. Attention leaps as far over
words it has heard on one final in fifteen; words were missing in one in 500."""
MAX_PIECES_PER_SECOND = 10
"""If all words were heard in the rest of the audio at a greater speed, nothing was passed over:
seven of ten leaps of attention are told so."""
SURE = 0.6
"""Mean probability from which words of a stretch passed over are believed …"""
NEWS = 0.3
"""… if less than this share of their letters is in what was heard already."""
SAME_LETTERS = 3
"""So many letters in a row are taken for the same words."""
LEAD_SAMPLES = SAMPLE_RATE // 2
MIN_SAMPLES = SAMPLE_RATE // 2
"""Shorter audio without words is believed to have none."""
MAX_NO_SPEECH = 0.6
MAX_OVERLAP = 8
"""Pieces: where the last word was heard is an estimate, so the rest may begin with it."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What to decode again, and how its words fit in."""

    request: Request
    shift_samples: int = 0
    """From places in `request`'s audio to places in the whole."""
    gap: int | None = None
    """Its words belong before the piece of this index; None: behind all."""

    def merge(self, first: Hypothesis, second: Hypothesis) -> Hypothesis:
        """`first` corrected by what the second look heard."""
        if self.gap is not None and not _is_news(second.pieces, first.pieces):
            return first
        found = tuple(_moved(piece, self.shift_samples) for piece in second.pieces)
        seam = len(first.pieces) if self.gap is None else self.gap
        before, after = first.pieces[:seam], first.pieces[seam:]
        found = found[_overlap(before, found) : len(found) - _anticipated(found, after)]
        return replace(first, pieces=before + found + after)


def _moved(piece: Piece, by_samples: int) -> Piece:
    said_to = piece.said_to_samples
    return replace(
        piece,
        end_samples=max(0, piece.end_samples + by_samples),
        said_to_samples=None if said_to is None else max(0, said_to + by_samples),
    )


def second_look(request: Request, first: Hypothesis, max_samples: int) -> SecondLook | None:
    """What of `request` to decode again, None where nothing is in doubt."""
    if request.prefix or request.purpose is not Purpose.FINAL:
        return None
    alone = replace(request, language=first.language, hint=())
    return (
        _look_at_rest(alone, first) if first.pieces else _look_for_words(alone, first, max_samples)
    )


def _look_at_rest(request: Request, first: Hypothesis) -> SecondLook | None:
    heard_to = first.pieces[-1].end_samples
    if len(request.samples) - heard_to <= UNHEARD_SAMPLES:
        return _look_at_gap(request, first.pieces)
    return SecondLook(replace(request, samples=request.samples[heard_to:]), heard_to)


def _look_at_gap(request: Request, pieces: Sequence[Piece]) -> SecondLook | None:
    """At the longest stretch passed over."""
    ends = [0, *(piece.end_samples for piece in pieces)]
    gaps = [after - before for before, after in pairwise(ends)]
    widest = max(range(len(gaps)), key=gaps.__getitem__)
    if gaps[widest] < PASSED_OVER_SAMPLES:
        return None
    rest_s = (len(request.samples) - gaps[widest]) / SAMPLE_RATE
    if len(pieces) > MAX_PIECES_PER_SECOND * rest_s:
        return None
    start, end = ends[widest], ends[widest + 1]
    samples = request.samples[start:end]
    return SecondLook(replace(request, samples=samples), start, gap=widest)


def _look_for_words(request: Request, first: Hypothesis, max_samples: int) -> SecondLook | None:
    fits = MIN_SAMPLES <= len(request.samples) <= max_samples - LEAD_SAMPLES
    if first.no_speech > MAX_NO_SPEECH or not fits:
        return None
    samples = np.concatenate([np.zeros(LEAD_SAMPLES, np.float32), request.samples])
    # terms that were preferred may have made the text unlikely
    return SecondLook(replace(request, samples=samples, context=""), -LEAD_SAMPLES)


def _is_news(found: Sequence[Piece], heard: Sequence[Piece]) -> bool:
    """Whether the model is sure of `found`, and it is not in `heard`."""
    # the model is sure of what it has just said, however wild
    first_said = {piece.text: piece.probability for piece in reversed(found)}
    sure = sum(first_said.values()) >= SURE * len(first_said)
    words, known = letters(_text(found)), letters(_text(heard))
    blocks = SequenceMatcher(None, words, known, autojunk=False).get_matching_blocks()
    same = sum(block.size for block in blocks if block.size >= SAME_LETTERS)
    return sure and same < NEWS * len(words)


def _overlap(before: Sequence[Piece], after: Sequence[Piece]) -> int:
    """How many pieces `after` begins with whose words `before` ends with."""
    end = letters(_text(before[-MAX_OVERLAP:]))
    for count in range(min(len(after), MAX_OVERLAP), 0, -1):
        start = letters(_text(after[:count]))
        if start and end.endswith(start):
            return count
    return 0


def _anticipated(before: Sequence[Piece], after: Sequence[Piece]) -> int:
    """How many pieces `before` ends with whose words `after` begins with."""
    start = letters(_text(after[:MAX_OVERLAP]))
    for count in range(min(len(before), MAX_OVERLAP), 0, -1):
        end = letters(_text(before[-count:]))
        if end and start.startswith(end):
            return count
    return 0


def _text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)
