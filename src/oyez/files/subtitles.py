"""Segments → subtitles: SRT and WebVTT.

A subtitle ends where a sentence does, else at a pause or a clause; it has two lines at most, stays
long enough to be read where the next one lets it, and never covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from oyez.files import layout
from oyez.files.results import Segment, Word

MIN_S, MAX_S = 1.0, 7.0
LETTERS_PER_SECOND = 20.0
"""What people read; of full-width characters, between 7 and 8."""
LONG_PAUSE_S = 1.0
"""A subtitle never goes on over such a pause …"""
PAUSE_S = 0.3
"""… and rather ends at such a one."""
MAX_WORDS = 40
"""As far as it is looked ahead for the end of a sentence."""
SHORT = layout.MAX_WIDTH / 2
"""A sentence narrower than this may have the next one beside it."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle. Times are whole milliseconds; cues do not overlap."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment]) -> Iterator[Cue]:
    """Subtitles of segments in order, each as soon as the one after it is known."""
    waiting: tuple[int, Sequence[Word]] | None = None
    for segment in segments:
        for words in _groups(layout.narrow(segment.words)):
            start_ms = _ms(words[0].start_s)
            if waiting:
                cue = _cue(*waiting, until_ms=start_ms)
                yield cue
                start_ms = max(start_ms, cue.end_ms)
            waiting = (start_ms, words)
    if waiting:
        yield _cue(*waiting, until_ms=None)


def srt(segments: Iterable[Segment]) -> Iterator[str]:
    """A SubRip file, cue by cue."""
    for number, cue in enumerate(cues(segments), start=1):
        span = f"{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}"
        yield "\n".join((str(number), span, *cue.lines)) + "\n\n"


def vtt(segments: Iterable[Segment]) -> Iterator[str]:
    """A WebVTT file, cue by cue."""
    yield "WEBVTT\n\n"
    for cue in cues(segments):
        span = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        yield "\n".join((span, *map(_escaped, cue.lines))) + "\n\n"


def _groups(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Words of one subtitle each."""
    first = 0
    for index in range(1, len(words)):
        while first < index and not _goes_with(words[first:index], words[index]):
            count = _best_end(words[first:index], words[index:])
            yield words[first : first + count]
            first += count
    if words:
        yield words[first:]


def _goes_with(group: Sequence[Word], word: Word) -> bool:
    pause_s = word.start_s - group[-1].end_s
    said = layout.joined(group)
    if pause_s >= LONG_PAUSE_S or word.end_s - group[0].start_s > MAX_S:
        return False
    if layout.ends_sentence(said) and (layout.width(said) >= SHORT or pause_s >= PAUSE_S):
        return False
    return layout.fits([*group, word])


def _best_end(group: Sequence[Word], following: Sequence[Word]) -> int:
    """How many of these words belong together, now that the next one does not fit."""
    ends = range(1, len(group) + 1)
    all_words = [*group, *following[: _to_sentence_end(following)]]
    wanted = min(layout.width(layout.joined(group)), layout.width(layout.joined(all_words)) / 2)
    return max(ends, key=lambda end: _merit(all_words, end, wanted))


def _merit(words: Sequence[Word], end: int, wanted: float) -> float:
    """Of a subtitle that ends behind so many words, where it should be about `wanted` wide."""
    said = layout.joined(words[:end])
    pause_s = words[end].start_s - words[end - 1].end_s
    merit = 1.0 - abs(layout.width(said) - wanted) / wanted
    if pause_s >= LONG_PAUSE_S:
        return merit + 4.0
    if layout.ends_sentence(said):
        return merit + 2.0
    if layout.ends_clause(said) or pause_s >= PAUSE_S:
        return merit + 0.5
    return merit


def _to_sentence_end(words: Sequence[Word]) -> int:
    """How many words there are to the end of the sentence, as far as one subtitle may reach."""
    ends = (at for at, word in enumerate(words[:MAX_WORDS], 1) if layout.ends_sentence(word.text))
    return next(ends, min(len(words), MAX_WORDS))


def _cue(start_ms: int, words: Sequence[Word], until_ms: int | None) -> Cue:
    lines = layout.lines(words)
    reading_s = max(MIN_S, sum(map(layout.width, lines)) / LETTERS_PER_SECOND)
    end_ms = max(_ms(words[-1].end_s), start_ms + _ms(min(reading_s, MAX_S)))
    end_ms = min(end_ms, start_ms + _ms(MAX_S))
    if until_ms is not None:
        end_ms = min(end_ms, until_ms)
    return Cue(start_ms, max(end_ms, start_ms + 1), lines)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(ms: int, mark: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{ms:03}"


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
