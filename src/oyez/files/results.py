"""The results of a transcription; times are seconds from the beginning of the file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or a character in languages without spaces (Chinese, Japanese, Thai)."""

    text: str
    """With its punctuation and the space before it: the words, joined, are the segment's text."""
    start_s: float
    end_s: float
    probability: float
    """From 0 to 1, as the engine estimates it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two pauses. Segments come in order and do not overlap."""

    start_s: float
    """Where its first word begins."""
    end_s: float
    """Where its last word ends."""
    text: str
    language: str
    """One of the 27 codes."""
    emotion: str
    words: tuple[Word, ...]
    failure: str | None = None
    """Why this part of the audio has no text; None: it has."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The text so far of the segment that goes on. The next `Segment` replaces it."""

    confirmed: str
    """The beginning, which only grows until the segment comes."""
    tentative: str
    """The rest, which may still change."""
    language: str


@dataclass(frozen=True, slots=True)
class Progress:
    """All audio up to here has been transcribed."""

    done_s: float


Result = Segment | Partial | Progress
