"""Every event a client may send, validated on construction by `codec.decode`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionUpdate:
    """`session.update`: only the keys present change."""

    event_id: str | None
    session: dict[str, Any]
    """As sent; `session_config.merge` validates it."""


@dataclass(frozen=True, slots=True)
class AudioAppend:
    """`input_audio_buffer.append`: never acknowledged."""

    event_id: str | None
    audio: bytes
    """Decoded from base64; may be empty, may end in half a sample."""


@dataclass(frozen=True, slots=True)
class AudioCommit:
    """`input_audio_buffer.commit`: ends the turn in manual mode."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class AudioClear:
    """`input_audio_buffer.clear`: forgets audio that was not committed."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class SessionFinish:
    """`session.finish`: no more input; answer everything, then `session.finished`."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class Foreign:
    """An event of a sibling service that means nothing for recognition: ignored."""

    event_id: str | None
    type: str


ClientEvent = SessionUpdate | AudioAppend | AudioCommit | AudioClear | SessionFinish | Foreign
