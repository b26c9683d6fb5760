"""Which language the engine detects in the first seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.driver import detect_language, first_turn
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Purpose, RecognitionError, Request
from oyez.engines.fake import FakeRecogniser
from oyez.engines.vad.energy import EnergyDetector

PREFIX_SAMPLES = 300 * SAMPLE_RATE // 1000


class Danish(FakeRecogniser):
    """Detects Danish in less than two seconds, then Norwegian."""

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        super().recognise(requests)
        (request,) = requests
        if len(request.samples) > self.info.max_samples:
            return [RecognitionError("too long")]
        return [Hypothesis((), "da" if len(request.samples) < 2 * SAMPLE_RATE else "no")]


class Failing(FakeRecogniser):
    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        return [RecognitionError("no") for _ in requests]


def loud(*seconds: float) -> Samples:
    """Loud stretches of these lengths, a second of silence around each."""
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    noise = np.random.default_rng(0)
    parts = [quiet]
    for length in seconds:
        parts += [noise.normal(0, 0.2, int(length * SAMPLE_RATE)).astype(np.float32), quiet]
    return np.concatenate(parts)


def test_the_first_turn_with_a_second_of_speech_is_found() -> None:
    turn = first_turn(loud(0.2, 2, 3), EnergyDetector())
    assert turn is not None
    onset, end = int(2.2 * SAMPLE_RATE), int(4.2 * SAMPLE_RATE)
    started, ended = turn
    assert onset - WINDOW_SAMPLES < started.onset_samples <= onset
    assert 0 < started.onset_samples - started.at_samples <= PREFIX_SAMPLES
    assert end <= ended.speech_end_samples < end + WINDOW_SAMPLES


def test_a_turn_that_the_recording_cuts_off_ends_with_it() -> None:
    samples = loud(2)[: 2 * SAMPLE_RATE + 5 * WINDOW_SAMPLES]
    turn = first_turn(samples, EnergyDetector())
    assert turn and turn[1].speech_end_samples <= len(samples)


def test_each_part_is_requested_without_a_hint() -> None:
    engine = Danish()
    found = detect_language(loud(2.5), recogniser=engine, detector=EnergyDetector())
    assert found == {"1 s": "da", "2 s": "no", "turn": "no"}
    lengths = [len(request.samples) - PREFIX_SAMPLES for request in engine.requests]
    assert lengths[:2] == [SAMPLE_RATE, 2 * SAMPLE_RATE]
    assert 2.5 * SAMPLE_RATE - WINDOW_SAMPLES <= lengths[2] <= 2.6 * SAMPLE_RATE
    for request in engine.requests:
        assert request.language is None and request.purpose is Purpose.PARTIAL


def test_a_long_turn_is_recognised_as_far_as_a_request_goes() -> None:
    found = detect_language(loud(40), recogniser=Danish(), detector=EnergyDetector())
    assert found == {"1 s": "da", "2 s": "no", "3 s": "no", "turn": "no"}


def test_failures_are_no_language_and_silence_is_no_part() -> None:
    assert set(
        detect_language(loud(2), recogniser=Failing(), detector=EnergyDetector()).values()
    ) == {None}
    assert detect_language(loud(0.5), recogniser=Danish(), detector=EnergyDetector()) == {}
