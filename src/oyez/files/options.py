"""The options of a transcription."""

from __future__ import annotations

from dataclasses import dataclass


class TranscriptionError(Exception):
    """An option has a wrong value; the message names the allowed values."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is transcribed."""

    language: str | None = None
    """One of the 27 codes; None: the language of each segment is detected."""
    languages: tuple[str, ...] = ()
    """The only languages that may be detected; none: all 27."""
    context: str = ""
    """Names and terms that the speakers may use; up to 40,000 characters."""
    live: bool = False
    """Whether tentative text is yielded too, while a segment goes on; nearly twice the work."""
    silence_duration_ms: int = 800
    """Silence that ends a segment, 200 to 6000."""
