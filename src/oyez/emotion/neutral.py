"""The honest placeholder until a classifier is measured: every utterance is neutral."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oyez.emotion.base import Emotion


class Neutral:
    def classify(self, features: NDArray[np.float32] | None) -> Emotion:
        return "neutral"
