"""What must hold for the events of any session, whatever happened in it."""

from __future__ import annotations

import re
from typing import Any

TEXT = "conversation.item.input_audio_transcription.text"
COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"
STARTED = "input_audio_buffer.speech_started"
STOPPED = "input_audio_buffer.speech_stopped"
COMMITTED = "input_audio_buffer.committed"
CREATED = "conversation.item.created"

ITEM_ORDER = re.compile(
    rf"^(?:{STARTED} (?:{TEXT} )*{STOPPED} )?(?:{TEXT} )*{COMMITTED} {CREATED} "
    rf"(?:{TEXT} )*(?:{COMPLETED}|{FAILED}) $"
)
LANGUAGES = {
    "zh", "yue", "en", "ja", "de", "ko", "ru", "fr", "pt", "ar", "it", "es", "hi", "id",
    "th", "tr", "uk", "vi", "cs", "da", "fil", "fi", "is", "ms", "no", "pl", "sv",
}  # fmt: skip
EMOTIONS = {"surprised", "neutral", "happy", "sad", "disgusted", "angry", "fearful"}


def check_events(events: list[dict[str, Any]]) -> None:
    """Raise AssertionError unless order, types and promises hold for a finished session."""
    types = [event["type"] for event in events]
    assert types[0] == "session.created"
    assert types.count("session.finished") <= 1
    if "session.finished" in types:
        assert types[-1] == "session.finished"
        check_transcript(events)
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids)
    check_items(events)
    check_fields(events)


def check_items(events: list[dict[str, Any]]) -> None:
    finished = any(event["type"] == "session.finished" for event in events)
    committed = [event["item_id"] for event in events if event["type"] == COMMITTED]
    done = [event["item_id"] for event in events if event["type"] in (COMPLETED, FAILED)]
    assert done == committed if finished else done == committed[: len(done)]
    previous = None
    for item_id in committed:
        own = [e for e in events if e.get("item_id", e.get("item", {}).get("id")) == item_id]
        if item_id in done:
            order = "".join(event["type"] + " " for event in own)
            assert ITEM_ORDER.match(order), order
        check_growth(own)
        for event in own:
            if event["type"] in (COMMITTED, CREATED):
                assert event["previous_item_id"] == previous
        previous = item_id


def check_growth(own: list[dict[str, Any]]) -> None:
    """`text` never shrinks or changes within an item."""
    text = ""
    for event in own:
        if event["type"] == TEXT:
            assert event["text"].startswith(text), (text, event["text"])
            text = event["text"]


def check_fields(events: list[dict[str, Any]]) -> None:
    for event in events:
        if event["type"] in (TEXT, COMPLETED):
            assert event["language"] in LANGUAGES
            assert event["emotion"] in EMOTIONS
            assert event["content_index"] == 0
        if event["type"] == TEXT:
            assert isinstance(event["text"], str) and isinstance(event["stash"], str)
        if event["type"] == COMPLETED:
            assert isinstance(event["transcript"], str)
        for key in ("audio_start_ms", "audio_end_ms"):
            if key in event:
                assert type(event[key]) is int and event[key] >= 0


def check_transcript(events: list[dict[str, Any]]) -> None:
    finals = [event["transcript"] for event in events if event["type"] == COMPLETED]
    joined = "".join(events[-1]["transcript"].split())
    assert joined == "".join("".join(finals).split())
