"""What is counted from the events of a session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oyez.bench.latency import Outcome
from oyez.bench.load import Take
from oyez.client import Event, parse


def outcome(*events: tuple[float, str, dict[str, Any]]) -> Outcome:
    """(audio time in s, end of the type, fields) of one item."""
    return Outcome.of(Take(100.0, [(100 + at, event(kind, rest)) for at, kind, rest in events]))


def event(kind: str, fields: dict[str, Any]) -> Event:
    speech = kind.startswith("speech")
    prefix = "input_audio_buffer." if speech else "conversation.item.input_audio_transcription."
    return parse(json.dumps({"type": prefix + kind, "item_id": "i", **fields}))


def test_one_turn() -> None:
    found = outcome(
        (1.3, "speech_started", {"audio_start_ms": 700}),
        (1.6, "text", {"text": "", "stash": "it"}),
        (2.1, "text", {"text": "It", "stash": " was"}),
        (4.0, "speech_stopped", {"audio_end_ms": 3950}),
        (4.05, "completed", {"transcript": "It was."}),
    )
    assert found.first_words == pytest.approx([500])
    assert found.first_confirmed == pytest.approx([1000])
    assert found.between_interims == pytest.approx([500])
    assert found.longest_gaps == pytest.approx([1900])
    assert found.final_after_stop == pytest.approx([50])
    assert found.final_after_speech == pytest.approx([850])
    assert (found.finals, found.retractions, found.rewordings) == (["It was."], 0, 0)
    assert found.failed == found.unanswered == 0


def test_a_turn_without_interims_has_its_first_words_in_its_final() -> None:
    found = outcome(
        (1.3, "speech_started", {"audio_start_ms": 700}),
        (4.0, "speech_stopped", {"audio_end_ms": 3950}),
        (4.1, "completed", {"transcript": "It was."}),
    )
    assert found.first_words == pytest.approx([3000])
    assert found.first_confirmed == found.between_interims == found.longest_gaps == []


def test_finals_that_contradict_are_counted() -> None:
    found = [
        outcome(
            (1.3, "speech_started", {"audio_start_ms": 700}),
            (2.0, "text", {"text": "It", "stash": ""}),
            (4.0, "speech_stopped", {"audio_end_ms": 3950}),
            (4.0, "completed", {"transcript": transcript}),
        )
        for transcript in ("it was", "He was")
    ]
    both = found[0] + found[1]
    assert (both.finals, both.retractions, both.rewordings) == (["it was", "He was"], 2, 1)
