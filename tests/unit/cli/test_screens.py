from __future__ import annotations

import io
import time

import pytest
from rich.cells import cell_len
from rich.console import Console

from oyez.cli.screens import (
    FileProgress,
    Screen,
    Status,
    TerminalScreen,
    finished_text,
    progress_line,
    status_line,
    unfinished_text,
)
from oyez.client import Utterance
from oyez.files.results import Progress

SAID = Utterance(3.24, 5.0, "It was the best of times, it was the worst of times.", "", "en", "sad")
CHINESE = Utterance(62.0, 70.0, "今天天气很好，我们去公园玩吧。" * 4, "", "zh", "neutral")


def test_an_utterance_stands_beside_what_is_known_of_it() -> None:
    first, second = finished_text(SAID, 60).plain.splitlines()
    assert first == "0:03.2   en   sad        It was the best of times, it was"
    assert second == " " * 25 + "the worst of times."


@pytest.mark.parametrize("columns", [40, 80])
def test_its_words_are_as_clear_as_any(columns: int) -> None:
    file = io.StringIO()
    out = Console(file=file, force_terminal=True, width=columns, color_system="standard")
    out.print(finished_text(SAID, columns))
    words = file.getvalue().partition("sad")[2]
    assert "\x1b[2m" in file.getvalue().partition("sad")[0]
    assert "\x1b[0m" in words.partition("It was")[0]
    assert "\x1b[2m" not in words


def test_in_a_narrow_terminal_it_stands_below() -> None:
    lines = finished_text(SAID, 40).plain.splitlines()
    assert lines[0] == "0:03.2  en  sad"
    assert lines[1] == "It was the best of times, it was the"


@pytest.mark.parametrize("columns", [20, 40, 60, 80])
def test_wide_characters_fit(columns: int) -> None:
    lines = finished_text(CHINESE, columns).plain.splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert "".join(line.split("neutral")[-1].strip() for line in lines) == CHINESE.text


def test_a_failure_is_shown_with_the_confirmed_text() -> None:
    failed = Utterance(0.0, 1.0, "It was", "", "en", "neutral", "ServerOverloaded")
    assert finished_text(failed, 80).plain.endswith("It was [not recognised]")


def test_confirmed_words_are_firm_and_tentative_ones_dim() -> None:
    text = unfinished_text([Utterance(0.0, None, "It was", " the beast")], 80, 5)
    assert text is not None
    styles = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert "bold" in styles["It was"]
    assert "dim" in styles[" the beast"]


def test_of_a_long_utterance_the_end_is_shown() -> None:
    words = " ".join(f"word{number}" for number in range(200))
    text = unfinished_text([Utterance(0.0, None, words)], 40, 4)
    assert text is not None
    assert len(text.plain.splitlines()) == 4
    assert text.plain.endswith("word199")
    assert unfinished_text([], 40, 4) is None


@pytest.mark.parametrize(
    ("level_db", "meter"),
    [
        (-90.0, "[          ]"),
        (-60.0, "[          ]"),
        (-30.0, "[#####     ]"),
        (3.0, "[##########]"),
    ],
)
def test_the_level_is_a_bar(level_db: float, meter: str) -> None:
    assert meter in status_line(Status(1.0, level_db, 0, False), 80, "#").plain


def test_overflows_are_shown() -> None:
    assert "3 overflows" in status_line(Status(1.0, -9.0, 3, False), 80, "#").plain
    assert "3 overflows" in status_line(Status(1.0, -9.0, 3, False), 40, "#").plain
    assert len(status_line(Status(1.0, -9.0, 3, False), 20, "#").plain) < 20


def test_a_terminal_is_left_clean() -> None:
    file = io.StringIO()
    screen = TerminalScreen(Console(file=file, force_terminal=True, width=80, height=24))
    screen.show([SAID], Status(1.0, -9.0, 0, False))
    screen.finished(SAID)
    screen.close()
    assert "\x1b[?25h" in file.getvalue(), "the cursor is shown again"


def test_plain_lines_have_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.finished(SAID)
    screen.finished(Utterance(9.0, 9.5))
    screen.finished(Utterance(9.0, 9.5, "", "", "en", "neutral", "too much\nto do"))
    said, failed = capsys.readouterr().out.splitlines()
    assert said.split("\t") == ["0:03.2", "en", "sad", SAID.text]
    assert failed.split("\t")[-1] == "[not recognised: too much to do]"


def test_the_progress_line_has_position_duration_and_speed() -> None:
    line = progress_line("talk.mp3", 60.0, 120.0, 20.0, 80)
    assert line == "talk.mp3  [############            ]  1:00 of 2:00  20.0x  0:03 left"


@pytest.mark.parametrize("columns", [12, 20, 40, 60, 80])
def test_the_progress_line_fits(columns: int) -> None:
    line = progress_line("a very long name of a file " * 4 + ".mp3", 3600.0, 7200.0, 20.0, columns)
    assert len(line) < columns
    assert "1:00:00" in line or columns < 20


def test_a_pipe_has_no_duration() -> None:
    assert progress_line("stdin", 60.0, None, 0.0, 80) == "stdin  1:00"


def test_outside_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    progress = FileProgress()
    progress.begin("talk.mp3", 120.0)
    for now_s in (1.0, 9.0, 10.0, 11.0):
        progress.take(Progress(now_s * 2))
    assert capsys.readouterr().err == "talk.mp3: 0:20 of 2:00\n"
