"""Decodes parts of finals again where the first result is implausible.

Decoding sometimes ends far too early, begins far too late, skips sentences, or gives a text so
unlikely that it was dropped, although the same audio is decoded well with other boundaries:

- A final that has words only for the beginning of its audio: the rest is decoded by itself.
- A final that seems to skip a part of its audio: that part is decoded by itself. Its words are used
  if the model is confident of them and the final does not already have them.
- A final without words although there seems to be speech: it is decoded again after some silence.
- A final in Chinese without punctuation between its clauses: it is decoded again with commas
  boosted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Hypothesis, Piece, Purpose, Request, text_of
from oyez.engines.whisper.hallucination import letters_of

MAX_ROUNDS = 3
"""Most rounds for one request. It is rarely reached."""
MAX_REST_SAMPLES = SAMPLE_RATE * 3 // 2
"""If more audio than this follows the last word, it is decoded again. Finals end with their
speech."""
MIN_SKIPPED_SAMPLES = 2 * SAMPLE_RATE
"""If this much audio or more precedes a piece, it is decoded again. Attention moves this far over
words that were recognised on one final in fifteen; words were missing in one in 500."""
MAX_PIECES_PER_SECOND = 10
"""If the remaining audio would have more pieces per second than this, nothing was skipped. It
identifies seven of ten harmless moves of attention."""
MIN_CONFIDENCE = 0.6
"""Mean probability from which the words of a skipped part are used."""
MAX_KNOWN_SHARE = 0.3
"""The words of a skipped part are used only if less than this share of their letters is already in
the final."""
MIN_SAME_LETTERS = 3
"""At least this many equal letters in a row are taken for the same words."""
LEAD_SAMPLES = SAMPLE_RATE // 2
"""Silence that is put before audio without words."""
MIN_SAMPLES = SAMPLE_RATE // 2
"""Shorter audio without words is not decoded again."""
MAX_NO_SPEECH = 0.6
"""Audio without words is not decoded again if its no-speech probability is higher."""
MAX_OVERLAP_PIECES = 8
"""How many pieces may be in both of two adjacent results. They can overlap because the end of a
word is an estimate."""

COMMAS = frozenset({",", "，", "、"})
COMMA_BONUS = 2.0
"""Added to the logits of commas where a text has no punctuation. Of 10 such finals 9 get some; with
1.0 six do; with 3.0 commas separate words that belong together."""
MIN_CLAUSES_CHARS = 20
"""A shorter text may be a single clause."""

_CHINESE = frozenset({"zh", "yue"})
_FIRST_HAN = "\u3400"
_INNER_PUNCTUATION = re.compile(r"[，、。？！；：,.?!;:]\s*[^\s\d，、。？！；：,.?!;:]")


@dataclass(frozen=True, slots=True)
class Redecoding:
    """What to decode again, and where its words belong."""

    request: Request
    shift_samples: int = 0
    """Added to a position in the audio of `request` to get the position in the whole audio."""
    gap: int | None = None
    """The index of the piece before which the words belong. None: after the last piece."""

    def merge(self, first: Hypothesis, second: Hypothesis) -> Hypothesis:
        """Return `first` with the words of `second`, the answer to `request`, added."""
        if self.gap is not None and not _is_new(second.pieces, first.pieces):
            return first
        found = tuple(piece.shifted(self.shift_samples) for piece in second.pieces)
        seam = len(first.pieces) if self.gap is None else self.gap
        before, after = first.pieces[:seam], first.pieces[seam:]
        counts = range(min(len(found), MAX_OVERLAP_PIECES), 0, -1)
        end = letters_of(text_of(before[-MAX_OVERLAP_PIECES:]))
        start = letters_of(text_of(after[:MAX_OVERLAP_PIECES]))
        at_start = _known_count((found[:count] for count in counts), end.endswith)
        at_end = _known_count((found[-count:] for count in counts), start.startswith)
        return replace(first, pieces=before + found[at_start : len(found) - at_end] + after)


def plan_redecoding(request: Request, first: Hypothesis, max_samples: int) -> Redecoding | None:
    """Return what of `request` to decode again, or None if its answer `first` is plausible.

    max_samples: longest audio of a request.
    """
    if request.prefix or request.purpose is not Purpose.FINAL:
        return None
    again = replace(request, language=first.language, hint=())
    if not first.pieces:
        return _all_after_silence(again, first.no_speech, max_samples)
    end = first.pieces[-1].end_samples
    if len(request.samples) - end > MAX_REST_SAMPLES:
        return Redecoding(replace(again, samples=request.samples[end:]), end)
    return _skipped_part(again, first.pieces)


def _skipped_part(request: Request, pieces: Sequence[Piece]) -> Redecoding | None:
    """Decode the longest audio between the ends of two adjacent pieces, if it is long enough."""
    ends = [0, *(piece.end_samples for piece in pieces)]
    gaps = [after - before for before, after in pairwise(ends)]
    widest = max(range(len(gaps)), key=gaps.__getitem__)
    if gaps[widest] < MIN_SKIPPED_SAMPLES:
        return None
    rest_s = (len(request.samples) - gaps[widest]) / SAMPLE_RATE
    if len(pieces) > MAX_PIECES_PER_SECOND * rest_s:
        return None
    skipped = request.samples[ends[widest] : ends[widest + 1]]
    return Redecoding(replace(request, samples=skipped), ends[widest], gap=widest)


def _all_after_silence(request: Request, no_speech: float, max_samples: int) -> Redecoding | None:
    fits = MIN_SAMPLES <= len(request.samples) <= max_samples - LEAD_SAMPLES
    if no_speech > MAX_NO_SPEECH or not fits:
        return None
    samples = np.concatenate([np.zeros(LEAD_SAMPLES, np.float32), request.samples])
    # boosted terms may have made the text unlikely
    return Redecoding(replace(request, samples=samples, context=""), -LEAD_SAMPLES)


def _is_new(found: Sequence[Piece], known: Sequence[Piece]) -> bool:
    """Return whether the model is confident of `found`, and its words are not in `known`."""
    # the model is confident of what it repeats, however unlikely it was the first time
    first_probabilities = {piece.text: piece.probability for piece in reversed(found)}
    is_confident = sum(first_probabilities.values()) >= MIN_CONFIDENCE * len(first_probabilities)
    new_letters, known_letters = letters_of(text_of(found)), letters_of(text_of(known))
    matcher = SequenceMatcher(None, new_letters, known_letters, autojunk=False)
    blocks = matcher.get_matching_blocks()
    same = sum(block.size for block in blocks if block.size >= MIN_SAME_LETTERS)
    return is_confident and same < MAX_KNOWN_SHARE * len(new_letters)


def _known_count(runs: Iterable[Sequence[Piece]], is_known: Callable[[str], bool]) -> int:
    """Return the length of the first run of pieces whose letters are known, or 0."""
    letters = ((len(run), letters_of(text_of(run))) for run in runs)
    return next((count for count, text in letters if text and is_known(text)), 0)


def lacks_punctuation(text: str, language: str) -> bool:
    """Return whether a Chinese text is long enough for several clauses and has no punctuation
    between them.

    Whisper writes a Chinese text either with all its punctuation or with none, as the subtitles
    that it was trained on. The choice depends on small differences: with commas slightly likelier
    it writes punctuation. Texts that already have punctuation must not be decoded so, because most
    of the commas added to them would be wrong.
    """
    if language not in _CHINESE or _INNER_PUNCTUATION.search(text):
        return False
    return sum(char >= _FIRST_HAN for char in text) >= MIN_CLAUSES_CHARS
