"""Chinese without a mark between its clauses.

Whisper writes a Chinese text with its marks or with none, as the subtitles it has learnt from were
written. Which it is turns on little: with commas a little likelier it writes marks. In texts that
have marks already, most of those added so would be wrong.
"""

from __future__ import annotations

import re

from oyez.engines.whisper_onnx.beam import Beam
from oyez.engines.whisper_onnx.decode import Cache, Encoded
from oyez.engines.whisper_onnx.line import Line
from oyez.engines.whisper_onnx.tokens import Tokens

COMMAS = frozenset({",", "，", "、"})
WELCOME = 2.0
"""Added to the scores of commas where a text has no marks. Of 10 such finals 9 get some, with 1.0
six; with 3.0 commas part what belongs together."""
LONG_CHARS = 20
"""Shorter texts may be one clause."""

_LANGUAGES = frozenset({"zh", "yue"})
_FIRST_HAN = "\u3400"
_MARK_INSIDE = re.compile(r"[，、。？！；：,.?!;:]\s*[^\s\d，、。？！；：,.?!;:]")


def runs_on(text: str, language: str) -> bool:
    """Whether `text` should have a mark between its clauses and has none."""
    if language not in _LANGUAGES or _MARK_INSIDE.search(text):
        return False
    return sum(char >= _FIRST_HAN for char in text) >= LONG_CHARS


class Divider:
    """Decodes what runs on again."""

    def __init__(self, search: Beam, tokens: Tokens) -> None:
        """search: one to which commas are welcome."""
        self._search = search
        self._tokens = tokens

    def runs_on(self, line: Line, language: str) -> bool:
        text = "".join(text for _, _, text in self._tokens.whole(line.tokens))
        return runs_on(text, language)

    def divide(
        self, line: Line, again: Line, language: str, encoded: Encoded, cache: Cache
    ) -> Line:
        """Decode `again`, a line that is yet to be decoded, in place of `line`, which runs on.
        Returns `line` if `again` has no marks either."""
        self._search.run(again, encoded, cache)
        return line if self.runs_on(again, language) else again
