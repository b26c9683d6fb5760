"""What whoever wants a file transcribed may choose."""

from __future__ import annotations

from dataclasses import dataclass


class TranscriptionError(Exception):
    """An option is wrong; the message says which values are allowed."""


@dataclass(frozen=True, slots=True)
class Options:
    language: str | None = None
    """One of the 27 codes; None: each segment in the language it is heard in."""
    languages: tuple[str, ...] = ()
    """The only ones to be heard; none: all 27."""
    context: str = ""
    """Names and terms that may be said; up to 40,000 characters."""
    live: bool = False
    """Also yield tentative text while a segment is heard, for nearly twice the work."""
    silence_duration_ms: int = 800
    """Silence that ends a segment, 200 to 6000."""
