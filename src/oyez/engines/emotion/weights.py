"""The weights of the linear emotion classifier, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import EMOTIONS

SHIPPED = ("open", "research")
"""Names of the weights that are installed with oyez, each with a model card and its licence."""

_DATA = Path(__file__).parent / "data"
_ARRAYS = ("centre", "scale", "matrix", "bias", "offsets")


class EmotionWeightsError(Exception):
    """A weights file is missing, damaged or made for something else. The message names the file and
    the reason."""


def find_weights(name: str) -> Path:
    """Return the file of the shipped weights called `name`, or else `name` as a path."""
    return _DATA / f"{name}.npz" if name in SHIPPED else Path(name)


@dataclass(frozen=True, slots=True)
class EmotionWeights:
    """A linear classifier of features [n] into EMOTIONS. All arrays are float32.

    Raises EmotionWeightsError if an array has the wrong shape or a number is not finite.
    """

    space: str
    """The `Info.feature_space` that the weights were trained on."""
    centre: NDArray[np.float32]
    """[n], the features of the average speaker."""
    scale: NDArray[np.float32]
    """[n], the standard deviations around `centre`."""
    matrix: NDArray[np.float32]
    """[7, n], one row for each of EMOTIONS."""
    bias: NDArray[np.float32]
    """[7]; very low for an emotion that was not in the training data."""
    offsets: NDArray[np.float32]
    """[7, n], how each emotion differs from the speaker's average, in scaled features."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """The origin of the weights: corpora, licences, seed."""

    def __post_init__(self) -> None:
        count, size = len(EMOTIONS), len(self.centre)
        shapes = {
            "centre": (size,),
            "scale": (size,),
            "matrix": (count, size),
            "bias": (count,),
            "offsets": (count, size),
        }
        for name, shape in shapes.items():
            array: NDArray[np.float32] = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise EmotionWeightsError(f"{name}: expected finite numbers of shape {shape}")

    def save(self, file: Path) -> None:
        """Write the weights to `file`. Equal weights make equal files. Raises OSError."""
        about = json.dumps({"space": self.space, **self.about}, sort_keys=True)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with file.open("wb") as out:
            np.savez(out, about=np.frombuffer(about.encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, file: Path) -> EmotionWeights:
        """Read a file that `save` wrote. Raises EmotionWeightsError."""
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
