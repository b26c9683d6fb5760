"""Segments become subtitles, in SRT and WebVTT.

A subtitle ends where a sentence does, else at a pause or a clause. It has two lines at most, stays
long enough to be read if the next one leaves it the time, and does not overlap the next one.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from oyez.files.results import CLOSING_MARKS, Segment, Word, ends_sentence

MIN_S, MAX_S = 1.0, 7.0
"""How long a subtitle is shown."""
MAX_WIDTH = 42.0
"""Width of a line in Latin letters. Broadcasters allow 42, or 16 full-width characters."""
WIDE = MAX_WIDTH / 16
"""Width of a full-width character."""
LETTERS_PER_SECOND = 20.0
"""How fast people read; it is between 7 and 8 full-width characters a second."""
LONG_PAUSE_S = 1.0
"""A subtitle never continues over a pause this long."""
PAUSE_S = 0.3
"""A subtitle preferably ends at a pause this long."""
MAX_WORDS = 40
"""How many words ahead the end of the sentence is looked for."""
SHORT_WIDTH = MAX_WIDTH / 2
"""A sentence narrower than this may share a subtitle with the next one."""
CLAUSE_ENDS = tuple(",;:—，、；：،؛")
ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle. Times are whole milliseconds; cues do not overlap."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment]) -> Iterator[Cue]:
    """Yield the subtitles of segments in order, each as soon as the one after it is known."""
    waiting: tuple[int, Sequence[Word]] | None = None
    for segment in segments:
        for words in _groups([part for word in segment.words for part in _parts(word)]):
            start_ms = _ms(words[0].start_s)
            if waiting:
                cue = _cue(*waiting, until_ms=start_ms)
                yield cue
                start_ms = max(start_ms, cue.end_ms)
            waiting = (start_ms, words)
    if waiting:
        yield _cue(*waiting, until_ms=None)


def srt(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield a SubRip file, one cue at a time."""
    for number, cue in enumerate(cues(segments), start=1):
        yield "\n".join((str(number), _span(cue, ","), *cue.lines)) + "\n\n"


