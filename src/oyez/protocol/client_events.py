"""Every event a client may send, as typed objects. The codec makes them of the text of a socket;
files and benchmarks make them directly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from oyez.protocol.server_events import ErrorDetail, about


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
    audio: Annotated[
        bytes,
        about(
            "In base64. May be empty, may end in half a sample; the next append goes on from there."
        ),
    ]


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
class UnsupportedEvent:
    """An event of a sibling service that means nothing for recognition: ignored."""

    event_id: str | None
    type: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is no event. The session answers it with its error, in its place among the
    other messages."""

    event_id: str | None
    error: ErrorDetail


ClientEvent = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | SessionFinish
    | UnsupportedEvent
    | Malformed
)
