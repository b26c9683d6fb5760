"""A recogniser for tests that names languages: by the loudness of what is said."""

from __future__ import annotations

import numpy as np

from oyez.engines.base import Hypothesis, Piece, Request
from oyez.engines.language_prior import likeliest
from support.driver import WORD_SAMPLES

GERMAN, ENGLISH, JAPANESE, UNSURE = 0.2, 0.4, 0.6, 0.8
"""Loudness of speech that sounds like …"""
_SCORES = {
    GERMAN: {"de": 0.99, "en": 0.002, "ja": 0.008},
    ENGLISH: {"de": 0.002, "en": 0.99, "ja": 0.008},
    JAPANESE: {"de": 0.005, "en": 0.005, "ja": 0.99},
    UNSURE: {"de": 0.35, "en": 0.6, "ja": 0.05},
}


def polyglot(request: Request) -> Hypothesis:
    """A word for each 0.3 s of loud audio, named after the language it is written in."""
    loud = np.abs(request.samples)
    loud = loud[loud > 0.01]
    if not len(loud):
        return Hypothesis((), request.language or "en")
    scores = _SCORES[min(_SCORES, key=lambda level: abs(level - float(np.median(loud))))]
    samples = len(request.samples)
    language = request.language or likeliest(request.language_prior, scores, samples)
    count = max(1, len(loud) // WORD_SAMPLES)
    ends = [min((n + 1) * WORD_SAMPLES, samples) for n in range(count)]
    pieces = [Piece(f" {language}{n}", (n,), end, 0.9) for n, end in enumerate(ends)]
    heard = (*request.prefix, *pieces[len(request.prefix) :])
    return Hypothesis(heard, language, {} if request.language else scores)
