"""What a packet costs does not depend on how long the session has been going on."""

from __future__ import annotations

import base64
import gc
import itertools
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest

from oyez.engines.emotion import Neutral
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.effects import Effect, Recognise
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.session import Session
from oyez.testing import FakeDetector, FakeRecogniser
from support.driver import silence, speech, to_pcm

PACKETS_A_MINUTE = 600


def messages(*parts: np.ndarray) -> list[str]:
    """Packets of 100 ms."""
    pcm = to_pcm(np.concatenate(parts))
    return [
        json.dumps(
            {
                "type": "input_audio_buffer.append",
                "audio": base64.b64encode(pcm[start : start + 3200]).decode(),
            }
        )
        for start in range(0, len(pcm), 3200)
    ]


class Hour:
    """A session that hears the same minute again and again, with engines that need no model."""

    def __init__(self, minute: list[str]) -> None:
        assert len(minute) == PACKETS_A_MINUTE
        numbers = itertools.count()
        self.minute = minute
        self.effects = 0
        self._detector, self._recogniser = FakeDetector(), FakeRecogniser()
        self._session = Session(
            model="qwen3-asr-flash-realtime",
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            dialect=QwenDialect(SessionLimits()),
            limits=SessionLimits(),
            emotions=Neutral(),
            now_ms=0,
        )

    def listen(self) -> None:
        """For a minute."""
        for message in self.minute:
            event = self._session.dialect.decode(message)
            self._carry_out(self._session.receive(event, 0))
            while (windows := self._session.next_windows(64)) is not None:
                probabilities, _ = self._detector.score(windows, None)
                self._carry_out(self._session.scored(probabilities, 0))

    def _carry_out(self, effects: list[Effect]) -> None:
        self.effects += len(effects)
        for effect in effects:
            if isinstance(effect, Recognise):
                (answer,) = self._recogniser.recognise([effect.request])
                self._carry_out(self._session.recognised(effect.job, answer, 0))


def calls_of(run: Callable[[], None]) -> int:
    """How many functions it calls, Python's and built-in ones: cost without noise."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture(params=["turns", "monologue", "silence"])
def hour(request: pytest.FixtureRequest) -> Iterator[Hour]:
    minutes = {
        "turns": messages(*[speech(4.0), silence(2.0)] * 10),
        "monologue": messages(speech(60.0)),
        "silence": messages(silence(60.0)),
    }
    yield Hour(minutes[request.param])


@pytest.mark.slow
def test_the_last_minute_of_an_hour_costs_what_an_early_one_did(hour: Hour) -> None:
    for _ in range(2):
        hour.listen()
    early = calls_of(hour.listen)
    for _ in range(56):
        hour.listen()
    assert calls_of(hour.listen) < 1.05 * early


@pytest.mark.slow
def test_memory_does_not_grow_with_silence() -> None:
    hour = Hour(messages(silence(60.0)))
    hour.listen()
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            hour.listen()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 200_000, "which is the buffer, allocated anew"


def test_silence_has_no_effects_and_costs_little() -> None:
    hour = Hour(messages(silence(60.0)))
    hour.listen()
    assert hour.effects == 0
    assert calls_of(hour.listen) / PACKETS_A_MINUTE < 120
