"""The emotion classifier: a linear one, which scores each utterance relative to its speaker.

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

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import EMOTIONS, Emotion, Features

SHIPPED = ("open", "research")
"""Names of the weights that are installed with oyez, each with a model card and its licence."""

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

_ARRAYS = ("centre", "scale", "matrix", "bias", "offsets")
_NEUTRAL = EMOTIONS.index("neutral")

Floats = NDArray[np.float32]


class EmotionWeightsError(Exception):
    """A weights file is missing, damaged or made for something else. The message names the file and
    the reason."""


_NOT_WEIGHTS = (KeyError, ValueError, EOFError, BadZipFile, TypeError, EmotionWeightsError)
"""What reading another file as weights raises."""


def find_weights(name: str) -> Path:
    """Return the file of the shipped weights called `name`, or else `name` as a path."""
    data = Path(__file__).parent / "emotion_data"
    return data / f"{name}.npz" if name in SHIPPED else Path(name)


@dataclass(frozen=True, slots=True)
class EmotionWeights:
    """A linear classifier of features [n] into EMOTIONS. All arrays are float32.

    Raises EmotionWeightsError if an array has the wrong shape or a number is not finite.
    """

    space: str
    """The `Info.feature_space` that the weights were trained on."""
    centre: Floats
    """[n], the features of the average speaker."""
    scale: Floats
    """[n], the standard deviations around `centre`."""
    matrix: Floats
    """[7, n], one row for each of EMOTIONS."""
    bias: Floats
    """[7]; very low for an emotion that was not in the training data."""
    offsets: Floats
    """[7, n], how each emotion differs from the speaker's average, in scaled features."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """The origin of the weights: corpora, licences, seed."""

    def __post_init__(self) -> None:
        one, all_ = (len(self.centre),), (len(EMOTIONS), len(self.centre))
        shapes = (one, one, all_, all_[:1], all_)
        for (name, array), shape in zip(self._arrays().items(), shapes, strict=True):
            if array.shape != shape or not np.isfinite(array).all():
                raise EmotionWeightsError(f"{name}: expected finite numbers of shape {shape}")

    def save(self, file: Path) -> None:
        """Write the weights to `file`. Equal weights make equal files. Raises OSError."""
        about = json.dumps({"space": self.space, **self.about}, sort_keys=True)
        with file.open("wb") as out:
            np.savez(out, about=np.frombuffer(about.encode(), np.uint8), **self._arrays())

    @classmethod
    def load(cls, file: Path) -> EmotionWeights:
        """Read a file that `save` wrote. Raises EmotionWeightsError."""
        try:
            # numpy leaves a file open that it cannot read
            with file.open("rb") as source, np.load(source, allow_pickle=False) as stored:
                about = json.loads(stored["about"].tobytes())
                arrays = {name: stored[name].astype(np.float32) for name in _ARRAYS}
            return cls(about.pop("space"), **arrays, about=about)
        except OSError as error:
            raise EmotionWeightsError(f"{file}: {error.strerror or error}") from error
        except _NOT_WEIGHTS as error:
            raise EmotionWeightsError(f"{file}: not emotion weights: {error}") from error

    def _arrays(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _ARRAYS}


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
        temperature = WARM_TEMPERATURE + (COLD_TEMPERATURE - WARM_TEMPERATURE) * coldness
        usual = WARM_USUAL + (COLD_USUAL - WARM_USUAL) * coldness
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

    update = guess


def softmax(scores: Floats) -> Floats:
    """Return the probabilities of scores [..., n] along the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
