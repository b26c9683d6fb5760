"""Whisper's known faults: text invented where nobody speaks, loops, and echoes of the context.

Shared by the engines that run Whisper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

_DOUBT = ((0.2, -1.0), (0.6, -0.6))
"""Pairs of a no-speech probability and a mean log probability: above the one and below the
other, text is invented. On recorded noise, music and tones against clean, telephone and noisy
speech in twelve languages the two part cleanly; Whisper's own pair (0.6, -1.0) lets much pass."""

_LOOPED_TOKENS = 12
"""So many tokens made of one repeated run are a loop; "no, no, no" is not."""
_LONGEST_RUN = 8
_FEWEST_ROUNDS = 4

_LEAST_SIMILARITY = 0.5
"""Names that Whisper misspells keep more than half of their letters in order."""


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


def without_repeats(context: str) -> str:
    """The terms of a context, each once: a repeated one is echoed even over clear speech."""
    terms = (term.strip() for term in re.split(r"[,;.\n，、；。]", context))
    return ", ".join(dict.fromkeys(term for term in terms if term))


def may_be_echo(text: str, context: str) -> bool:
    """Whether every word heard comes, in this order, from the context: worth a second decoding
    without it."""
    heard = letters(text)
    return bool(heard) and heard in letters(context)


def confirms(text: str, without_context: str) -> bool:
    """Whether what is heard without the context is near enough to what was heard with it."""
    similarity = SequenceMatcher(None, letters(text), letters(without_context)).ratio()
    return similarity >= _LEAST_SIMILARITY


def letters(text: str) -> str:
    """The letters and digits of a text, in one case: what two spellings are compared by."""
    return "".join(char for char in text.casefold() if char.isalnum())
