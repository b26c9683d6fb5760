"""What a conversation will cost on this machine, from a sentence that ships with oyez."""

from __future__ import annotations

import math
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import as_file, files

import numpy as np

from oyez.recognisers.base import SAMPLE_RATE, Purpose, Recogniser, Request, Samples

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


def session_cost(recogniser: Recogniser, threads: int) -> float:
    """The share of the engine's time that a session needs: see `inference.load`. Takes a second,
    or what two calls take; the engine should be warm.

    threads: how many the engine may use. It is their time that counts, not the clock's, for
    others may use the machine at the moment; what a GPU does is not seen.
    """
    speech = _sample()
    partial = Request(speech[:PARTIAL_SAMPLES], Purpose.PARTIAL, "en")
    final = Request(speech[:FINAL_SAMPLES], Purpose.FINAL, "en")
    needed_s = PARTIALS_PER_S * _job_s(recogniser, partial, recogniser.info.max_batch)
    needed_s += FINALS_PER_S * _job_s(recogniser, final, recogniser.info.max_batch_finals)
    return needed_s / threads


def _job_s(recogniser: Recogniser, request: Request, max_batch: int) -> float:
    """CPU time of one job, in a batch, while all workers do the same: the best of some tries."""
    batch = [request] * min(BATCH, max_batch)
    workers = recogniser.info.parallel
    enough_s = time.monotonic() + TRYING_S
    least_s = math.inf
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(TRIES):
            least_s = min(least_s, _cpu_s(pool, recogniser, [batch] * workers))
            if time.monotonic() > enough_s:
                break
    return least_s / (workers * len(batch))


def _cpu_s(
    pool: ThreadPoolExecutor, recogniser: Recogniser, batches: Sequence[Sequence[Request]]
) -> float:
    began_s = time.process_time()
    list(pool.map(recogniser.recognise, batches))
    return time.process_time() - began_s


def _sample() -> Samples:
    with (
        as_file(files("oyez") / "assets" / "two_cities.wav") as path,
        wave.open(str(path)) as audio,
    ):
        data = audio.readframes(FINAL_SAMPLES)
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
