"""When not to believe the decoder: it says the same thing again and again, or makes words up.

The silence in the window (see `window`) makes Whisper end by itself almost always. What is left
are sounds it cannot make out, where it may fall into a loop. A loop differs from words that are
really repeated in where they are heard: a speaker's next "no" comes later than the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAME_PLACE = 5
"""Encoder positions (20 ms each) within which two tokens count as heard at one place: nobody
says a word again within 0.1 s."""
SHORT_CYCLE = 4
SHORT_REPEATS = 4
"""A cycle of fewer than SHORT_CYCLE tokens must come this often: attention on one token jitters."""

LONG_CYCLE = 8

DOUBT = -2.1
DOUBT_PER_NO_SPEECH = 1.2
"""Invented text is unlikely text, and the likelier it is that nobody speaks the less unlikely it
need be. Fitted between speech (also quiet and telephone) and noise, music, tones and silence."""

SILENT = 0.5
"""No-speech probability from which text is compared with what silence would say: one final of
speech in fifty."""
LEAST_GAIN = 0.8
"""So much likelier (in logarithms, a token) audio makes text that was heard in it. Speech: 1.8 and
more, twice 1.1; text invented on noise, music, tones, breath and silence: at most 0.65."""


def is_invented(tokens: Sequence[int], probabilities: Sequence[float], no_speech: float) -> bool:
    """Whether text of these tokens is more likely invented than heard.

    What repeats the tokens just before it says nothing: however wild the first round, the model
    is sure of the next.
    """
    return _mean_log(tokens, probabilities) < DOUBT + DOUBT_PER_NO_SPEECH * no_speech


def is_silence(
    tokens: Sequence[int], probabilities: Sequence[float], of_silence: Sequence[float]
) -> bool:
    """Whether the audio made the text hardly likelier than silence does.

    of_silence: the probabilities of the tokens if nothing is heard.
    """
    gain = _mean_log(tokens, probabilities) - _mean_log(tokens, of_silence)
    return gain < LEAST_GAIN


def _mean_log(tokens: Sequence[int], probabilities: Sequence[float]) -> float:
    """Of the tokens that say something new."""
    news = [p for i, p in enumerate(probabilities) if not _repeats(tokens, i)]
    return float(np.log(np.maximum(news, 1e-10)).mean())


def _repeats(tokens: Sequence[int], index: int) -> bool:
    """Whether the token and the one before it came like this up to LONG_CYCLE tokens ago."""
    pair = tokens[max(0, index - 1) : index + 1]
    return any(
        pair == tokens[index - 1 - cycle : index + 1 - cycle]
        for cycle in range(1, min(LONG_CYCLE, index - 1) + 1)
    )


def loop_start(tokens: Sequence[int], places: Sequence[int]) -> int | None:
    """Where in `tokens` a loop that has just closed begins to repeat, or None.

    `places` holds the encoder position at which each token was heard, and may be shorter than
    `tokens`. The cycle's first round is before the index returned.
    """
    size = len(places)
    for cycle in range(1, size // 2 + 1):
        rounds = SHORT_REPEATS if cycle < SHORT_CYCLE else 2
        start = size - cycle * rounds
        if start < 0 or tokens[start : size - cycle] != tokens[start + cycle : size]:
            continue
        moved = sum(places[i + cycle] - places[i] for i in range(start, size - cycle))
        if moved <= SAME_PLACE * (size - cycle - start):
            return start + cycle
    return None
