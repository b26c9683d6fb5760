"""Emotion classifiers by name. Weights that come with oyez are in `data/`, each with its model
card and licence."""

from __future__ import annotations

from pathlib import Path

from oyez.engines.emotion.base import EmotionClassifier
from oyez.engines.emotion.linear import LinearClassifier
from oyez.engines.emotion.neutral import Neutral
from oyez.engines.emotion.weights import EmotionWeights

DATA = Path(__file__).parent / "data"
SHIPPED = ("open", "research")
OFF = "off"


def find_weights(name: str) -> Path:
    """The file of shipped weights, or else of that path."""
    return DATA / f"{name}.npz" if name in SHIPPED else Path(name)


def load(name: str, feature_space: str, min_confidence: float) -> EmotionClassifier:
    """The classifier `name` ("open", "research", "off", or a file that `research/emotion` wrote)
    for an engine whose features are of `feature_space`. Where the engine's features are others
    than it was trained on, everything is neutral.

    Raises EmotionWeightsError.
    """
    if name == OFF:
        return Neutral()
    weights = EmotionWeights.load(find_weights(name))
    if weights.space != feature_space:
        return Neutral()
    return LinearClassifier(weights, min_confidence)
