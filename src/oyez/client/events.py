"""What a client reads of server events. Forgiving: any server of the protocol may send more, less
or other events than oyez does."""

from __future__ import annotations

from typing import get_args

import msgspec

_ITEM = "conversation.item.input_audio_transcription."


class Created(msgspec.Struct, tag="session.created", tag_field="type"):
    """The session began."""


class Updated(msgspec.Struct, tag="session.updated", tag_field="type"):
    """A `session.update` was accepted."""


class Started(msgspec.Struct, tag="input_audio_buffer.speech_started", tag_field="type"):
    item_id: str = ""
    audio_start_ms: int = 0


class Stopped(msgspec.Struct, tag="input_audio_buffer.speech_stopped", tag_field="type"):
    item_id: str = ""
    audio_end_ms: int = 0


class Committed(msgspec.Struct, tag="input_audio_buffer.committed", tag_field="type"):
    """A turn is over and its item will be answered."""

    item_id: str = ""


class Interim(msgspec.Struct, tag=_ITEM + "text", tag_field="type"):
    item_id: str = ""
    text: str = ""
    """Confirmed."""
    stash: str = ""
    """Tentative."""
    language: str = ""
    emotion: str = ""


class Final(msgspec.Struct, tag=_ITEM + "completed", tag_field="type"):
    item_id: str = ""
    transcript: str = ""
    language: str = ""
    emotion: str = ""


class Detail(msgspec.Struct):
    message: str = ""
    code: str | None = None
    event_id: str | None = None
    """The id of the client's event that was refused, if it had one."""


class Failed(msgspec.Struct, tag=_ITEM + "failed", tag_field="type"):
    item_id: str = ""
    error: Detail = msgspec.field(default_factory=Detail)


class Refused(msgspec.Struct, tag="error", tag_field="type"):
    """An `error` event."""

    error: Detail = msgspec.field(default_factory=Detail)


class Finished(msgspec.Struct, tag="session.finished", tag_field="type"):
    """Everything was answered."""


class Other(msgspec.Struct):
    """An event that means nothing to a reader of texts."""

    type: str = ""


Known = (
    Created
    | Updated
    | Started
    | Stopped
    | Committed
    | Interim
    | Final
    | Failed
    | Refused
    | Finished
)
Event = Known | Other

_known: msgspec.json.Decoder[Known] = msgspec.json.Decoder(Known)
_other = msgspec.json.Decoder(Other)
_TYPES = {each.__struct_config__.tag for each in get_args(Known)}


def parse(message: str | bytes) -> Event:
    """One frame. Raises msgspec.DecodeError for what is no event."""
    other = _other.decode(message)
    return _known.decode(message) if other.type in _TYPES else other
