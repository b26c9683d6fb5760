"""Loads a recogniser, tries it on a sentence that is installed with oyez, and runs batches on it.

The trial shows how much a conversation will cost on this machine, and whether the engine recognises
words.
"""

from __future__ import annotations

import logging
import re
import time
import wave
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples, pcm16_to_samples
from oyez.engines import library, registry
from oyez.engines.base import (
    BUILT_IN_MODEL,
    EngineOptions,
    LoadError,
    Purpose,
    Recogniser,
    RecognitionError,
    Request,
)
from oyez.runtime.cpu_limits import cpu_share
from oyez.runtime.job import EngineLost, Outcome

TRIED_BATCH = 4
"""Jobs in a call of the trial, as on a busy server."""
PARTIAL_SAMPLES = 3 * SAMPLE_RATE
FINAL_SAMPLES = 4 * SAMPLE_RATE
"""Typical length of a partial and of a final in a conversation."""
PARTIALS_PER_S = 0.2
"""Fewest partials that a session needs per second. It speaks half of the time, and partials come at
their slowest acceptable rate."""
FINALS_PER_S = 0.2
"""Finals that a session needs per second. A turn of some seconds has one, and sometimes another
that is discarded because the speaker continues."""
MAX_TRIES = 3
MAX_TRYING_S = 0.5
"""No further try begins after this time."""
KNOWN_WORDS = frozenset({"best", "times", "worst"})
"""Words of the sentence that any model for English recognises."""

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
    models_dir: str

    @property
    def usable_threads(self) -> int:
        """The number of threads, at least 1."""
        return self.threads or cpu_share().usable

    @property
    def label(self) -> str:
        """The engine and its model, for messages."""
        return f"engine {self.engine} with model {self.model}"


class Trial(msgspec.Struct, frozen=True):
    """The result of trying an engine at the start."""

    session_cost: float
    """The share of the engine's time that a session needs: see `runtime.capacity`."""
    call_s: float
    """Wall-clock time of the slowest call."""
    text: str
    """The text that the engine recognised."""

    @property
    def has_known_words(self) -> bool:
        """Whether any of KNOWN_WORDS is in the text."""
        return not KNOWN_WORDS.isdisjoint(re.findall(r"[a-z]+", self.text.lower()))


@runtime_checkable
class Restartable(Protocol):
    """A recogniser whose engine can be ended during a call, and then starts again."""

    is_up: bool
    """Whether the engine can be called now."""
    is_lost: bool
    """Whether it could not be started again and will not be tried any more."""

    def restart(self) -> None:
        """End the engine. All running calls raise EngineLost."""


