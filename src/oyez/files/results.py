"""What comes of a file: typed results, in seconds from its beginning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A word; a character where words are not written apart (Chinese, Japanese, Thai)."""

    text: str
    """With its marks and the space before it: a segment's words, joined, are its text."""
    start_s: float
    end_s: float
    probability: float
    """0…1, as the engine says."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What somebody said between two pauses. Segments come in order and do not overlap."""

    start_s: float
    """Where its first word begins …"""
    end_s: float
    """… and its last one ends."""
    text: str
    language: str
    """One of the 27 codes."""
    emotion: str
    words: tuple[Word, ...]
    failure: str | None = None
    """Why this stretch of audio has no text, if it should have some."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The segment that is being heard, so far. The next `Segment` takes its place."""

    confirmed: str
    """It only grows, until the segment is there."""
    tentative: str
    """May still change."""
    language: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything up to here has been transcribed."""

    done_s: float


Result = Segment | Partial | Progress
