"""A linear emotion classifier that scores each utterance relative to its speaker.

Voices and microphones differ more than moods do. So the classifier is trained on features from
which each speaker's mean was subtracted, and at run time a session subtracts a running baseline:

    baseline = sum of earlier features / (count + PRIOR_UTTERANCES)

The baseline starts at the average speaker and approaches the speaker of the session. Before an
utterance is added to the baseline, the offset that its emotion explains is subtracted, so that a
speaker who is always angry does not become the norm. Old utterances fade, so that the baseline
follows a new speaker after a few utterances.

A linear classifier grows more confident on recordings that differ from all its training data,
although it is less reliable there. So scores are scaled down the further an utterance is from what
is usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import EMOTIONS, Emotion, Features
from oyez.engines.emotion.weights import EmotionWeights

PRIOR_UTTERANCES = 3.0
"""The weight of the average speaker in the baseline, in utterances."""
MEMORY_UTTERANCES = 10.0
"""The largest weight of past utterances in the baseline."""
COLD_TEMPERATURE = 1.1
"""The scores of an unknown speaker are divided by this. It was fitted so that the probabilities are
calibrated on corpora that were not used for training."""
WARM_TEMPERATURE = 0.7
"""The scores of a well-known speaker are divided by this; fitted like COLD_TEMPERATURE."""
COLD_USUAL = 1.0
"""For an unknown speaker, the mean square of the features relative to the baseline up to which an
utterance is usual. Of acted speech not used for training, 90 % is below 1.2; half of ordinary
recordings are above 1.0."""
WARM_USUAL = 0.4
"""The same limit for a well-known speaker. Of acted speech not used for training, 90 % is below
0.6; half of ordinary recordings are above 0.64."""

_NEUTRAL = EMOTIONS.index("neutral")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """An `EmotionClassifier` with trained weights."""

    weights: EmotionWeights
    min_confidence: float
    """An emotion that is less probable than this is answered as neutral."""

    def new_tracker(self) -> LinearTracker:
        """Return the state for a new session."""
        return LinearTracker(self)

    def scaled(self, features: Features) -> Floats:
        """Return features of any shape as [n], in standard deviations from the average speaker."""
        scaled: Floats = (features.reshape(-1) - self.weights.centre) / self.weights.scale
        return scaled

    def choose(self, probabilities: Floats) -> Emotion:
        """Return the most probable emotion of [7], or neutral if it is too improbable."""
        likeliest = int(probabilities.argmax())
        confident = probabilities[likeliest] >= self.min_confidence
        return EMOTIONS[likeliest if confident else _NEUTRAL]


class LinearTracker:
    """The running baseline of one session's speaker. See `EmotionTracker`."""

    def __init__(self, classifier: LinearClassifier) -> None:
        self._classifier = classifier
        self._sum = np.zeros_like(classifier.weights.centre)
        self._count = 0.0

    def guess(self, features: Features | None) -> Emotion:
        """Classify an utterance without adding it to the baseline."""
        if features is None:
            return "neutral"
        return self._classifier.choose(self.probabilities(features))

    def update(self, features: Features | None) -> Emotion:
        """Classify a complete utterance and add it to the baseline."""
        if features is None:
            return "neutral"
        probabilities = self.probabilities(features)
        self._add_to_baseline(self._classifier.scaled(features), probabilities)
        return self._classifier.choose(probabilities)

    def probabilities(self, features: Features) -> Floats:
        """Return the probabilities of EMOTIONS for an utterance, float32 [7]."""
        known = self._count + PRIOR_UTTERANCES
        weights = self._classifier.weights
        relative = self._classifier.scaled(features) - self._sum / known
        coldness = PRIOR_UTTERANCES / known
        temperature = _between(WARM_TEMPERATURE, COLD_TEMPERATURE, coldness)
        usual = _between(WARM_USUAL, COLD_USUAL, coldness)
        strangeness = max(1.0, float(np.mean(np.square(relative))) / usual)
        scores = weights.matrix @ relative + weights.bias
        return softmax(scores / (temperature * strangeness**2))

    def _add_to_baseline(self, scaled: Floats, probabilities: Floats) -> None:
        if self._count >= MEMORY_UTTERANCES:
            kept = (MEMORY_UTTERANCES - 1) / self._count
            self._sum, self._count = self._sum * kept, self._count * kept
        self._sum = self._sum + scaled - probabilities @ self._classifier.weights.offsets
        self._count += 1


class Neutral:
    """A classifier that answers `neutral` for everything. It has no state, so it is its own
    tracker."""

    def new_tracker(self) -> Neutral:
        """Return this object."""
        return self

    def guess(self, features: Features | None) -> Emotion:
        """Return neutral."""
        return "neutral"

    def update(self, features: Features | None) -> Emotion:
        """Return neutral."""
        return "neutral"


def softmax(scores: Floats) -> Floats:
    """Return the probabilities of scores [..., n] along the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def _between(warm: float, cold: float, coldness: float) -> float:
    return warm + (cold - warm) * coldness
