"""A second look at answers that are hard to believe.

Greedy decoding sometimes ends far too early, or in a text so unlikely that it was dropped, on
audio it decodes well when cut a little differently; and a prompt of names may be all it says.

- A final with words for the beginning of its audio only: the rest is decoded by itself.
- A final without words although there seems to be speech: decoded again behind some silence.
- Nothing but words of the prompt: decoded again without one, and believed if that
  sounds alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oyez.recognisers.base import SAMPLE_RATE, Hypothesis, Piece, Purpose, Request
from oyez.recognisers.whisper_faults import confirms, letters, may_be_echo

MAX_LOOKS = 3
"""Rounds for one request: a bound, rarely reached."""
UNHEARD_SAMPLES = SAMPLE_RATE * 3 // 2
"""So much audio behind the last word is looked at again. Finals end with their speech."""
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
    for_echo: bool = False

    def merge(self, first: Hypothesis, second: Hypothesis) -> Hypothesis:
        """`first` corrected by what the second look heard."""
        if self.for_echo:
            return first if confirms(first.text, second.text) else second
        found = tuple(
            replace(piece, end_samples=max(0, piece.end_samples + self.shift_samples))
            for piece in second.pieces
        )
        return replace(first, pieces=first.pieces + found[_overlap(first.pieces, found) :])


def second_look(request: Request, first: Hypothesis, max_samples: int) -> SecondLook | None:
    """What of `request` to decode again, None where nothing is in doubt."""
    if request.prefix:
        return None
    alone = replace(request, language=first.language, context="", hint=())
    if request.context and may_be_echo(first.text, request.context):
        return SecondLook(alone, for_echo=True)
    if request.purpose is not Purpose.FINAL:
        return None
    return (
        _look_at_rest(alone, first) if first.pieces else _look_for_words(alone, first, max_samples)
    )


def _look_at_rest(request: Request, first: Hypothesis) -> SecondLook | None:
    heard_to = first.pieces[-1].end_samples
    if len(request.samples) - heard_to <= UNHEARD_SAMPLES:
        return None
    return SecondLook(replace(request, samples=request.samples[heard_to:]), heard_to)


def _look_for_words(request: Request, first: Hypothesis, max_samples: int) -> SecondLook | None:
    fits = MIN_SAMPLES <= len(request.samples) <= max_samples - LEAD_SAMPLES
    if first.no_speech > MAX_NO_SPEECH or not fits:
        return None
    samples = np.concatenate([np.zeros(LEAD_SAMPLES, np.float32), request.samples])
    return SecondLook(replace(request, samples=samples), -LEAD_SAMPLES)


def _overlap(before: Sequence[Piece], after: Sequence[Piece]) -> int:
    """How many pieces `after` begins with whose words `before` ends with."""
    end = letters(_text(before[-MAX_OVERLAP:]))
    for count in range(min(len(after), MAX_OVERLAP), 0, -1):
        start = letters(_text(after[:count]))
        if start and end.endswith(start):
            return count
    return 0


def _text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)
