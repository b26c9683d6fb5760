"""Stage 6a: the pieces of finals → when each written word was said.

A transcript is not what an engine wrote: marks, spaces and script are the language's own. Its
letters are the same, one for one or nearly so, and carry the times over.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Piece
from oyez.turns.stabilizer import spaceless

PAUSE_SAMPLES = SAMPLE_RATE // 10
"""Silence shorter than this is part of a word, such as the one before a plosive."""
MAX_TAIL_SAMPLES = SAMPLE_RATE // 2
"""A word before a pause lasts as long as the speech goes on behind it, but no longer than this."""

_THAI_LEADING_VOWELS = frozenset("เแโใไ")
_THAI_SARA_AM = "ำ"
_CHUNK = re.compile(r"\s*\S+(?:\s+\Z)?|\s+")

Span = tuple[int, int]
"""From sample to sample of the session."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a transcript; a character where words are not written apart."""

    text: str
    """With the marks that belong to it and the space before it: the texts of a transcript's words,
    joined, are the transcript."""
    start_samples: int
    end_samples: int
    """In samples of the session, from its first sample of audio."""
    probability: float
    """0…1, as the engine says."""


class Timeline:
    """When each letter of a turn's transcript was said."""

    def __init__(self) -> None:
        self._starts = array("q")
        self._ends = array("q")
        self._probabilities = array("f")

    def add(self, pieces: Sequence[Piece], text: str, at: int, spoken: Sequence[Span]) -> None:
        """The next window reads `text`, which is written for `pieces` of audio that begins at
        sample `at`; somebody spoke during `spoken`, in order."""
        heard: list[tuple[int, int, float]] = []
        said = [piece for piece in pieces if _has_letter(piece.text)]
        for piece, (start, end) in zip(said, _spans(said, at, spoken), strict=True):
            count = sum(map(_is_letter, piece.text))
            edges = [start + (end - start) * n // count for n in range(count + 1)]
            heard += [(*edge, piece.probability) for edge in zip(edges, edges[1:], strict=False)]
        written = sum(map(_is_letter, text))
        for index in range(written if heard else 0):
            start, end, probability = heard[index * len(heard) // written]
            self._starts.append(start)
            self._ends.append(end)
            self._probabilities.append(probability)

    def words(self, transcript: str) -> tuple[Word, ...]:
        """The words of the texts added so far, as `transcript` writes them."""
        texts = words_of(transcript)
        counts = [sum(map(_is_letter, text)) for text in texts]
        last = len(self._ends)
        words = []
        for text, count, end in zip(texts, counts, accumulate(counts), strict=True):
            first, end = min(end - count, last), min(end, last)
            if first < end:
                said = self._probabilities[first:end]
                span = (self._starts[first], self._ends[end - 1])
                words.append(Word(text, *span, sum(said) / len(said)))
            else:
                at = self._ends[-1] if last else 0
                words.append(Word(text, at, at, 0.0))
        return tuple(words)


def words_of(text: str) -> list[str]:
    """Cut text into words; joined, they are the text again. Every word has a letter, unless the
    whole text has none. In scripts without spaces a word is a character with its marks."""
    words: list[str] = []
    for chunk in _CHUNK.findall(text):
        for word in _cut(chunk):
            if words and not (_has_letter(words[-1]) and _has_letter(word)):
                words[-1] += word
            else:
                words.append(word)
    return words


def _cut(chunk: str) -> list[str]:
    """A chunk without spaces inside, between its characters if they are of such a script."""
    words = [""]
    for character in chunk:
        if _begins_word(words[-1], character):
            words.append("")
        words[-1] += character
    return words


def _begins_word(before: str, character: str) -> bool:
    if not _has_letter(before) or before[-1] in _THAI_LEADING_VOWELS:
        return False
    if not (spaceless(character) or spaceless(before[-1])):
        return False
    opens = unicodedata.category(character) in ("Ps", "Pi")
    return opens or (_is_letter(character) and not _is_attached(character))


def _is_attached(character: str) -> bool:
    """It is written on or behind another one."""
    return unicodedata.category(character)[0] == "M" or character in _THAI_SARA_AM


def _has_letter(text: str) -> bool:
    return any(map(_is_letter, text))


def _is_letter(character: str) -> bool:
    """What somebody says; marks and spaces are silent."""
    return character != "|" and unicodedata.category(character)[0] not in "PZC"


def _spans(pieces: Sequence[Piece], at: int, spoken: Sequence[Span]) -> list[Span]:
    """When each piece was said, in samples of the session; `at` is where its audio begins."""
    spans: list[Span] = []
    before = at
    for end in _consistent([_said_to(piece) for piece in pieces]):
        start, before = _within_speech(before, max(before, at + end), spoken)
        spans.append((start, before))
    for index, (start, end) in enumerate(spans):
        limit = spans[index + 1][0] if index + 1 < len(spans) else end + MAX_TAIL_SAMPLES
        if rest := next((last for first, last in spoken if first <= end < last), 0):
            pauses = index + 1 == len(spans) or rest + PAUSE_SAMPLES <= limit
            spans[index] = (start, min(rest, limit, end + MAX_TAIL_SAMPLES) if pauses else end)
    return spans


def _said_to(piece: Piece) -> int:
    return piece.end_samples if piece.raw_end_samples is None else piece.raw_end_samples


def _consistent(ends: Sequence[int]) -> list[int]:
    """Ends in order: the most that agree with one another stay as they are, and what lies between
    two of them is spread evenly."""
    kept = _longest_rise(ends)
    rising = list(ends)
    edges = [(-1, min(0, ends[kept[0]]) if kept else 0), *((at, ends[at]) for at in kept)]
    for (first, low), (last, high) in pairwise(edges):
        for index in range(first + 1, last):
            rising[index] = low + (high - low) * (index - first) // (last - first)
    if kept:
        rising[kept[-1] + 1 :] = [ends[kept[-1]]] * (len(ends) - kept[-1] - 1)
    return rising


def _longest_rise(numbers: Sequence[int]) -> list[int]:
    """Indices of the longest subsequence that never falls."""
    tops: list[int] = []
    top_at: list[int] = []
    before: list[int] = []
    for index, number in enumerate(numbers):
        place = bisect_right(tops, number)
        before.append(top_at[place - 1] if place else -1)
        tops[place : place + 1] = [number]
        top_at[place : place + 1] = [index]
    chain = []
    at = top_at[-1] if top_at else -1
    while at >= 0:
        chain.append(at)
        at = before[at]
    return chain[::-1]


def _within_speech(start: int, end: int, spoken: Sequence[Span]) -> Span:
    """Of what an engine says of a piece, what was spoken: without the pause before or after it."""
    heard = [
        (max(start, first), min(end, last))
        for first, last in spoken
        if first < end and last > start
    ]
    if not heard:
        return start, end
    joined = [heard[0]]
    for first, last in heard[1:]:
        if first - joined[-1][1] < PAUSE_SAMPLES:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return max(joined, key=lambda span: span[1] - span[0])
