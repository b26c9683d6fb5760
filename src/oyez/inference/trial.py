"""What a conversation will cost on this machine, from a sentence that ships with oyez."""

from __future__ import annotations

import time
import wave
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import as_file, files

import numpy as np

from oyez.recognisers.base import SAMPLE_RATE, Purpose, Recogniser, Request, Samples

PARTIAL_SAMPLES = 3 * SAMPLE_RATE
FINAL_SAMPLES = 4 * SAMPLE_RATE
"""Typical lengths in a conversation …"""
PARTIALS_PER_S = 0.2
FINALS_PER_S = 0.25
"""… and how many a session needs at least per second: it speaks half of the time, partials come at
their slowest, and every other final is in vain because speech resumes."""
TRYING_S = 0.5
BESIDES = 1.25
"""Sockets, decoding and voice activity take their part of the cores too."""


def session_cost(recogniser: Recogniser) -> float:
    """The share of the engine's time that a session needs: see `inference.load`. Takes a second,
    or what a partial and a final take; the engine should be warm."""
    speech = _sample()
    partial_s = _run_s(recogniser, Request(speech[:PARTIAL_SAMPLES], Purpose.PARTIAL, "en"))
    final_s = _run_s(recogniser, Request(speech[:FINAL_SAMPLES], Purpose.FINAL, "en"))
    needed_s = PARTIALS_PER_S * partial_s + FINALS_PER_S * final_s
    return BESIDES * needed_s / recogniser.info.parallel


def _run_s(recogniser: Recogniser, request: Request) -> float:
    """How long one call takes while all workers are busy with the same; the best of some tries,
    for others may use the machine."""

    def run(worker: int) -> float:
        began_s = time.monotonic()
        recogniser.recognise([request])
        return time.monotonic() - began_s

    workers = recogniser.info.parallel
    give_up_s = time.monotonic() + TRYING_S
    tries: list[float] = []
    with ThreadPoolExecutor(workers) as pool:
        while not tries or time.monotonic() < give_up_s:
            tries.append(sum(pool.map(run, range(workers))) / workers)
    return min(tries)


def _sample() -> Samples:
    with (
        as_file(files("oyez") / "assets" / "two_cities.wav") as path,
        wave.open(str(path)) as audio,
    ):
        data = audio.readframes(FINAL_SAMPLES)
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