def load_engine(
    choice: EngineChoice, progress: Progress, trial: Trial | None = None
) -> tuple[Recogniser, Trial]:
    """Load an engine, warm it up and try it. Returns it with the result of the trial. This blocks
    for seconds. Raises LoadError if the engine cannot be loaded, or does not work.

    trial: the result of an earlier trial of the same engine, which is then not repeated.
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
        if not _is_about(error, cache_dir):
            raise LoadError(f"{choice.label}: {reason(error)}") from error
        raise LoadError(
            f"cache_dir {cache_dir} cannot be used: {getattr(error, 'strerror', None) or error}; "
            "choose a place that can be written with --cache-dir"
        ) from error
    return recogniser, trial


def run_batch(recogniser: Recogniser, requests: Sequence[Request]) -> list[Outcome]:
    """Answer every request, in order. Any exception of the engine, even SystemExit, becomes an
    answer, except EngineLost, which is raised.

    If the engine fails on the batch, each request is tried alone, so that one bad request fails
    only itself.
    """
    try:
        answers = recogniser.recognise(requests)
        if len(answers) != len(requests):
            raise RecognitionError(f"{len(requests)} requests, {len(answers)} answers")
        return list(answers)
    except EngineLost:
        raise
    except BaseException as error:
        fields = {"requests": len(requests)}
        log.warning("the engine failed on a batch", extra={"fields": fields, "rate_limit": True})
        if len(requests) != 1:
            return [outcome for request in requests for outcome in run_batch(recogniser, [request])]
        if isinstance(error, RecognitionError):
            return [error]
        log.error("the engine raised", exc_info=error, extra={"rate_limit": True})
        failure = RecognitionError(f"{type(error).__name__}: {error}")
        failure.__cause__ = error
        return [failure]


def try_out(recogniser: Recogniser, threads: int) -> Trial:
    """Measure a warm engine. This takes about a second, or as long as two calls.

    The cost is measured in CPU time, because other programs may use the machine at the moment. The
    work of a GPU is therefore not measured. Raises any exception of the engine, also a
    RecognitionError that it returns.

    threads: how many threads the engine may use.
    """
    speech, info = _sentence(), recogniser.info
    partial = Request(speech[:PARTIAL_SAMPLES], Purpose.PARTIAL, "en")
    final = Request(speech[:FINAL_SAMPLES], Purpose.FINAL, "en")
    partial_cpu_s, slowest_partial_s, _ = _measure(recogniser, partial, info.max_batch)
    final_cpu_s, slowest_final_s, text = _measure(recogniser, final, info.max_batch_finals)
    needed_s = PARTIALS_PER_S * partial_cpu_s + FINALS_PER_S * final_cpu_s
    return Trial(needed_s / threads, max(slowest_partial_s, slowest_final_s), text)


def reason(error: Exception) -> str:
    """Return what went wrong, for people."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error} (is oyez installed with all its dependencies?)"
    return str(error) or type(error).__name__


def _load(choice: EngineChoice) -> Recogniser:
    engine_class = registry.find_recogniser(choice.engine)
    if choice.device not in engine_class.devices:
        raise LoadError(f"engine {choice.engine} runs on the CPU only: choose --engine whisper-ct2")
    # a model that was added with `oyez models add`, else what the engine makes of the name
    added = library.find(Path(choice.models_dir), choice.model)
    return engine_class.load(
        EngineOptions(
            model=str(added.directory) if added else choice.model,
            device=choice.device,
            threads=choice.usable_threads,
            cache_dir=choice.cache_dir,
        )
    )


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


def _is_about(error: Exception, directory: Path) -> bool:
    """Return whether an error is about this directory, a file in it, or one of its parents."""
    if not (isinstance(error, OSError) and isinstance(error.filename, str)):
        return False
    path, directory = Path(error.filename).absolute(), directory.absolute()
    return path.is_relative_to(directory) or directory.is_relative_to(path)


def _measure(recogniser: Recogniser, request: Request, max_batch: int) -> tuple[float, float, str]:
    """Run a batch of equal requests on all workers at the same time, several times. Returns the CPU
    time of one job in the fastest try, the wall-clock time of the slowest try, and the text. Raises
    the RecognitionError that the engine returns."""
    batch = [request] * min(TRIED_BATCH, max_batch)
    workers = recogniser.info.parallel
    cpu_s, clock_s = [], []
    end_s = time.monotonic() + MAX_TRYING_S
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(MAX_TRIES):
            began_cpu_s, began_s = time.process_time(), time.monotonic()
            answers = list(pool.map(recogniser.recognise, [batch] * workers))
            cpu_s.append(time.process_time() - began_cpu_s)
            clock_s.append(time.monotonic() - began_s)
            if time.monotonic() > end_s:
                break
    answer = answers[0][0]
    if isinstance(answer, RecognitionError):
        raise answer
    return min(cpu_s) / (workers * len(batch)), max(clock_s), answer.text


def _sentence() -> Samples:
    sentence = files("oyez") / "assets" / "two_cities.wav"
    with sentence.open("rb") as file, wave.open(file) as audio:
        return pcm16_to_samples(np.frombuffer(audio.readframes(FINAL_SAMPLES), "<i2"))
