"""Tries an engine on a sentence that is installed with oyez: how much a conversation will cost on
this machine, and whether the engine recognises words."""

from __future__ import annotations

import re
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples, pcm16_to_samples
from oyez.engines.base import Hypothesis, Purpose, Recogniser, RecognitionError, Request

BATCH = 4
"""Jobs in a call, as on a busy server."""
PARTIAL_SAMPLES = 3 * SAMPLE_RATE
"""Typical length of a partial in a conversation."""
FINAL_SAMPLES = 4 * SAMPLE_RATE
"""Typical length of a final in a conversation."""
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


@dataclass(frozen=True, slots=True)
class Trial:
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


def try_out(recogniser: Recogniser, threads: int) -> Trial:
    """Measure a warm engine. This takes about a second, or as long as two calls.

    The cost is measured in CPU time, because other programs may use the machine at the moment. The
    work of a GPU is therefore not measured. Raises any exception of the engine, also a
    RecognitionError that it returns.

    threads: how many threads the engine may use.
    """
    speech = _sentence()
    partial = Request(speech[:PARTIAL_SAMPLES], Purpose.PARTIAL, "en")
    final = Request(speech[:FINAL_SAMPLES], Purpose.FINAL, "en")
    partials = _measure(recogniser, partial, recogniser.info.max_batch)
    finals = _measure(recogniser, final, recogniser.info.max_batch_finals)
    needed_s = PARTIALS_PER_S * partials.job_cpu_s + FINALS_PER_S * finals.job_cpu_s
    return Trial(
        session_cost=needed_s / threads,
        call_s=max(partials.slowest_s, finals.slowest_s),
        text=finals.text,
    )


@dataclass(frozen=True, slots=True)
class _Measurement:
    job_cpu_s: float
    """CPU time of one job in the fastest try."""
    slowest_s: float
    """Wall-clock time of the slowest try."""
    text: str


def _measure(recogniser: Recogniser, request: Request, max_batch: int) -> _Measurement:
    """Run a batch of equal requests on all workers at the same time, several times."""
    batch = [request] * min(BATCH, max_batch)
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
    return _Measurement(
        job_cpu_s=min(cpu_s) / (workers * len(batch)),
        slowest_s=max(clock_s),
        text=_first_text(answers[0]),
    )


def _first_text(answers: Sequence[Hypothesis | RecognitionError]) -> str:
    answer = answers[0]
    if isinstance(answer, RecognitionError):
        raise answer
    return answer.text


def _sentence() -> Samples:
    with (
        as_file(files("oyez") / "assets" / "two_cities.wav") as path,
        wave.open(str(path)) as audio,
    ):
        data = audio.readframes(FINAL_SAMPLES)
    return pcm16_to_samples(np.frombuffer(data, "<i2"))
