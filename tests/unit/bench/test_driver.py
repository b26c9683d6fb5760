"""The in-process pipeline behind the accuracy benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.driver import transcribe
from oyez.engines.base import Hypothesis, Purpose, RecognitionError, Request
from oyez.engines.fake import FakeRecogniser
from oyez.engines.vad.energy import EnergyDetector


def said(*seconds: float) -> Samples:
    """Loud stretches of these lengths, a second of silence around each."""
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    parts = [quiet]
    for length in seconds:
        time_s = np.arange(int(length * SAMPLE_RATE)) / SAMPLE_RATE
        parts += [(0.5 * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32), quiet]
    return np.concatenate(parts)


class Failing(FakeRecogniser):
    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        return [RecognitionError("no") for _ in requests]


def test_every_turn_is_recognised() -> None:
    engine = FakeRecogniser()
    result = transcribe(said(2, 1.5), recogniser=engine, detector=EnergyDetector(), language="de")
    assert len(result.finals) == 2
    assert result.language == "de"
    assert result.text == " ".join(text for text, _ in result.finals)
    assert {request.purpose for request in engine.requests} == {Purpose.FINAL}


def test_partials_change_no_final() -> None:
    engine = FakeRecogniser()
    with_partials = transcribe(said(3), recogniser=engine, detector=EnergyDetector(), partials=True)
    without = transcribe(said(3), recogniser=FakeRecogniser(), detector=EnergyDetector())
    assert with_partials.interims > without.interims
    assert with_partials.finals == without.finals
    assert with_partials.retractions == with_partials.rewordings == 0


def test_silence_has_no_text_and_no_language() -> None:
    result = transcribe(
        np.zeros(2 * SAMPLE_RATE, np.float32),
        recogniser=FakeRecogniser(),
        detector=EnergyDetector(),
    )
    assert result.text == "" and result.language is None and not result.finals


def test_failures_are_kept() -> None:
    result = transcribe(said(2), recogniser=Failing(), detector=EnergyDetector())
    assert len(result.failures) == 1
