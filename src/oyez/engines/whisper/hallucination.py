"""Detects text that Whisper writes although it was not spoken: inventions, loops and echoes.

All checks look at finished or growing text; the engines decide what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

MIN_MEAN_LOG = -2.1
"""Text whose mean log probability is lower is invented, if speech is certain."""
MIN_MEAN_LOG_PER_NO_SPEECH = 1.2
"""The limit rises by this much for a no-speech probability of 1. Both numbers separate speech
(also quiet and telephone speech) from noise, music, tones and silence."""

_STEP_LIMITS = ((0.2, -1.0), (0.6, -0.6))
"""Pairs of a no-speech probability and a mean log probability. Text is invented if it is above the
one and below the other. On recorded noise, music and tones against clean, telephone and noisy
speech in twelve languages they separate the two cleanly; Whisper's own pair (0.6, -1.0) lets much
invented text pass."""

SILENCE_CHECK_NO_SPEECH = 0.5
"""From this no-speech probability on, text is compared with what silence would give. It is reached
by one final of speech in fifty."""
MIN_SILENCE_GAIN = 0.8
"""How much likelier (mean logarithm per token) audio must make a text than silence does. Speech:
1.8 and more, twice 1.1; text invented on noise, music, tones, breath and silence: at most 0.65."""

MAX_CYCLE_TOKENS = 8
"""Tokens repeated at a longer distance count as new."""
SAME_POSITION = 5
"""Two tokens this many encoder positions (20 ms each) apart or less are at the same place: no
speaker repeats a word within 0.1 s."""
SHORT_CYCLE_TOKENS = 4
"""A cycle of fewer tokens must repeat SHORT_CYCLE_ROUNDS times, because attention on a single token
jitters. A longer cycle must repeat twice."""
SHORT_CYCLE_ROUNDS = 4

_MIN_LOOP_TOKENS = 12
"""A repeated run is a loop if its rounds have at least this many tokens; "no, no, no" has fewer."""
_MIN_LOOP_ROUNDS = 4

_MIN_ECHO_SIMILARITY = 0.5
"""Names that Whisper misspells keep more than half of their letters in order."""


def is_invented(tokens: Sequence[int], probabilities: Sequence[float], no_speech: float) -> bool:
    """Return whether text is too unlikely to have been spoken, judged token by token.

    Tokens that repeat those just before them are not counted: after a first round, however
    unlikely, the model is confident of the next.
    """
    limit = MIN_MEAN_LOG + MIN_MEAN_LOG_PER_NO_SPEECH * no_speech
    return _mean_log(tokens, probabilities) < limit


def is_invented_by_score(no_speech: float, mean_log_probability: float) -> bool:
    """Return whether text is too unlikely to have been spoken, where only the mean over its tokens
    is known."""
    return any(no_speech > above and mean_log_probability < below for above, below in _STEP_LIMITS)


def is_as_likely_in_silence(
    tokens: Sequence[int], probabilities: Sequence[float], silence_probabilities: Sequence[float]
) -> bool:
    """Return whether the audio makes the text hardly likelier than silence does.

    Whisper has learnt what subtitles contain where there is no speech: credits, thanks, [music]. It
    writes them with confidence, so their probability alone does not show that they are invented.

    silence_probabilities: the probabilities of the tokens if the audio were silence.
    """
    gain = _mean_log(tokens, probabilities) - _mean_log(tokens, silence_probabilities)
    return gain < MIN_SILENCE_GAIN


def stalled_loop_start(tokens: Sequence[int], positions: Sequence[int]) -> int | None:
    """Return where a loop that has just closed begins its second round, or None.

    A loop differs from words that are really repeated in its positions: the next "no" of a speaker
    is later in the audio than the last.

    positions: the encoder position of each token; it may be shorter than `tokens`.
    """
    size = len(positions)
    for cycle in range(1, size // 2 + 1):
        rounds = SHORT_CYCLE_ROUNDS if cycle < SHORT_CYCLE_TOKENS else 2
        start = size - cycle * rounds
        if start < 0 or tokens[start : size - cycle] != tokens[start + cycle : size]:
            continue
        moved = sum(positions[i + cycle] - positions[i] for i in range(start, size - cycle))
        if moved <= SAME_POSITION * (size - cycle - start):
            return start + cycle
    return None


def repetition_start(tokens: Sequence[int]) -> int | None:
    """Return where the first loop begins its second round, or None. For engines that do not report
    positions."""
    for start in range(len(tokens)):
        for length in range(1, MAX_CYCLE_TOKENS + 1):
            rounds = max(_MIN_LOOP_ROUNDS, -(-_MIN_LOOP_TOKENS // length))
            run = list(tokens[start : start + length])
            if list(tokens[start : start + length * rounds]) == run * rounds:
                return start + length
    return None


def without_repeats(context: str) -> str:
    """Return the terms of a context, each once. Whisper echoes a repeated term even over clear
    speech."""
    terms = (term.strip() for term in re.split(r"[,;.\n，、；。]", context))
    return ", ".join(dict.fromkeys(term for term in terms if term))


def may_be_echo(text: str, context: str) -> bool:
    """Return whether all words of `text` are in the context, in this order. Then it is worth
    decoding again without the context."""
    found = letters_of(text)
    return found != "" and found in letters_of(context)


def confirms(text: str, without_context: str) -> bool:
    """Return whether the text decoded without the context is similar enough to `text`."""
    matcher = SequenceMatcher(None, letters_of(text), letters_of(without_context))
    return matcher.ratio() >= _MIN_ECHO_SIMILARITY


def letters_of(text: str) -> str:
    """Return the letters and digits of a text in one case, to compare spellings."""
    return "".join(char for char in text.casefold() if char.isalnum())


def _mean_log(tokens: Sequence[int], probabilities: Sequence[float]) -> float:
    """Return the mean log probability of the tokens that do not repeat earlier ones."""
    new = [p for i, p in enumerate(probabilities) if not _repeats(tokens, i)]
    return float(np.log(np.maximum(new, 1e-10)).mean())


def _repeats(tokens: Sequence[int], index: int) -> bool:
    """Return whether the token and the one before it also occur up to MAX_CYCLE_TOKENS earlier."""
    pair = tokens[max(0, index - 1) : index + 1]
    return any(
        pair == tokens[index - 1 - cycle : index + 1 - cycle]
        for cycle in range(1, min(MAX_CYCLE_TOKENS, index - 1) + 1)
    )
