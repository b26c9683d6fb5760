"""What is counted from the events of a session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oyez.bench.latency import Waits
from oyez.bench.load import Recording
from oyez.client import Event, parse


def recording(*events: tuple[float, str, dict[str, Any]]) -> Recording:
    """(audio time in s, end of the type, fields) of one item."""
    return Recording(100.0, [(100 + at, event(kind, rest)) for at, kind, rest in events])


def event(kind: str, fields: dict[str, Any]) -> Event:
    speech = kind.startswith("speech")
    prefix = "input_audio_buffer." if speech else "conversation.item.input_audio_transcription."
    return parse(json.dumps({"type": prefix + kind, "item_id": "i", **fields}))


def test_one_turn() -> None:
    waits = Waits()
    waits.add(
        recording(
            (1.3, "speech_started", {"audio_start_ms": 700}),
            (1.6, "text", {"text": "", "stash": "it"}),
            (2.1, "text", {"text": "It", "stash": " was"}),
            (4.0, "speech_stopped", {"audio_end_ms": 3950}),
            (4.05, "completed", {"transcript": "It was."}),
        )
    )
    assert waits.first_words == pytest.approx([500])
    assert waits.first_confirmed == pytest.approx([1000])
    assert waits.between_interims == pytest.approx([500])
    assert waits.final_after_stop == pytest.approx([50])
    assert waits.final_after_speech == pytest.approx([850])
    assert (waits.turns, waits.retractions, waits.rewordings) == (1, 0, 0)


def test_a_final_that_contradicts_is_counted() -> None:
    waits = Waits()
    for transcript in ("it was", "He was"):
        waits.add(
            recording(
                (1.3, "speech_started", {"audio_start_ms": 700}),
                (2.0, "text", {"text": "It", "stash": ""}),
                (4.0, "speech_stopped", {"audio_end_ms": 3950}),
                (4.0, "completed", {"transcript": transcript}),
            )
        )
    assert (waits.turns, waits.retractions, waits.rewordings) == (2, 2, 1)
