"""What is asked of a transcription and what it gives: options, typed results in seconds from the
beginning of the file, and the whole as plain text or as a JSON document.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from oyez.turns.text_style import separator

SENTENCE_ENDS = tuple(".?!…。？！।؟")
CLOSING_MARKS = "\"'”’»)]）」』"
"""Marks that may follow the end of a sentence or clause and still belong to it."""


class TranscriptionError(Exception):
    """An option is wrong; the message says which values are allowed."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be transcribed."""

    language: str | None = None
    """Code of the language of the whole file; None: each segment's language is recognised."""
    languages: tuple[str, ...] = ()
    """The only languages that may be recognised; empty: all."""
    context: str = ""
    """Names and terms that may occur, up to 40,000 characters."""
    live: bool = False
    """Whether there are `Partial` results too. They nearly double the work."""
    silence_duration_ms: int = 800
    """Silence that ends a segment, 200 to 6000 ms."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or a character in languages that do not write spaces (Chinese, Japanese, Thai)."""

    text: str
    """The word, its punctuation and the space before it. A segment's text is its words joined."""
    start_s: float
    end_s: float
    probability: float
    """The engine's probability, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The speech between two pauses. Segments come in order and do not overlap."""

    start_s: float
    """Start of the first word."""
    end_s: float
    """End of the last word."""
    text: str
    language: str
    """Code of the language, one of `engines.base.LANGUAGES`."""
    emotion: str
    words: tuple[Word, ...]
    failure: str | None = None
    """Why there is no text, if recognition failed."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The text so far of a segment that has not ended. The next `Segment` replaces it."""

    confirmed: str
    """Text that only grows until the segment ends."""
    tentative: str
    """Text that may still change."""
    language: str


@dataclass(frozen=True, slots=True)
class Progress:
    """All audio up to this point has been transcribed."""

    done_s: float


Result = Segment | Partial | Progress


def plain_text(segments: Sequence[Segment]) -> str:
    """Return all text in one line, with spaces between segments where their scripts have them."""
    return functools.reduce(join_text, (segment.text for segment in segments), "")


def join_text(text: str, more: str) -> str:
    """Join two texts, with a space between them if both scripts have spaces."""
    return text + separator(text, more) + more


def ends_sentence(text: str) -> bool:
    """Return whether the text ends with the end of a sentence."""
    return text.rstrip(CLOSING_MARKS)[-1:] in SENTENCE_ENDS


def sentences(segment: Segment) -> list[Segment]:
    """Divide a segment into its sentences, each with its words and times."""
    parts: list[list[Word]] = [[]]
    for word in segment.words:
        if parts[-1] and ends_sentence(parts[-1][-1].text):
            parts.append([])
        parts[-1].append(word)
    return [
        replace(
            segment,
            start_s=part[0].start_s,
            end_s=part[-1].end_s,
            text="".join(word.text for word in part).strip(),
            words=tuple(part),
        )
        for part in parts
        if part
    ]


def main_language(segments: Sequence[Segment]) -> str | None:
    """Return the language with the most speech; None if there is no speech."""
    speech_s: defaultdict[str, float] = defaultdict(float)
    for segment in segments:
        if segment.text:
            speech_s[segment.language] += segment.end_s - segment.start_s
    return max(speech_s, key=speech_s.__getitem__, default=None)


def document(
    segments: Sequence[Segment], duration_s: float, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return everything that is known of a file, ready to be written as JSON.

    The keys are `text`, `language` (null if there is no speech), `duration_s`, `notes` (what was
    wrong with the file) and `segments`. A segment has `start_s`, `end_s`, `text`, `language`,
    `emotion`, `words` and, if recognition failed, `failure`. A word has `text`, `start_s`, `end_s`
    and `probability`; the texts of a segment's words, joined, are its text.
    """
    return {
        "text": plain_text(segments),
        "language": main_language(segments),
        "duration_s": round(duration_s, 3),
        "notes": list(notes),
        "segments": [asdict(segment, dict_factory=_rounded) for segment in segments],
    }


def _rounded(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields with numbers in thousandths; `failure` is left out if there is none."""
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in fields
        if name != "failure" or value
    }
