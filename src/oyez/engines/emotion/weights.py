"""The numbers of a linear emotion classifier, and the file they are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from oyez.engines.emotion.base import EMOTIONS

_ARRAYS = ("centre", "scale", "matrix", "bias", "offsets")


class EmotionWeightsError(Exception):
    """A file of weights is missing, damaged or made for something else; says which and why."""


@dataclass(frozen=True, slots=True)
class EmotionWeights:
    """A linear classifier of features [n] into EMOTIONS, all float32."""

    space: str
    """The `Info.feature_space` it was trained on."""
    centre: NDArray[np.float32]
    """[n], what the average speaker sounds like."""
    scale: NDArray[np.float32]
    """[n], deviations around it."""
    matrix: NDArray[np.float32]
    """[7, n], of EMOTIONS."""
    bias: NDArray[np.float32]
    """[7]; very small for an emotion that was in no training data."""
    offsets: NDArray[np.float32]
    """[7, n], how each emotion differs from the speaker's average, in scaled features."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Where they come from: corpora, licence, seed."""

    def __post_init__(self) -> None:
        count, size = len(EMOTIONS), len(self.centre)
        shapes = {"centre": (size,), "scale": (size,), "matrix": (count, size), "bias": (count,),
                  "offsets": (count, size)}  # fmt: skip
        for name, shape in shapes.items():
            array: NDArray[np.float32] = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise EmotionWeightsError(f"{name}: expected finite numbers of shape {shape}")

    def save(self, file: Path) -> None:
        """Write them to `file`; equal weights make equal files. Raises OSError."""
        about = json.dumps({"space": self.space, **self.about}, sort_keys=True)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with file.open("wb") as out:
            np.savez(out, about=np.frombuffer(about.encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, file: Path) -> EmotionWeights:
        """What `save` wrote. Raises EmotionWeightsError."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                about = json.loads(stored["about"].tobytes())
                arrays = {name: stored[name].astype(np.float32) for name in _ARRAYS}
            return cls(about.pop("space"), **arrays, about=about)
        except OSError as error:
            raise EmotionWeightsError(f"{file}: {error.strerror or error}") from error
        except (
            KeyError,
            ValueError,
            EOFError,
            BadZipFile,
            TypeError,
            EmotionWeightsError,
        ) as error:
            raise EmotionWeightsError(f"{file}: not emotion weights: {error}") from error
