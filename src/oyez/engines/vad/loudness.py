"""Brings a stream to an even level, whoever speaks how far away.

What is loud counts at once, so that no beginning is overdriven, and is forgotten slowly, so that a
pause does not make the room loud. A window's gain follows from the audio up to its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oyez.engines.vad.base import WINDOW_SAMPLES

_WINDOWS_PER_S = 16_000 / WINDOW_SAMPLES
_TARGET_DB = -28.0
"""Level, below full scale, of the loudest window lately heard."""
_RELEASE_DB_PER_S = 3.0
_MAX_GAIN_DB = 30.0
_UNHEARD_DB = -45.0


def _power(level_db: float) -> float:
    return float(10 ** (level_db / 10))


_TARGET = _power(_TARGET_DB)
_FLOOR = _power(_TARGET_DB - _MAX_GAIN_DB)
_KEPT = _power(-_RELEASE_DB_PER_S / _WINDOWS_PER_S)

UNHEARD = _power(_UNHEARD_DB)
"""Loudness of a stream before its first window: soft, for who is loud is heard either way."""


def follow(windows: NDArray[np.float32], loudness: float) -> tuple[NDArray[np.float32], float]:
    """Gains for windows [n, WINDOW_SAMPLES] of one stream, in order, [n]; and the loudness after.

    loudness: mean power of the loudest window lately heard. Cutting a stream into other calls
    gives the same.
    """
    followed = []
    for energy in np.einsum("ij,ij->i", windows, windows).tolist():
        loudness = max(energy / WINDOW_SAMPLES, loudness * _KEPT, _FLOOR)
        followed.append(loudness)
    return np.sqrt(_TARGET / np.array(followed)).astype(np.float32), loudness
