"""Segments → plain text, and the JSON document of oyez."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from oyez.files.layout import ends_sentence
from oyez.files.results import Segment, Word
from oyez.turns.text_style import separator


def plain_text(segments: Sequence[Segment]) -> str:
    """All that was said, as one line: no space where a script has none."""
    text = ""
    for segment in segments:
        text = joined(text, segment.text)
    return text


def joined(text: str, more: str) -> str:
    """With a space between, where both scripts have spaces."""
    return text + separator(text, more) + more


def main_language(segments: Sequence[Segment]) -> str | None:
    """The language of most of the speech; None if nothing was said."""
    spoken_s: dict[str, float] = {}
    for segment in segments:
        if segment.text:
            length_s = segment.end_s - segment.start_s
            spoken_s[segment.language] = spoken_s.get(segment.language, 0.0) + length_s
    return max(spoken_s, key=spoken_s.__getitem__) if spoken_s else None


def document(
    segments: Sequence[Segment], duration_s: float, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything known, ready for JSON:

    `text`, `language` (null if nothing was said), `duration_s`, `notes` (what was wrong with the
    file), and `segments`, each with `start_s`, `end_s`, `text`, `language`, `emotion`, `words` and,
    where the audio could not be recognised, `failure`. A word has `text`, `start_s`, `end_s` and
    `probability`; the texts of a segment's words, joined, are its text.
    """
    return {
        "text": plain_text(segments),
        "language": main_language(segments),
        "duration_s": _rounded(duration_s),
        "notes": list(notes),
        "segments": [_segment(segment) for segment in segments],
    }


def _segment(segment: Segment) -> dict[str, Any]:
    failure = {"failure": segment.failure} if segment.failure else {}
    return {
        "start_s": _rounded(segment.start_s),
        "end_s": _rounded(segment.end_s),
        "text": segment.text,
        "language": segment.language,
        "emotion": segment.emotion,
        **failure,
        "words": [_word(word) for word in segment.words],
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "text": word.text,
        "start_s": _rounded(word.start_s),
        "end_s": _rounded(word.end_s),
        "probability": _rounded(word.probability),
    }


def _rounded(number: float) -> float:
    return round(number, 3)


def sentences(segment: Segment) -> list[Segment]:
    """A segment in its sentences, each with its words and times."""
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
