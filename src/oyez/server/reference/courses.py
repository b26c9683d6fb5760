"""The usual course of a session, in either mode: which event follows which."""

from __future__ import annotations

_TEXT = "conversation.item.input_audio_transcription.text"
_TURN = (
    "input_audio_buffer.committed",
    "conversation.item.created",
    _TEXT,
    "conversation.item.input_audio_transcription.completed",
)
_BEGIN = ("session.created", "session.update", "session.updated", "input_audio_buffer.append")
_END = ("session.finish", "session.finished")

COURSES: dict[str, tuple[str, ...]] = {
    "VAD mode": (
        *_BEGIN,
        "input_audio_buffer.speech_started",
        _TEXT,
        "input_audio_buffer.speech_stopped",
        *_TURN,
        *_END,
    ),
    "Manual mode": (*_BEGIN, _TEXT, "input_audio_buffer.commit", *_TURN, *_END),
}
"""With one turn. Appends and interim text come many times, interim text perhaps not at all."""
