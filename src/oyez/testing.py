"""Engines for tests of oyez and of programs built on it. They need no model and answer at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import WINDOW_SAMPLES, Scores, VoiceDetector
from oyez.engines.fake import FakeRecogniser

__all__ = ["FakeDetector", "FakeRecogniser"]


class FakeDetector(VoiceDetector):
    """Treats every window louder than -40 dBFS as speech. It keeps no state."""

    def initial_state(self) -> object:
        return None

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        windows = samples.reshape(-1, WINDOW_SAMPLES)
        loud = np.sqrt(np.mean(np.square(windows), axis=1)) > 0.01
        return np.where(loud, np.float32(0.98), np.float32(0.02)), state
