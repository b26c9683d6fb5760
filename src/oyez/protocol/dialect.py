"""What a wire format is to a session, and a session's configuration without one.

frame ─► Dialect.decode ─► ClientEvent ─► Session ─► effects ─► Dialect.encode ─► frames
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from oyez.protocol.client_events import ClientEvent
from oyez.protocol.effects import Effect
from oyez.protocol.server_events import SessionInfo


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How voice activity begins and ends turns."""

    threshold: float = 0.2
    """From -1 to 1: speech begins at the probability (threshold + 1) / 2."""
    silence_duration_ms: int = 800
    """Silence that ends a turn."""
    prefix_padding_ms: int = 300
    """Audio before the first speech that belongs to the turn."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The configuration that is in force in a session."""

    codec_name: Literal["pcm", "opus"] = "pcm"
    sample_rate: int = 16000
    """The rate of PCM that comes in, in Hz."""
    language: str | None = None
    """One of the 27 codes; None: it is detected."""
    context: str = ""
    """Names and terms that the speaker may use."""
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)
    """None: manual mode, where the client ends turns."""


class Dialect(Protocol):
    """One wire format. Each session has an object of its own, which keeps the configuration."""

    late_update: str
    """The message of the error for an update that comes after the first audio."""
    empty_commit: str
    """The message of the error for a commit in manual mode without audio since the last one."""

    @property
    def config(self) -> SessionConfig:
        """The configuration that is in force."""
        ...

    def decode(self, message: str | bytes) -> ClientEvent:
        """Return one frame of the client as an event: `Malformed` if it is none."""
        ...

    def encode(self, effect: Effect) -> list[str]:
        """Return the frames for the client that follow from an effect, often none."""
        ...

    def configure(self, update: Any) -> None:
        """Change the configuration as a `SessionUpdate` asks, all of it or nothing.

        Raises ClientError, which names the field and the allowed values."""
        ...

    def session_info(self, session_id: str, model: str) -> SessionInfo:
        """Return the configuration as `session.created` and `session.updated` repeat it."""
        ...
