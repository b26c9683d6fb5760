"""A turn may go on for ever: nothing about it may cost more with time."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece, Purpose
from oyez.turns.segment import RecognitionNeed, SegmentSettings
from oyez.turns.turn import Turn

WORD_SAMPLES = 6_400
"""Of 150 words a minute."""


def hear(need: RecognitionNeed) -> Hypothesis:
    """An engine that hears one numbered word after another."""
    first = -(-need.start // WORD_SAMPLES)
    pieces = tuple(
        Piece(f" {n}", (n,), (n + 1) * WORD_SAMPLES - need.start, 0.9)
        for n in range(first, need.end // WORD_SAMPLES)
    )
    return Hypothesis((*need.prefix, *pieces[len(need.prefix) :]), "en")


@dataclass
class Minute:
    partials: int = 0
    audio_samples: int = 0
    longest_samples: int = 0
    calls: int = 0
    """Of Python and C functions."""

    def note(self, need: RecognitionNeed) -> None:
        samples = need.end - need.start
        self.partials += need.purpose is Purpose.PARTIAL
        self.audio_samples += samples
        self.longest_samples = max(self.longest_samples, samples)

    def count(self, frame: FrameType, event: str, argument: Any) -> None:
        self.calls += event in ("call", "c_call")


def talk(turn: Turn, minute: Minute, windows: range) -> None:
    for index in windows:
        sys.setprofile(minute.count)
        needs = turn.feed(0.9, (index + 1) * WINDOW_SAMPLES)
        sys.setprofile(None)
        for need in needs:
            minute.note(need)
            answer = hear(need)
            sys.setprofile(minute.count)
            turn.on_result(need, answer)
            _ = turn.stable_text, turn.unstable_text
            sys.setprofile(None)


@pytest.fixture(scope="module")
def monologue() -> tuple[Turn, list[Minute]]:
    """Ten minutes without a pause."""
    turn, minutes = Turn(0, SegmentSettings(release=0.4)), [Minute() for _ in range(10)]
    edges = [SAMPLE_RATE * 60 * n // WINDOW_SAMPLES for n in range(11)]
    for minute, (start, end) in zip(minutes, pairwise(edges), strict=True):
        talk(turn, minute, range(start, end))
    return turn, minutes


def test_every_minute_of_a_monologue_takes_the_same_work(
    monologue: tuple[Turn, list[Minute]],
) -> None:
    minutes = monologue[1][1:]
    calls = [minute.calls for minute in minutes]
    audio = [minute.audio_samples for minute in minutes]
    assert max(calls) < 1.1 * min(calls), calls
    assert max(audio) < 1.2 * min(audio), audio
    assert all(118 <= minute.partials <= 121 for minute in minutes)
    assert all(minute.longest_samples <= 20 * SAMPLE_RATE for minute in minutes)


def test_a_monologue_is_shown_whole_and_no_word_twice(
    monologue: tuple[Turn, list[Minute]],
) -> None:
    turn, _ = monologue
    numbers = [int(word) for word in turn.stable_text.replace(".", "").split()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 10 * 60 * 2.5 - 10
