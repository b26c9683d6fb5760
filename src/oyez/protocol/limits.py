"""Bounds of one session. Every buffer, wait and growth in the protocol room has its limit here."""

from __future__ import annotations

from dataclasses import dataclass

from oyez.engines.base import LANGUAGES


@dataclass(frozen=True, slots=True)
class SessionLimits:
    max_append_bytes: int = 2 * 1024 * 1024
    """Most audio one append may carry, after base64: a minute of 16 kHz, as long as a turn of
    manual mode may be."""
    max_corpus_chars: int = 40_000
    """Longest text for context biasing (the service's 10,000 tokens, generously)."""
    max_transcript_chars: int = 1_000_000
    """`session.finished` repeats at most so much of the newest text (some 18 hours of speech)."""
    languages: tuple[str, ...] = ()
    """The only ones that may be asked for and are heard; none: all 27."""
    live: bool = True
    """Whether anybody follows what is said. If not, no interim results are asked for, and finals
    only once their audio is complete: the same finals for less work."""
    manual_max_ms: int = 60_000
    """Manual mode: after so much audio without a commit oyez commits by itself."""
    manual_interim: bool = True
    """Manual mode: whether interim events are sent while audio arrives."""
    idle_timeout_ms: int = 300_000
    """Without input for so long the session is finished and closed."""
    stalled_turn_ms: int = 4_000
    """VAD mode: an open turn ends when no audio has come for so long and its silence duration;
    0: never."""
    max_session_ms: int = 0
    """After so long the session is finished and closed; 0: never."""
    close_after_finish_ms: int = 5_000
    """How long the client has to close after `session.finished` before the server does."""

    @property
    def allowed_languages(self) -> tuple[str, ...]:
        return self.languages or LANGUAGES
