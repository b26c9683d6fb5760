from __future__ import annotations

import numpy as np

from oyez.inference.vad_pool import VadPool
from oyez.testing import FakeDetector


def test_windows_are_scored_on_another_thread() -> None:
    pool = VadPool(FakeDetector())
    loud = np.full(512, 0.5, np.float32)
    samples = np.concatenate([loud, np.zeros(512, np.float32)])
    probabilities, _ = pool.score(samples, pool.initial_state()).result(5.0)
    assert [probability > 0.5 for probability in probabilities] == [True, False]
    pool.stop()
