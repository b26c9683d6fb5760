"""Finds engines by name. An engine's module is imported only when the engine is chosen."""

from __future__ import annotations

from pkgutil import resolve_name

from oyez.engines.base import EmotionClassifier, RecogniserClass, VoiceDetector
from oyez.engines.emotion import EmotionWeights, LinearClassifier, Neutral, find_weights

RECOGNISERS: dict[str, str] = {
    "fake": "oyez.engines.fake:FakeRecogniser",
    "whisper-onnx": "oyez.engines.whisper_onnx.engine:WhisperOnnx",
    "whisper-ct2": "oyez.engines.whisper_ct2:WhisperCt2",
}
"""Name to "module:class". Each class is a `RecogniserClass`."""

DETECTORS: dict[str, str] = {
    "silero": "oyez.engines.vad.silero:SileroDetector",
    "energy": "oyez.engines.vad.energy:EnergyDetector",
}
"""Name to "module:class". Each class is a `VoiceDetector`."""

OFF = "off"
"""The name of the emotion classifier that answers `neutral` for everything."""


def find_recogniser(name: str) -> RecogniserClass:
    """Return the class of the recogniser called `name`. Raises ValueError if there is none; the
    message lists the names."""
    if name not in RECOGNISERS:
        raise ValueError(
            f"no recogniser is called {name!r}; there are: {', '.join(sorted(RECOGNISERS))}"
        )
    found: RecogniserClass = resolve_name(RECOGNISERS[name])
    return found


def load_detector(name: str) -> VoiceDetector:
    """Load the voice activity detector called `name`. Raises ValueError if there is none; the
    message lists the names."""
    if name not in DETECTORS:
        raise ValueError(
            f"unknown voice detector {name!r}: choose one of {', '.join(sorted(DETECTORS))}"
        )
    detector: VoiceDetector = resolve_name(DETECTORS[name])()
    return detector


def load_emotion_classifier(
    name: str, feature_space: str, min_confidence: float
) -> EmotionClassifier:
    """Load the emotion classifier called `name`, for a recogniser with this `Info.feature_space`.

    name: "off", one of `emotion.SHIPPED`, or the path of a file that `research/emotion` wrote.
    If the weights were trained on another feature space, the classifier answers `neutral` for
    everything. min_confidence: less probable emotions are answered as `neutral`. Raises
    EmotionWeightsError if the file is missing, damaged or made for something else.
    """
    weights = None if name == OFF else EmotionWeights.load(find_weights(name))
    if weights is None or weights.space != feature_space:
        return Neutral()
    return LinearClassifier(weights, min_confidence)
