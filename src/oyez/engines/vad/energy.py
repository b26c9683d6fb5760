"""Speech is what is loud: a detector without weights or dependencies, for tests and small boxes.

It cannot tell speech from music or noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oyez.engines.vad.base import WINDOW_SAMPLES, Scores, VoiceDetector, window_count

_EVEN_ODDS_DB = -48.0
"""The level, in dB below full scale, that counts as speech with probability 0.5."""
_SLOPE_DB = 3.0
_FLOOR = 1e-10


class EnergyDetector(VoiceDetector):
    """A VoiceDetector without state: each window is judged by its own mean power."""

    def initial_state(self) -> object:
        return None

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        windows = samples.reshape(window_count(samples), WINDOW_SAMPLES)
        level_db = 10 * np.log10(np.mean(windows**2, axis=1) + _FLOOR)
        probabilities = 1 / (1 + np.exp((_EVEN_ODDS_DB - level_db) / _SLOPE_DB))
        return probabilities.astype(np.float32), state