def vtt(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield a WebVTT file: its first line, then one cue at a time."""
    yield "WEBVTT\n\n"
    for cue in cues(segments):
        lines = (html.escape(line, quote=False) for line in cue.lines)
        yield "\n".join((_span(cue, "."), *lines)) + "\n\n"


def width(text: str) -> float:
    """Return the width of a text in Latin letters."""
    spacing = (each for each in text if unicodedata.category(each) not in ("Mn", "Me", "Cf"))
    return sum(WIDE if unicodedata.east_asian_width(each) in "WF" else 1.0 for each in spacing)


def _groups(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Yield the words of one subtitle after the other."""
    first = 0
    for index in range(1, len(words)):
        while first < index and not _may_follow(words[first:index], words[index]):
            count = _best_end(words[first:index], words[index:])
            yield words[first : first + count]
            first += count
    if words:
        yield words[first:]


def _may_follow(group: Sequence[Word], word: Word) -> bool:
    """Return whether a word may stand in the same subtitle as the words before it."""
    pause_s = word.start_s - group[-1].end_s
    text = _text(group)
    if pause_s >= LONG_PAUSE_S or word.end_s - group[0].start_s > MAX_S:
        return False
    if ends_sentence(text) and (width(text) >= SHORT_WIDTH or pause_s >= PAUSE_S):
        return False
    return max(map(width, _lines([*group, word]))) <= MAX_WIDTH


def _best_end(group: Sequence[Word], following: Sequence[Word]) -> int:
    """Return how many words of a group make up the subtitle, when the next word does not fit.

    The rest of the sentence, or MAX_WORDS of it, is preferably divided into subtitles of equal
    width.
    """
    following = following[:MAX_WORDS]
    sentence_ends = (at for at, word in enumerate(following, 1) if ends_sentence(word.text))
    all_words = [*group, *following[: next(sentence_ends, MAX_WORDS)]]
    best_width = min(width(_text(group)), width(_text(all_words)) / 2)
    ends = range(1, len(group) + 1)
    return max(ends, key=lambda end: _end_score(all_words, end, best_width))


def _end_score(words: Sequence[Word], end: int, best_width: float) -> float:
    """Return how good it is to end a subtitle after this many words."""
    text = _text(words[:end])
    pause_s = words[end].start_s - words[end - 1].end_s
    score = 1.0 - abs(width(text) - best_width) / best_width
    if pause_s >= LONG_PAUSE_S:
        return score + 4.0
    if ends_sentence(text):
        return score + 2.0
    return score + 0.5 if _ends_clause(text) or pause_s >= PAUSE_S else score


def _cue(start_ms: int, words: Sequence[Word], until_ms: int | None) -> Cue:
    """Return the subtitle of these words. until_ms: start of the next one, if there is one."""
    lines = _lines(words)
    reading_s = max(MIN_S, sum(map(width, lines)) / LETTERS_PER_SECOND)
    end_ms = max(_ms(words[-1].end_s), start_ms + _ms(min(reading_s, MAX_S)))
    end_ms = min(end_ms, start_ms + _ms(MAX_S))
    if until_ms is not None:
        end_ms = min(end_ms, until_ms)
    return Cue(start_ms, max(end_ms, start_ms + 1), lines)


def _lines(words: Sequence[Word]) -> tuple[str, ...]:
    """Return one line if the words fit, else two of about the same width, preferably broken after
    a punctuation mark. The lines are too wide only if the words do not fit into two."""
    if len(words) == 1 or width(_text(words)) <= MAX_WIDTH:
        return (_text(words),)
    at = min(range(1, len(words)), key=lambda at: _break_cost(words, at))
    return _text(words[:at]), _text(words[at:])


def _break_cost(words: Sequence[Word], at: int) -> tuple[float, float]:
    """Return how bad it is to break lines before the word at this index: first, by how much a line
    is too wide."""
    before = _text(words[:at])
    first, second = width(before), width(_text(words[at:]))
    bonus = 12.0 if ends_sentence(before) else 8.0 if _ends_clause(before) else 0.0
    return max(0.0, max(first, second) - MAX_WIDTH), abs(first - second) - bonus


def _text(words: Sequence[Word]) -> str:
    return " ".join("".join(word.text for word in words).split())


def _ends_clause(text: str) -> bool:
    return text.rstrip(CLOSING_MARKS)[-1:] in CLAUSE_ENDS


def _parts(word: Word) -> list[Word]:
    """Return a word, in parts that fit into a line if it does not; its time is divided equally. No
    part ends inside a character as readers see it."""
    if width(word.text.strip()) <= MAX_WIDTH:
        return [word]
    texts = [""]
    for grapheme in _graphemes(word.text):
        if width((texts[-1] + grapheme).strip()) > MAX_WIDTH:
            texts.append("")
        texts[-1] += grapheme
    step_s = (word.end_s - word.start_s) / len(texts)
    starts_s = [word.start_s + index * step_s for index in range(len(texts))]
    return [
        replace(word, text=text, start_s=start_s, end_s=start_s + step_s)
        for text, start_s in zip(texts, starts_s, strict=True)
    ]


def _graphemes(text: str) -> list[str]:
    """Return the characters as readers see them: letters with their marks, joined signs."""
    found: list[str] = []
    for character in text:
        is_mark = unicodedata.category(character)[0] == "M" or character == "ำ"
        is_skin_tone = 0x1F3FB <= ord(character) <= 0x1F3FF
        is_jamo = 0x1160 <= ord(character) <= 0x11FF
        is_attached = is_mark or is_skin_tone or is_jamo or character == ZERO_WIDTH_JOINER
        if found and (is_attached or found[-1].endswith(ZERO_WIDTH_JOINER)):
            found[-1] += character
        else:
            found.append(character)
    return found


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _span(cue: Cue, mark: str) -> str:
    """Return the times of a cue. mark: the decimal mark of the format."""

    def clock(ms: int) -> str:
        seconds, ms = divmod(ms, 1000)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{ms:03}"

    return f"{clock(cue.start_ms)} --> {clock(cue.end_ms)}"
