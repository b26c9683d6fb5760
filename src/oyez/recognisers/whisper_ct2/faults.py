"""Whisper's known faults: text invented where nobody speaks, and text that loops."""

from __future__ import annotations

from collections.abc import Sequence

_DOUBT = ((0.2, -1.0), (0.6, -0.6))
"""Pairs of a no-speech probability and a mean log probability: above the one and below the
other, text is invented. On recorded noise, music and tones against clean, telephone and noisy
speech in twelve languages the two part cleanly; Whisper's own pair (0.6, -1.0) lets much pass."""

_LOOPED_TOKENS = 12
"""So many tokens made of one repeated run are a loop; "no, no, no" is not."""
_LONGEST_RUN = 8
_FEWEST_ROUNDS = 4


def is_invented(no_speech: float, mean_log_probability: float) -> bool:
    """Whether a decoding is noise that was put into words."""
    return any(no_speech > above and mean_log_probability < below for above, below in _DOUBT)


def loop_start(tokens: Sequence[int]) -> int | None:
    """Where the first loop begins its second round, or None: from there on nothing was said."""
    for start in range(len(tokens)):
        for length in range(1, _LONGEST_RUN + 1):
            rounds = max(_FEWEST_ROUNDS, -(-_LOOPED_TOKENS // length))
            run = list(tokens[start : start + length])
            if list(tokens[start : start + length * rounds]) == run * rounds:
                return start + length
    return None
