from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from oyez.cli.terminal import wrap
from oyez.cli.values import printable

WIDE = "今天天气很好，我们去公园玩吧。"


def lines(text: str, columns: int) -> list[str]:
    return [line.plain for line in wrap(Text(text), columns)]


def test_words_stay_whole() -> None:
    assert lines("the quick brown fox", 9) == ["the quick", "brown fox"]
    assert lines("  the   quick ", 5) == ["the", "quick"]
    assert lines("", 5) == []


def test_wide_characters_break_anywhere_but_before_a_mark() -> None:
    assert lines(WIDE, 12) == ["今天天气很", "好，我们去公", "园玩吧。"]
    assert lines("see 今天天气", 8) == ["see 今天", "天气"]


def test_what_does_not_fit_is_cut() -> None:
    assert lines("incomprehensibilities", 8) == ["incompre", "hensibil", "ities"]


def test_marks_that_take_no_column_stay_with_their_letter() -> None:
    thai = "ที่นี่ที่นี่"
    assert all(not line.startswith(("ี", "่")) for line in lines(thai, 2))


@given(
    st.text(
        st.sampled_from("ab ,。今「」é\u0301ที่x\t(") | st.characters(codec="utf-8"), max_size=60
    ),
    st.integers(2, 30),
)
def test_nothing_is_lost_and_every_line_fits(text: str, columns: int) -> None:
    text = printable(text)
    found = lines(text, columns)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(cell_len(line) <= columns for line in found)
    assert all(line and line == line.strip() for line in found)


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\rb", "a\x9bb", "a\x00b"])
def test_nothing_a_terminal_would_obey_is_printable(text: str) -> None:
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in printable(text))
    assert printable(text)[0] == "a"
