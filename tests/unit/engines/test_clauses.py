from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from oyez.engines.whisper_onnx.clauses import COMMAS, Divider, runs_on
from oyez.engines.whisper_onnx.line import Line
from oyez.engines.whisper_onnx.tokens import Tokens

WITHOUT = "今天天气很好我们一起去公园散步吧然后回家吃饭"
WITH = "今天天气很好，我们一起去公园散步吧，然后回家吃饭。"
SPECIAL = [
    "endoftext",
    "startoftranscript",
    "transcribe",
    "startofprev",
    "notimestamps",
    "nospeech",
]


@pytest.mark.parametrize("text", [WITHOUT, WITHOUT + "。", " " + WITHOUT + "3.5?"])
def test_long_chinese_without_a_mark_inside_runs_on(text: str) -> None:
    assert runs_on(text, "zh")
    assert runs_on(text, "yue")


@pytest.mark.parametrize(
    "text", [WITH, WITHOUT.replace("我", ", 我"), WITHOUT[:19], "it was the best of times", ""]
)
def test_what_has_marks_or_is_short_or_foreign_does_not(text: str) -> None:
    assert not runs_on(text, "zh")


def test_other_languages_do_not_run_on() -> None:
    assert not runs_on(WITHOUT, "ja")


class Characters:
    """Each character is a token."""

    def whole(self, tokens: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        yield from ((at, at + 1, chr(token)) for at, token in enumerate(tokens))


class Writes:
    """Hears the same text whatever was said."""

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, line: Line, encoded: Any, cache: Any) -> None:
        line.tokens = [ord(char) for char in self._text]


def blank() -> Line:
    return Line(prompt=(), hint=(), max_tokens=50, audio=1)


@pytest.mark.parametrize("second, kept", [(WITH, WITH), (WITHOUT[1:], WITHOUT)])
def test_a_second_text_is_taken_if_it_has_marks(second: str, kept: str) -> None:
    divider = Divider(Writes(second), Characters())  # type: ignore[arg-type]
    first = blank()
    first.tokens = [ord(char) for char in WITHOUT]
    assert divider.runs_on(first, "zh")
    line = divider.divide(first, blank(), "zh", None, None)  # type: ignore[arg-type]
    assert "".join(map(chr, line.tokens)) == kept


def test_commas_are_found_in_a_vocabulary() -> None:
    words = ["a", ",", "Ġ,", "ãĢģ", ",,", "ãĢĤ", "Ġa", *(f"<|{name}|>" for name in SPECIAL)]
    vocabulary = {word: token for token, word in enumerate(words)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}
    config = {"suppress_ids": [], "suppress_ids_begin": []}
    assert Tokens(json.dumps({"version": "1.0", "model": model}), config).written(COMMAS) == (
        1,
        2,
        3,
    )
