"""Loads and warms up all engines before the first session."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from oyez.engines import registry
from oyez.engines.base import (
    WINDOW_SAMPLES,
    EmotionClassifier,
    LoadError,
    Recogniser,
    VoiceDetector,
)
from oyez.engines.emotion import EmotionWeightsError, Neutral
from oyez.runtime.engine import EngineChoice, Progress, load_engine, reason
from oyez.runtime.engine_process import EngineProcess
from oyez.settings import Settings, load

__all__ = ["Engines", "LoadError", "load_engines", "load_on_cpu"]


@dataclass(frozen=True, slots=True)
class Engines:
    """All engines, loaded and warm."""

    recogniser: Recogniser
    detector: VoiceDetector
    emotion: EmotionClassifier
    session_cost: float = 0.0
    """The share of the recogniser's time that a session needs, as measured at the start."""
    call_s: float = 0.0
    """How long a call with some seconds of audio took at the start; 0 if unknown."""
    process: EngineProcess | None = None
    """The recogniser's own process, or None if it runs in this process."""

    @property
    def pid(self) -> int | None:
        """The id of the recogniser's own process, if it has one."""
        return self.process.pid if self.process else None

    def close(self) -> None:
        """End the recogniser's own process, if it has one."""
        if self.process:
            self.process.close()


def load_engines(
    settings: Settings,
    progress: Progress = lambda line: None,
    *,
    in_own_process: bool = False,
) -> Engines:
    """Load and warm up the engines that these settings choose. This blocks for seconds. Raises
    LoadError, whose message explains what to do.

    progress: called with lines for the operator. in_own_process: whether the recogniser runs in a
    process of its own, which `Engines.close` ends.
    """
    began_s = time.monotonic()
    progress(f"loading {settings.engine} ({settings.model}) on {settings.device}")
    choice = EngineChoice(
        engine=settings.engine,
        model=settings.model,
        device=settings.device,
        threads=settings.threads,
        cache_dir=str(settings.cache_dir),
        models_dir=str(settings.models_dir),
    )
    process = EngineProcess(choice, progress) if in_own_process else None
    try:
        recogniser, trial = (process, process.trial) if process else load_engine(choice, progress)
        detector = _load_detector(settings.vad)
        classifier = _load_emotion(settings, recogniser.info.feature_space)
    except BaseException:
        if process:
            process.close()
        raise
    if isinstance(classifier, Neutral) and settings.emotion != registry.OFF:
        progress(
            f"emotion {settings.emotion} is made for other models: every utterance will be neutral"
        )
    progress(f"loaded in {time.monotonic() - began_s:.1f} s")
    return Engines(recogniser, detector, classifier, trial.session_cost, trial.call_s, process)


def load_on_cpu(
    engine: str = "whisper-onnx",
    model: str = "base",
    threads: int = 0,
    vad: str = "silero",
    progress: Progress = lambda line: None,
) -> Engines:
    """Load and warm engines for a command that is not a server: on the CPU, without emotion.

    The folders are those of the settings in force. Raises SettingsError, LoadError.
    """
    chosen = {"engine": engine, "model": model, "threads": threads, "vad": vad}
    # not checked as settings are: an engine that does not exist is a LoadError
    update = {**chosen, "device": "cpu", "emotion": registry.OFF}
    return load_engines(load({}).model_copy(update=update), progress)


def _load_detector(vad: str) -> VoiceDetector:
    try:
        detector = registry.load_detector(vad)
        detector.score(np.zeros(WINDOW_SAMPLES, np.float32), detector.initial_state())
    except Exception as error:
        raise LoadError(f"voice activity detector {vad}: {reason(error)}") from error
    return detector


def _load_emotion(settings: Settings, feature_space: str) -> EmotionClassifier:
    emotion, confidence = settings.emotion, settings.emotion_confidence
    try:
        return registry.load_emotion_classifier(emotion, feature_space, confidence)
    except EmotionWeightsError as error:
        raise LoadError(f"emotion {emotion}: {error}") from error
