"""Which language to write, given what was asked for and what the audio sounds like."""

from __future__ import annotations

from collections.abc import Mapping

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Request
from oyez.turns.language import is_possible, likeliest

SURE = 0.95
EXCLUDED = 0.01
MIN_SAMPLES = 2 * SAMPLE_RATE
"""The asked-for language is overruled only on so much audio, only if another one is sure and it is
itself excluded: forced to write a language nobody speaks, Whisper invents. Right hints were
overruled on 2 of 699 stretches of real speech in 27 languages, wrong ones on 84 %."""


def choose_language(request: Request, scores: Mapping[str, float], written_as: str | None) -> str:
    """The language to decode in.

    scores: probability per language. written_as: the language whose token stands for the one asked
    for (Cantonese is written as Chinese by models without a token for it), None if none was.
    """
    if request.language is None or written_as is None:
        return likeliest(request.language_prior, scores, len(request.samples))
    detected = max(scores, key=scores.__getitem__)
    is_allowed = is_possible(request.language_prior, detected)
    judged = is_allowed and not request.prefix and len(request.samples) >= MIN_SAMPLES
    if judged and scores[detected] >= SURE and scores[written_as] <= EXCLUDED:
        return detected
    return request.language
