"""Loads and warms every engine before the first session, or says what to do instead."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oyez.engines.base import Recogniser
from oyez.engines.emotion import registry as emotions
from oyez.engines.emotion.base import EmotionClassifier
from oyez.engines.emotion.neutral import Neutral
from oyez.engines.emotion.weights import EmotionWeightsError
from oyez.engines.vad import registry as detectors
from oyez.engines.vad.base import WINDOW_SAMPLES, VoiceDetector
from oyez.runtime.engine import EngineChoice, LoadError, Progress, load_engine, reason
from oyez.runtime.engine_process import EngineProcess
from oyez.settings import Settings, load

__all__ = ["Engines", "LoadError", "load_configured", "load_engines", "load_on_cpu"]


@dataclass(frozen=True, slots=True)
class Engines:
    """Everything that was loaded, warm."""

    recogniser: Recogniser
    detector: VoiceDetector
    emotion: EmotionClassifier
    session_cost: float = 0.0
    """The share of the recogniser's time that a session needs, as tried out at the start."""
    call_s: float = 0.0
    """How long a call of some seconds of audio took then; 0: not tried."""
    process: EngineProcess | None = None
    """The recogniser's process, where it has one of its own."""

    @property
    def pid(self) -> int | None:
        """Of the recogniser's process, where it has one of its own."""
        return self.process.pid if self.process else None

    def close(self) -> None:
        """End the recogniser's process, if it has one."""
        if self.process:
            self.process.close()


def load_engines(
    *,
    engine: str,
    model: str,
    device: str,
    threads: int,
    cache_dir: Path,
    vad: str,
    emotion: str = emotions.OFF,
    emotion_confidence: float = 0.0,
    models_dir: Path | None = None,
    progress: Progress = lambda line: None,
    in_own_process: bool = False,
) -> Engines:
    """Load and warm what the settings of the same names choose. Takes seconds; blocks.

    threads: 0 means every core this process may use, a container's limit included. models_dir:
    where models are looked for by name. in_own_process: the recogniser runs in a process of its
    own, which `Engines.close` ends. Raises LoadError.
    """
    began_s = time.monotonic()
    progress(f"loading {engine} ({model}) on {device}")
    choice = EngineChoice(
        engine=engine,
        model=model,
        device=device,
        threads=threads,
        cache_dir=str(cache_dir),
        models_dir=str(models_dir) if models_dir else None,
    )
    process = EngineProcess(choice, progress) if in_own_process else None
    try:
        recogniser, trial = (process, process.trial) if process else load_engine(choice, progress)
        detector = _load_detector(vad)
        classifier = _load_emotion(emotion, recogniser.info.feature_space, emotion_confidence)
    except BaseException:
        if process:
            process.close()
        raise
    if isinstance(classifier, Neutral) and emotion != emotions.OFF:
        progress(f"emotion {emotion} is made for other models: every utterance will be neutral")
    progress(f"loaded in {time.monotonic() - began_s:.1f} s")
    return Engines(recogniser, detector, classifier, trial.session_cost, trial.call_s, process)


def load_configured(
    settings: Settings,
    progress: Progress = lambda line: None,
    *,
    in_own_process: bool = False,
) -> Engines:
    """Load and warm what these settings choose, as `load_engines` does. Raises LoadError."""
    return load_engines(
        engine=settings.engine,
        model=settings.model,
        device=settings.device,
        threads=settings.threads,
        cache_dir=settings.cache_dir,
        models_dir=settings.models_dir,
        vad=settings.vad,
        emotion=settings.emotion,
        emotion_confidence=settings.emotion_confidence,
        progress=progress,
        in_own_process=in_own_process,
    )


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
    settings = load({})
    return load_engines(
        engine=engine,
        model=model,
        device="cpu",
        threads=threads,
        cache_dir=settings.cache_dir,
        models_dir=settings.models_dir,
        vad=vad,
        progress=progress,
    )


def _load_detector(vad: str) -> VoiceDetector:
    try:
        detector = detectors.load(vad)
        detector.score(np.zeros(WINDOW_SAMPLES, np.float32), detector.initial_state())
    except Exception as error:
        raise LoadError(f"voice activity detector {vad}: {reason(error)}") from error
    return detector


def _load_emotion(emotion: str, feature_space: str, confidence: float) -> EmotionClassifier:
    try:
        return emotions.load(emotion, feature_space, confidence)
    except EmotionWeightsError as error:
        raise LoadError(f"emotion {emotion}: {error}") from error
