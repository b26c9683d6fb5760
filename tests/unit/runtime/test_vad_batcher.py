from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from oyez.engines.base import WINDOW_SAMPLES, AudioChunk, Scores
from oyez.runtime import vad_batcher
from oyez.runtime.session_runner import MAX_WINDOWS, SessionRunner
from oyez.runtime.vad_batcher import MAX_WINDOWS_PER_ROUND, ROUND_S, VadBatcher
from oyez.testing import FakeDetector
from support.waiting import eventually, stays

LOUD, SILENT = 0.5, 0.0


def windows(count: int, level: float = LOUD) -> np.ndarray:
    return np.full(count * WINDOW_SAMPLES, level, np.float32)


class CountingDetector(FakeDetector):
    """Notes how many windows each call has."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score_many(self, stretches: Sequence[AudioChunk]) -> list[Scores]:
        if stretches:
            self.calls.append(sum(len(samples) for samples, _ in stretches) // WINDOW_SAMPLES)
        return super().score_many(stretches)


class Speaker(SessionRunner):
    """In place of a session: has so many windows to score, `at_once` per slice."""

    def __init__(
        self, batcher: VadBatcher, count: int, *, at_once: int = MAX_WINDOWS, level: float = LOUD
    ) -> None:
        self.scores: list[float] = []
        self.failure: Exception | None = None
        self.done = asyncio.Event()
        self._batcher, self._left, self._at_once, self._level = batcher, count, at_once, level

    def ask(self) -> None:
        self._batcher.schedule(self)

    def take_slice(self) -> AudioChunk | None:
        count = min(self._left, self._at_once)
        self._left -= count
        return (windows(count, self._level), None) if count else None

    def scored(self, outcome: Scores | Exception) -> None:
        if isinstance(outcome, Exception):
            self.failure = outcome
        else:
            self.scores += outcome[0].tolist()
        if self._left:
            self._batcher.schedule(self, behind=True)
        else:
            self.done.set()


async def all_done(*speakers: Speaker) -> None:
    async with asyncio.timeout(5.0):
        for speaker in speakers:
            await speaker.done.wait()


@pytest.fixture
def long_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So long that no busy machine can make a test miss one."""
    monkeypatch.setattr(vad_batcher, "ROUND_S", 0.3)


async def test_each_session_gets_its_own_scores() -> None:
    batcher = VadBatcher(FakeDetector())
    speakers = [Speaker(batcher, count, level=level) for count, level in ((2, LOUD), (3, SILENT))]
    for speaker in speakers:
        speaker.ask()
    await all_done(*speakers)
    assert [probability > 0.5 for probability in speakers[0].scores] == [True] * 2
    assert [probability > 0.5 for probability in speakers[1].scores] == [False] * 3


@pytest.mark.usefixtures("long_rounds")
async def test_sessions_of_a_round_share_one_call() -> None:
    detector = CountingDetector()
    batcher = VadBatcher(detector)
    first, *others = [Speaker(batcher, 3) for _ in range(9)]
    first.ask()
    await all_done(first)
    for speaker in others:
        speaker.ask()
        await asyncio.sleep(0)
    await all_done(*others)
    assert detector.calls == [3, 8 * 3]


@pytest.mark.usefixtures("long_rounds")
async def test_no_session_waits_after_an_idle_period_or_when_it_is_behind() -> None:
    batcher = VadBatcher(FakeDetector())
    speaker = Speaker(batcher, 20, at_once=1)
    began_s = asyncio.get_running_loop().time()
    speaker.ask()
    await all_done(speaker)
    assert asyncio.get_running_loop().time() - began_s < 0.3


@pytest.mark.usefixtures("long_rounds")
async def test_a_session_that_is_behind_makes_the_round_begin_at_once() -> None:
    detector = CountingDetector()
    batcher = VadBatcher(detector)
    first, patient, hasty = (Speaker(batcher, 1) for _ in range(3))
    first.ask()
    await all_done(first)
    patient.ask()
    await stays(lambda: not patient.done.is_set(), for_s=0.01)
    batcher.schedule(hasty, behind=True)
    await eventually(lambda: detector.calls == [1, 2], timeout_s=0.2)


async def test_a_call_is_bounded_and_files_do_not_hold_up_speakers() -> None:
    detector = CountingDetector()
    batcher = VadBatcher(detector)
    files = [Speaker(batcher, 50 * MAX_WINDOWS) for _ in range(5)]
    live = Speaker(batcher, 3)
    for speaker in (*files, live):
        speaker.ask()
    await all_done(live)
    scores = [len(speaker.scores) for speaker in files]
    assert max(scores) <= 2 * MAX_WINDOWS, "each has one slice before any has another"
    assert not any(speaker.done.is_set() for speaker in files)
    await all_done(*files)
    assert max(detector.calls) < MAX_WINDOWS_PER_ROUND + MAX_WINDOWS


async def test_others_get_the_event_loop_between_two_calls() -> None:
    detector = CountingDetector()
    batcher = VadBatcher(detector)
    speaker = Speaker(batcher, 10 * MAX_WINDOWS)
    speaker.ask()
    seen = set()
    while not speaker.done.is_set():
        seen.add(len(detector.calls))
        await asyncio.sleep(0)
    assert seen >= set(range(1, 10))


async def test_what_fails_for_one_stream_fails_for_no_other() -> None:
    class Picky(FakeDetector):
        def score(self, samples: np.ndarray, state: object) -> Scores:
            if not samples.any():
                raise ZeroDivisionError
            return super().score(samples, state)

    batcher = VadBatcher(Picky())
    speakers = [Speaker(batcher, 1, level=level) for level in (LOUD, SILENT, LOUD)]
    for speaker in speakers:
        speaker.ask()
    await all_done(*speakers)
    assert [len(speaker.scores) for speaker in speakers] == [1, 0, 1]
    assert isinstance(speakers[1].failure, ZeroDivisionError)


async def test_no_session_has_a_slice_after_the_end() -> None:
    detector = CountingDetector()
    batcher = VadBatcher(detector)
    Speaker(batcher, 1).ask()
    batcher.stop()
    await asyncio.sleep(2 * ROUND_S)
    assert not detector.calls
