"""Word times: from the pieces of finals to when each written word was spoken.

A transcript is not written as the engine wrote it: its punctuation, spaces and script are the
language's own. Its letters are the engine's, one for one or nearly so, and carry the times over.
All times are samples of the session at 16 kHz.
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
from oyez.turns.text_style import is_spaceless

PAUSE_SAMPLES = SAMPLE_RATE // 10
"""Shorter silence is part of a word, such as the one before a plosive."""
MAX_TAIL_SAMPLES = SAMPLE_RATE // 2
"""A word before a pause lasts as long as the speech goes on after it, but not longer than this."""

_THAI_LEADING_VOWELS = frozenset("เแโใไ")
_THAI_SARA_AM = "ำ"
_CHUNK = re.compile(r"\s*\S+(?:\s+\Z)?|\s+")

Span = tuple[int, int]
"""A first sample and the sample after the last one, in samples of the session."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a transcript; one character in scripts that do not separate words."""

    text: str
    """The word with its punctuation and the space before it. The joined texts of a transcript's
    words are the transcript."""
    start_samples: int
    end_samples: int
    """Both positions are samples of the session, counted from its first sample of audio."""
    probability: float
    """The engine's probability of the word, 0…1."""


class LetterTimes:
    """When each letter of a turn's transcript was spoken."""

    def __init__(self) -> None:
        self._starts = array("q")
        self._ends = array("q")
        self._probabilities = array("f")

    def add(self, pieces: Sequence[Piece], text: str, start: int, speech: Sequence[Span]) -> None:
        """Append the letters of the next segment.

        pieces: the segment's final. text: the transcript of these pieces. start: where the audio
        of the final begins. speech: where the segment has speech, in order.
        """
        # Times of the letters that the engine wrote: each has an equal share of its piece
        engine_letters: list[tuple[int, int, float]] = []
        spoken = [piece for piece in pieces if _has_letter(piece.text)]
        for piece, (first, last) in zip(spoken, _piece_spans(spoken, start, speech), strict=True):
            count = sum(map(_is_letter, piece.text))
            edges = [first + (last - first) * n // count for n in range(count + 1)]
            engine_letters += [(*edge, piece.probability) for edge in pairwise(edges)]
        # Another script may have more letters or fewer: they are matched in proportion
        written = sum(map(_is_letter, text))
        for index in range(written if engine_letters else 0):
            first, last, probability = engine_letters[index * len(engine_letters) // written]
            self._starts.append(first)
            self._ends.append(last)
            self._probabilities.append(probability)

    def words(self, transcript: str) -> tuple[Word, ...]:
        """Return the words of `transcript`, which is written from the texts added so far."""
        texts = split_words(transcript)
        counts = [sum(map(_is_letter, text)) for text in texts]
        last = len(self._ends)
        words = []
        for text, count, end in zip(texts, counts, accumulate(counts), strict=True):
            first, end = min(end - count, last), min(end, last)
            # A word without a letter, or behind the last letter that has a time
            begin = finish = self._ends[-1] if last else 0
            probability = 0.0
            if first < end:
                begin, finish = self._starts[first], self._ends[end - 1]
                probability = sum(self._probabilities[first:end]) / (end - first)
            words.append(Word(text, begin, finish, probability))
        return tuple(words)


def split_words(text: str) -> list[str]:
    """Cut text into words whose joined texts are the text again.

    Every word has a letter, unless the whole text has none. In scripts without spaces a word is a
    character with its punctuation.
    """
    words: list[str] = []
    for chunk in _CHUNK.findall(text):
        for word in _split_chunk(chunk):
            if words and not (_has_letter(words[-1]) and _has_letter(word)):
                words[-1] += word
            else:
                words.append(word)
    return words


def _split_chunk(chunk: str) -> list[str]:
    """Cut a chunk that has no spaces inside between its characters of scripts without spaces."""
    words = [""]
    for character in chunk:
        if _begins_word(words[-1], character):
            words.append("")
        words[-1] += character
    return words


def _begins_word(before: str, character: str) -> bool:
    if not _has_letter(before) or before[-1] in _THAI_LEADING_VOWELS:
        return False
    if not (is_spaceless(character) or is_spaceless(before[-1])):
        return False
    category = unicodedata.category(character)
    # A mark, and sara am, is written on or behind another character
    is_attached = category[0] == "M" or character == _THAI_SARA_AM
    return category in ("Ps", "Pi") or (_is_letter(character) and not is_attached)


def _has_letter(text: str) -> bool:
    return any(map(_is_letter, text))


def _is_letter(character: str) -> bool:
    """Return whether the character is spoken. Punctuation and spaces are not."""
    return character != "|" and unicodedata.category(character)[0] not in "PZC"


def _piece_spans(pieces: Sequence[Piece], start: int, speech: Sequence[Span]) -> list[Span]:
    """Return when each piece was spoken. `start` is where the audio of the pieces begins."""
    spans: list[Span] = []
    previous_end = start
    raw_ends = [p.end_samples if p.raw_end_samples is None else p.raw_end_samples for p in pieces]
    for end in _consistent(raw_ends):
        begin, previous_end = _within_speech(previous_end, max(previous_end, start + end), speech)
        spans.append((begin, previous_end))
    # A piece before a pause is prolonged to where its stretch of speech ends
    for index, (begin, end) in enumerate(spans):
        is_last = index + 1 == len(spans)
        limit = end + MAX_TAIL_SAMPLES if is_last else spans[index + 1][0]
        speech_end = next((last for first, last in speech if first <= end < last), 0)
        if speech_end:
            before_pause = is_last or speech_end + PAUSE_SAMPLES <= limit
            prolonged = min(speech_end, limit, end + MAX_TAIL_SAMPLES)
            spans[index] = (begin, prolonged if before_pause else end)
    return spans


def _consistent(ends: Sequence[int]) -> list[int]:
    """Return ends that never fall: as many of the given ones as agree with one another stay, and
    those between two of them are spread evenly."""
    if not ends:
        return []
    kept = _longest_rise(ends)
    rising = list(ends)
    edges = [(-1, min(0, ends[kept[0]])), *((at, ends[at]) for at in kept)]
    for (first, low), (last, high) in pairwise([*edges, (len(ends), ends[kept[-1]])]):
        for index in range(first + 1, last):
            rising[index] = low + (high - low) * (index - first) // (last - first)
    return rising


def _longest_rise(numbers: Sequence[int]) -> list[int]:
    """Return the indices of the longest subsequence of at least one number that never falls
    (patience sorting)."""
    # lowest[n] is the lowest number that ends a rise of n + 1 numbers, lowest_at[n] its index
    lowest: list[int] = []
    lowest_at: list[int] = []
    previous: list[int] = []
    for index, number in enumerate(numbers):
        place = bisect_right(lowest, number)
        previous.append(lowest_at[place - 1] if place else -1)
        lowest[place : place + 1] = [number]
        lowest_at[place : place + 1] = [index]
    rise = [lowest_at[-1]]
    while previous[rise[-1]] >= 0:
        rise.append(previous[rise[-1]])
    return rise[::-1]


def _within_speech(start: int, end: int, speech: Sequence[Span]) -> Span:
    """Return the longest stretch of speech between `start` and `end`, which leaves out the pauses
    before and after it; without any speech there, all of it."""
    joined: list[Span] = []
    for first, last in speech:
        if first >= end or last <= start:
            continue
        begin = max(start, first)
        if joined and begin - joined[-1][1] < PAUSE_SAMPLES:
            begin = joined.pop()[0]
        joined.append((begin, min(end, last)))
    return max(joined, key=lambda span: span[1] - span[0], default=(start, end))
