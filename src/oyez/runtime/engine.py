"""Loads a recogniser and tries it, and runs batches on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from oyez.engines import library, registry
from oyez.engines.base import (
    BUILT_IN_MODEL,
    EngineOptions,
    LoadError,
    Recogniser,
    RecognitionError,
    Request,
)
from oyez.runtime.calibration import Trial, try_out
from oyez.runtime.cpu_limits import cpu_share
from oyez.runtime.job import EngineLost, Outcome

Progress = Callable[[str], None]
"""Called with a line for the operator while an engine is loaded."""

log = logging.getLogger(__name__)


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine to load. The fields have the meaning of the settings of the same names."""

    engine: str
    model: str
    device: str
    threads: int
    """0 means all cores that this process may use, within the limits of its container."""
    cache_dir: str
    models_dir: str | None
    """Where models are found by name, or None."""

    @property
    def usable_threads(self) -> int:
        """The number of threads, at least 1."""
        return self.threads or cpu_share().usable

    @property
    def label(self) -> str:
        """The engine and its model, for messages."""
        return f"engine {self.engine} with model {self.model}"


def load_engine(
    choice: EngineChoice, progress: Progress, trial: Trial | None = None
) -> tuple[Recogniser, Trial]:
    """Load an engine, warm it up and try it. Returns it with the result of the trial. This blocks
    for seconds.

    trial: the result of an earlier trial of the same engine, which is then not repeated.

    Raises:
        LoadError: the engine cannot be loaded, or does not work.
    """
    cache_dir = Path(choice.cache_dir)
    try:
        recogniser = _load(choice)
        progress("warming up")
        recogniser.warm_up()
        trial = trial or try_out(recogniser, choice.usable_threads)
        if recogniser.info.has_speech_model and not trial.has_known_words:
            _report_missing_words(choice, trial, progress)
    except LoadError:
        raise
    except Exception as error:
        if _is_about(error, cache_dir):
            raise LoadError(_unwritable(cache_dir, error)) from error
        raise LoadError(f"{choice.label}: {reason(error)}") from error
    return recogniser, trial


def run_batch(recogniser: Recogniser, requests: Sequence[Request]) -> list[Outcome]:
    """Answer every request, in order. Any exception of the engine, even SystemExit, becomes an
    answer, except EngineLost.

    If the engine fails on the batch, each request is tried alone, so that one bad request fails
    only itself.

    Raises:
        EngineLost: the engine ended during the call.
    """
    try:
        return _call(recogniser, requests)
    except EngineLost:
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything
        fields = {"requests": len(requests)}
        log.warning("the engine failed on a batch", extra={"fields": fields, "rate_limit": True})
        if len(requests) == 1:
            return [_as_recognition_error(error)]
        return [outcome for request in requests for outcome in run_batch(recogniser, [request])]


def reason(error: Exception) -> str:
    """Return what went wrong, for people."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error} (is oyez installed with all its dependencies?)"
    return str(error) or type(error).__name__


def _load(choice: EngineChoice) -> Recogniser:
    model = _model_path(choice.model, choice.models_dir)
    engine_class = registry.find_recogniser(choice.engine)
    if choice.device not in engine_class.devices:
        raise LoadError(f"engine {choice.engine} runs on the CPU only: choose --engine whisper-ct2")
    return engine_class.load(
        EngineOptions(
            model=model,
            device=choice.device,
            threads=choice.usable_threads,
            cache_dir=choice.cache_dir,
        )
    )


def _model_path(model: str, models_dir: str | None) -> str:
    """Return the directory of a model that was added with `oyez models add`, else `model`."""
    found = library.find(Path(models_dir), model) if models_dir else None
    return str(found.directory) if found else model


def _report_missing_words(choice: EngineChoice, trial: Trial, progress: Progress) -> None:
    """Raise LoadError if the engine's weights must be damaged, or else report a line.

    Damaged weights can be loaded and run, but give no text or nonsense. The built-in model
    recognises the English sentence of the trial. Another model may be for another language, so it
    is enough if it gives any text.
    """
    text = trial.text.strip()
    if choice.model == BUILT_IN_MODEL or not text:
        raise LoadError(
            f"{choice.label} does not recognise the sentence that every start tries it on: it made "
            f"{text!r} of it; check the model's files with oyez models verify, and "
            "install oyez and its dependencies again if they are as they should be"
        )
    progress(f"{choice.label} does not recognise an English sentence: {text!r}")


def _call(recogniser: Recogniser, requests: Sequence[Request]) -> list[Outcome]:
    answers = recogniser.recognise(requests)
    if len(answers) != len(requests):
        raise RecognitionError(f"{len(requests)} requests, {len(answers)} answers")
    return list(answers)


def _as_recognition_error(error: BaseException) -> RecognitionError:
    if isinstance(error, RecognitionError):
        return error
    log.error("the engine raised", exc_info=error, extra={"rate_limit": True})
    wrapped = RecognitionError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def _is_about(error: Exception, directory: Path) -> bool:
    """Return whether an error is about this directory, a file in it, or one of its parents."""
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
