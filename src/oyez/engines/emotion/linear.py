"""A linear classifier that scores utterances against what it knows of the speaker.

Voices and microphones differ more than moods do. So the classifier is trained on features from
which each speaker's mean was taken, and a session does the same with a running baseline:

    baseline = sum of what was heard / (count + PRIOR_UTTERANCES)

which starts as the average speaker and becomes this one. From each utterance, what its emotion
explains is taken before it enters the baseline, so that a speaker who is always angry is not taken
for one who just sounds like that. Old utterances fade, so that a new speaker is known after a few.

Recordings that differ from all that was trained on make a linear classifier surer, though it knows
less: the further an utterance is from what is usual, the less its scores count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oyez.engines.emotion.base import EMOTIONS, Emotion, Features
from oyez.engines.emotion.weights import EmotionWeights

PRIOR_UTTERANCES = 3.0
"""How many utterances the average speaker counts for."""
MEMORY_UTTERANCES = 10.0
"""Most that the past counts for."""
COLD_TEMPERATURE = 1.1
WARM_TEMPERATURE = 0.7
"""Divide the scores of speakers not heard before, and of well-known ones: what makes the
probabilities true on corpora that were not trained on."""
COLD_USUAL = 1.0
WARM_USUAL = 0.4
"""Mean square of an utterance's features relative to the baseline that is nothing strange, for
speakers not heard before and for well-known ones. Nine of ten utterances of acted speech not
trained on are below 1.2, and below 0.6 once the speaker is known; half of ordinary recordings are
above 1.0 and 0.64."""

_NEUTRAL = EMOTIONS.index("neutral")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """Weights and how sure one must be. See `EmotionClassifier`."""

    weights: EmotionWeights
    min_confidence: float
    """What is less probable than this is called neutral."""

    def listener(self) -> LinearListener:
        return LinearListener(self)

    def scaled(self, features: Features) -> Floats:
        """Features of any shape as [n], in deviations from the average speaker."""
        scaled: Floats = (features.reshape(-1) - self.weights.centre) / self.weights.scale
        return scaled

    def name(self, probabilities: Floats) -> Emotion:
        """The emotion that probabilities [7] are enough for."""
        likeliest = int(probabilities.argmax())
        sure = probabilities[likeliest] >= self.min_confidence
        return EMOTIONS[likeliest if sure else _NEUTRAL]


class LinearListener:
    """What is known of the speaker of one session. See `EmotionListener`."""

    def __init__(self, classifier: LinearClassifier) -> None:
        self._classifier = classifier
        self._sum = np.zeros_like(classifier.weights.centre)
        self._count = 0.0

    def guess(self, features: Features | None) -> Emotion:
        if features is None:
            return "neutral"
        return self._classifier.name(self.probabilities(features))

    def hear(self, features: Features | None) -> Emotion:
        if features is None:
            return "neutral"
        probabilities = self.probabilities(features)
        self._remember(self._classifier.scaled(features), probabilities)
        return self._classifier.name(probabilities)

    def probabilities(self, features: Features) -> Floats:
        """float32 [7], in the order of EMOTIONS."""
        known = self._count + PRIOR_UTTERANCES
        weights = self._classifier.weights
        relative = self._classifier.scaled(features) - self._sum / known
        coldness = PRIOR_UTTERANCES / known
        temperature = _between(WARM_TEMPERATURE, COLD_TEMPERATURE, coldness)
        usual = _between(WARM_USUAL, COLD_USUAL, coldness)
        strangeness = max(1.0, float(np.mean(np.square(relative))) / usual)
        scores = weights.matrix @ relative + weights.bias
        return softmax(scores / (temperature * strangeness**2))

    def _remember(self, scaled: Floats, probabilities: Floats) -> None:
        if self._count >= MEMORY_UTTERANCES:
            kept = (MEMORY_UTTERANCES - 1) / self._count
            self._sum, self._count = self._sum * kept, self._count * kept
        self._sum = self._sum + scaled - probabilities @ self._classifier.weights.offsets
        self._count += 1


def _between(warm: float, cold: float, coldness: float) -> float:
    return warm + (cold - warm) * coldness


def softmax(scores: Floats) -> Floats:
    """Probabilities of scores [..., n]."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
