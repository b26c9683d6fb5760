"""What a conversation will cost on this machine, and whether the engine understands, from a
sentence that ships with oyez."""

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
FINAL_SAMPLES = 4 * SAMPLE_RATE
"""Typical lengths in a conversation …"""
PARTIALS_PER_S = 0.2
FINALS_PER_S = 0.2
"""… and how many a session needs at least per second: it speaks half of the time, partials come at
their slowest, and a turn of some seconds has one final and now and then another in vain."""
TRIES = 3
TRYING_S = 0.5
SENTENCE = frozenset({"best", "times", "worst"})
"""Words of its beginning that any model which knows English recognises."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the trial at the start found out."""

    session_cost: float
    """The share of the engine's time that a session needs: see `inference.load`."""
    call_s: float
    """How long the slowest call took, by the clock."""
    text: str
    """What the engine makes of the sentence."""

    @property
    def knows_words(self) -> bool:
        """Whether any word of the sentence is in the text."""
        return not SENTENCE.isdisjoint(re.findall(r"[a-z]+", self.text.lower()))


def try_out(recogniser: Recogniser, threads: int) -> Trial:
    """Takes a second, or what two calls take; the engine should be warm. Raises whatever the engine
    raises, and a RecognitionError that it answers.

    threads: how many the engine may use. The cost counts their time, not the clock's, for others
    may use the machine at the moment; what a GPU does is not seen.
    """
    speech = _sample()
    partial = Request(speech[:PARTIAL_SAMPLES], Purpose.PARTIAL, "en")
    final = Request(speech[:FINAL_SAMPLES], Purpose.FINAL, "en")
    partials = _Tries(recogniser, partial, recogniser.info.max_batch)
    finals = _Tries(recogniser, final, recogniser.info.max_batch_finals)
    needed_s = PARTIALS_PER_S * partials.job_cpu_s + FINALS_PER_S * finals.job_cpu_s
    return Trial(
        session_cost=needed_s / threads,
        call_s=max(partials.slowest_s, finals.slowest_s),
        text=finals.text,
    )


class _Tries:
    """One request, in a batch, while all workers do the same, some times."""

    def __init__(self, recogniser: Recogniser, request: Request, max_batch: int) -> None:
        batch = [request] * min(BATCH, max_batch)
        workers = recogniser.info.parallel
        cpu_s, clock_s = [], []
        enough_s = time.monotonic() + TRYING_S
        with ThreadPoolExecutor(workers) as pool:
            for _ in range(TRIES):
                began_cpu_s, began_s = time.process_time(), time.monotonic()
                answers = list(pool.map(recogniser.recognise, [batch] * workers))
                cpu_s.append(time.process_time() - began_cpu_s)
                clock_s.append(time.monotonic() - began_s)
                if time.monotonic() > enough_s:
                    break
        self.job_cpu_s = min(cpu_s) / (workers * len(batch))
        self.slowest_s = max(clock_s)
        self.text = _text(answers[0])


def _text(answers: Sequence[Hypothesis | RecognitionError]) -> str:
    answer = answers[0]
    if isinstance(answer, RecognitionError):
        raise answer
    return answer.text


def _sample() -> Samples:
    with (
        as_file(files("oyez") / "assets" / "two_cities.wav") as path,
        wave.open(str(path)) as audio,
    ):
        data = audio.readframes(FINAL_SAMPLES)
    return pcm16_to_samples(np.frombuffer(data, "<i2"))
