"""Every event a client may send, validated on construction by `codec.decode`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionUpdate:
    """Changes the configuration. Any number of times until the first audio; only the keys
    present change, all of them or none."""

    event_id: str | None
    session: dict[str, Any]
    """What is to change, as sent; not validated yet."""


@dataclass(frozen=True, slots=True)
class AudioAppend:
    """Audio, as fast as it comes or faster. Never acknowledged."""

    event_id: str | None
    audio: bytes
    """In base64. May be empty, may end in half a sample; the next append goes on from there."""


@dataclass(frozen=True, slots=True)
class AudioCommit:
    """Ends the turn in manual mode; without effect in VAD mode."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class AudioClear:
    """Forgets audio that was not committed."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class SessionFinish:
    """No more input: every turn is answered, then comes `session.finished`."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class Foreign:
    """An event of a sibling service that means nothing for recognition: ignored."""

    event_id: str | None
    type: str


ClientEvent = SessionUpdate | AudioAppend | AudioCommit | AudioClear | SessionFinish | Foreign

CLIENT_EVENTS: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": AudioAppend,
    "input_audio_buffer.commit": AudioCommit,
    "input_audio_buffer.clear": AudioClear,
    "session.finish": SessionFinish,
}
"""By their `type` on the wire; those that mean something for recognition."""
