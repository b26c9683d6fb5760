"""The contract of emotion classifiers. Pure types: any room may import this module."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Emotion = Literal["surprised", "neutral", "happy", "sad", "disgusted", "angry", "fearful"]
EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)


class EmotionClassifier(Protocol):
    def classify(self, features: NDArray[np.float32] | None) -> Emotion:
        """Name the emotion of one utterance from `Hypothesis.features`."""
        ...
