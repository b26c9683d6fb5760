"""Loads one recognition engine and tries it out, or says what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from oyez.engines import library
from oyez.engines import registry as recognisers
from oyez.engines.base import Recogniser
from oyez.runtime.calibration import Trial, try_out
from oyez.runtime.cpu_limits import cpu_share

BUILT_IN_MODEL = "base"
WHISPER = ("whisper-onnx", "whisper-ct2")

Progress = Callable[[str], None]


class LoadError(Exception):
    """An engine cannot be had; the message says what to do."""


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine, as the settings of the same names choose it."""

    engine: str
    model: str
    device: str
    threads: int
    """0 means every core this process may use, a container's limit included."""
    cache_dir: str
    models_dir: str | None
    """Where models are looked for by name."""

    @property
    def usable_threads(self) -> int:
        return self.threads or cpu_share().usable


def load_engine(
    choice: EngineChoice, progress: Progress, trial: Trial | None = None
) -> tuple[Recogniser, Trial]:
    """The engine, warm, and what a trial of it found. Takes seconds; blocks. Raises LoadError.

    trial: of the same engine earlier; it is not tried again then.
    """
    threads = choice.usable_threads
    cache_dir = Path(choice.cache_dir)
    try:
        recogniser = _load(choice, threads, cache_dir)
        progress("warming up")
        recogniser.warm_up()
        trial = trial or try_out(recogniser, threads)
        _check_words(choice, trial, progress)
    except LoadError:
        raise
    except Exception as error:
        if _is_of(error, cache_dir):
            raise LoadError(_unwritable(cache_dir, error)) from error
        raise LoadError(
            f"engine {choice.engine} with model {choice.model}: {reason(error)}"
        ) from error
    return recogniser, trial


def _check_words(choice: EngineChoice, trial: Trial, progress: Progress) -> None:
    """Damaged weights load and run, and what comes of them is nothing, or nonsense. The built-in
    model knows the sentence; another Whisper may be made for another language, and an engine of
    somebody's own for anything."""
    if choice.engine not in WHISPER or trial.knows_words:
        return
    name = f"engine {choice.engine} with model {choice.model}"
    if choice.model == BUILT_IN_MODEL or not trial.text.strip():
        raise LoadError(
            f"{name} does not recognise the sentence that every start tries it on: it made "
            f"{trial.text.strip()!r} of it; check the model's files with oyez models verify, and "
            "install oyez and its dependencies again if they are as they should be"
        )
    progress(f"{name} does not recognise an English sentence: {trial.text.strip()!r}")


def _load(choice: EngineChoice, threads: int, cache_dir: Path) -> Recogniser:
    model = _find_added(choice.model, choice.models_dir)
    engine_class = recognisers.find(choice.engine)
    if choice.engine == "whisper-ct2":
        loaded = engine_class.load(model, choice.device, threads)
    elif choice.device != "cpu":
        raise LoadError(f"engine {choice.engine} runs on the CPU only: choose --engine whisper-ct2")
    elif choice.engine == "whisper-onnx" and model != BUILT_IN_MODEL:
        loaded = engine_class.load(cache_dir, threads, _model_directory(model))
    else:
        loaded = engine_class.load(cache_dir, threads)
    recogniser: Recogniser = loaded
    return recogniser


def _find_added(model: str, models_dir: str | None) -> str:
    """The directory of a model that was added, else `model` itself."""
    found = library.find(Path(models_dir), model) if models_dir else None
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


def reason(error: Exception) -> str:
    """What went wrong, for people."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error} (is oyez installed with all its dependencies?)"
    return str(error) or type(error).__name__
