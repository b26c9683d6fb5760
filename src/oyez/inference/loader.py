"""Loads and warms every engine before the first session, or says what to do instead."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oyez.emotion import registry as emotions
from oyez.emotion.base import EmotionClassifier
from oyez.emotion.neutral import Neutral
from oyez.emotion.weights import EmotionWeightsError
from oyez.inference.machine import cpu_share
from oyez.inference.trial import try_out
from oyez.recognisers import library
from oyez.recognisers import registry as recognisers
from oyez.recognisers.base import Recogniser
from oyez.settings import Settings
from oyez.vad import registry as detectors
from oyez.vad.base import WINDOW_SAMPLES, VoiceDetector

BUILT_IN_MODEL = "base"


class LoadError(Exception):
    """An engine cannot be had; the message says what to do."""


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
    progress: Callable[[str], None] = lambda line: None,
) -> Engines:
    """Load and warm what the settings of the same names choose. Takes seconds; blocks.

    threads: 0 means every core this process may use, a container's limit included. models_dir:
    where models are looked for by name. Raises LoadError.
    """
    began_s = time.monotonic()
    progress(f"loading {engine} ({model}) on {device}")
    threads = threads or cpu_share().usable
    try:
        found = _find_added(model, models_dir)
        recogniser = _load_recogniser(engine, found, device, threads, cache_dir)
        progress("warming up")
        recogniser.warm_up()
        trial = try_out(recogniser, threads)
    except LoadError:
        raise
    except Exception as error:
        if _is_of(error, cache_dir):
            raise LoadError(_unwritable(cache_dir, error)) from error
        raise LoadError(f"engine {engine} with model {model}: {_reason(error)}") from error
    try:
        detector = detectors.load(vad)
        detector.score(np.zeros(WINDOW_SAMPLES, np.float32), detector.initial_state())
    except Exception as error:
        raise LoadError(f"voice activity detector {vad}: {_reason(error)}") from error
    try:
        classifier = emotions.load(emotion, recogniser.info.feature_space, emotion_confidence)
    except EmotionWeightsError as error:
        raise LoadError(f"emotion {emotion}: {error}") from error
    if isinstance(classifier, Neutral) and emotion != emotions.OFF:
        progress(f"emotion {emotion} is made for other models: every utterance will be neutral")
    progress(f"loaded in {time.monotonic() - began_s:.1f} s")
    return Engines(recogniser, detector, classifier, trial.session_cost, trial.call_s)


def load_configured(
    settings: Settings, progress: Callable[[str], None] = lambda line: None
) -> Engines:
    """Load and warm what these settings choose. Takes seconds; blocks. Raises LoadError."""
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
    )


def _load_recogniser(
    engine: str, model: str, device: str, threads: int, cache_dir: Path
) -> Recogniser:
    engine_class = recognisers.find(engine)
    if engine == "whisper-ct2":
        loaded = engine_class.load(model, device, threads)
    elif device != "cpu":
        raise LoadError(f"engine {engine} runs on the CPU only: choose --engine whisper-ct2")
    elif engine == "whisper-onnx" and model != BUILT_IN_MODEL:
        loaded = engine_class.load(cache_dir, threads, _model_directory(model))
    else:
        loaded = engine_class.load(cache_dir, threads)
    recogniser: Recogniser = loaded
    return recogniser


def _find_added(model: str, models_dir: Path | None) -> str:
    """The directory of a model that was added, else `model` itself."""
    found = library.find(models_dir, model) if models_dir else None
    return str(found.directory) if found else model


def _model_directory(model: str) -> Path:
    directory = Path(model)
    if not directory.is_dir():
        raise LoadError(
            f"model {model} is no directory and was not added: whisper-onnx takes "
            f"'{BUILT_IN_MODEL}', the name of a model that oyez models list shows, or a directory "
            "in CTranslate2's format; for hub names choose --engine whisper-ct2"
        )
    return directory


def _is_of(error: Exception, directory: Path) -> bool:
    """Whether it is about this directory: what is in it, or where it was to be made."""
    if not (isinstance(error, OSError) and isinstance(error.filename, str)):
        return False
    path, directory = Path(error.filename).absolute(), directory.absolute()
    return path.is_relative_to(directory) or directory.is_relative_to(path)


def _unwritable(cache_dir: Path, error: Exception) -> str:
    why = getattr(error, "strerror", None) or error
    return (
        f"cache_dir {cache_dir} cannot be used: {why}; choose a place that can be written with "
        "--cache-dir"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error} (is oyez installed with all its dependencies?)"
    return str(error) or type(error).__name__
