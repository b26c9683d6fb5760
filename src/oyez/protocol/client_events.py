"""Every event that a client may send, as typed objects. A codec makes them of the text of a socket;
files and benchmarks make them directly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from oyez.protocol.server_events import ErrorDetail, about


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """One message of the client."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class SessionUpdate(ClientEvent):
    """Changes the configuration, any number of times until the first audio. Only the keys that are
    present change, all of them or none."""

    session: dict[str, Any]
    """What is to change, as sent; not validated yet."""


@dataclass(frozen=True, slots=True)
class AudioAppend(ClientEvent):
    """Audio, at the pace of speech or faster. It is not acknowledged."""

    audio: Annotated[
        bytes,
        about(
            "In base64. It may be empty, or end in half a sample, which the next append continues."
        ),
    ]


class AudioCommit(ClientEvent):
    """Ends the turn in manual mode; without effect in VAD mode."""


class AudioClear(ClientEvent):
    """Discards audio that was not committed."""


class SessionFinish(ClientEvent):
    """No more input: every turn is answered, then comes `session.finished`."""


@dataclass(frozen=True, slots=True)
class UnsupportedEvent(ClientEvent):
    """An event of a sibling service that means nothing for recognition: ignored."""

    type: str


@dataclass(frozen=True, slots=True)
class Malformed(ClientEvent):
    """A message that is no event. The session answers it with its error, in its place among the
    other messages."""

    error: ErrorDetail
