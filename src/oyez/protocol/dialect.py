"""What a wire format is to a session, and the configuration and limits of a session without one.

frame ─► Dialect.decode ─► ClientEvent ─► Session ─► effects ─► Dialect.encode ─► frames
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from oyez.engines.base import LANGUAGES
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


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The bounds of one session, and what it may do."""

    max_append_bytes: int = 2 * 1024 * 1024
    """The most audio that one append may carry, decoded from base64: a minute at 16 kHz, as long as
    a turn of manual mode may be."""
    max_corpus_chars: int = 40_000
    """The longest context (the 10,000 tokens of the original service, generously)."""
    max_transcript_chars: int = 1_000_000
    """`session.finished` repeats at most so much of the newest text, some 18 hours of speech."""
    languages: tuple[str, ...] = ()
    """The only languages that may be asked for and recognised; none: all 27."""
    live: bool = True
    """Whether interim results are wanted. If not, only finals are requested, once their audio is
    complete: the same finals for less work."""
    manual_max_ms: int = 60_000
    """In manual mode, the server commits by itself after so much audio without a commit."""
    manual_interim: bool = True
    """In manual mode, whether interim events are sent while audio arrives."""
    idle_timeout_ms: int = 300_000
    """A session without input for so long is finished and closed."""
    stalled_turn_ms: int = 4_000
    """In VAD mode, an open turn ends when no audio has come for so long plus its silence duration;
    0: never."""
    max_session_ms: int = 0
    """A session is finished and closed when it is so old; 0: never."""
    close_after_finish_ms: int = 5_000
    """How long the client may take to close after `session.finished` before the server does."""

    @property
    def allowed_languages(self) -> tuple[str, ...]:
        return self.languages or LANGUAGES


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
