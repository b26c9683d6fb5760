"""The bounds of one session. Every buffer and every wait in the protocol has its limit here."""

from __future__ import annotations

from dataclasses import dataclass

from oyez.engines.base import LANGUAGES


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
