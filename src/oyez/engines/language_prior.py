"""How an engine chooses a language from the scores of the audio and a prior expectation.

The prior comes with a request (`Request.language_prior`); the scores are the engine's own. Scores
of short audio count less, because a short word such as "ok" sounds alike in many languages and
models are more confident than they should be.
"""

from __future__ import annotations

from collections.abc import Mapping

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import LANGUAGES

Prior = Mapping[str, float]
"""Probability of each of LANGUAGES before the audio is known. A language of probability 0 is never
answered. Empty means that all languages are equally likely."""

FLAT: Prior = {}
"""The prior that makes all languages equally likely."""

RELIABLE_SAMPLES = 3 * SAMPLE_RATE
"""The scores of audio of at least this length are used as they are. The scores of shorter audio are
weighted by the square of its length: those of half this length count a quarter."""
MIN_SCORE = 0.0001
"""Lower scores are raised to this, because a model can be very confident and wrong."""


def is_possible(prior: Prior, language: str) -> bool:
    """Return whether `language` may be answered at all."""
    return not prior or prior.get(language, 0.0) > 0


def likeliest(prior: Prior, scores: Mapping[str, float], samples: int) -> str:
    """Return the most probable language of `samples` samples of audio.

    scores: probability of each of LANGUAGES by the audio alone.
    """
    if not prior:
        return max(scores, key=scores.__getitem__)
    weights = posterior(prior, scores, samples)
    return max(weights, key=weights.__getitem__)


def posterior(prior: Prior, scores: Mapping[str, float], samples: int) -> dict[str, float]:
    """Return a weight for each of LANGUAGES by prior and audio. They do not add up to 1."""
    trust = min(1.0, samples / RELIABLE_SAMPLES) ** 2
    flat = 1 / len(LANGUAGES)
    return {
        code: prior.get(code, flat) * max(MIN_SCORE, scores.get(code, 0.0)) ** trust
        for code in LANGUAGES
    }
