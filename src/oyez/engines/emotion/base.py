"""The contract of emotion classifiers. Pure types: any room may import this module."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Emotion = Literal["surprised", "neutral", "happy", "sad", "disgusted", "angry", "fearful"]
EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)

Features = NDArray[np.float32]
"""`Hypothesis.features` of one utterance."""


class EmotionListener(Protocol):
    """Hears the utterances of one session, in order, and comes to know who speaks.

    Where there is nothing to judge (None) or too little evidence, the answer is `neutral`.
    """

    def guess(self, features: Features | None) -> Emotion:
        """What an utterance that goes on sounds like so far. Remembers nothing."""
        ...

    def hear(self, features: Features | None) -> Emotion:
        """Name the emotion of an utterance that is over."""
        ...


class EmotionClassifier(Protocol):
    """A loaded classifier; knows no session."""

    def listener(self) -> EmotionListener:
        """Somebody to hear a new session."""
        ...
