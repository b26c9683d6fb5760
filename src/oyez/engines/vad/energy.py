"""A voice activity detector without weights or dependencies: what is loud counts as speech.

It is for tests and very small machines. It cannot tell speech from music or noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import WINDOW_SAMPLES, Scores, VoiceDetector, window_count

_MIDDLE_DB = -48.0
"""The level, relative to full scale, that counts as speech with probability 0.5."""
_SLOPE_DB = 3.0
_MIN_POWER = 1e-10


class EnergyDetector(VoiceDetector):
    """Scores each window by its own mean power. It has no state."""

    def initial_state(self) -> object:
        """Return None."""
        return None

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        """Score whole windows of one stream; see `VoiceDetector.score`."""
        windows = samples.reshape(window_count(samples), WINDOW_SAMPLES)
        level_db = 10 * np.log10(np.mean(windows**2, axis=1) + _MIN_POWER)
        probabilities = 1 / (1 + np.exp((_MIDDLE_DB - level_db) / _SLOPE_DB))
        return probabilities.astype(np.float32), state
