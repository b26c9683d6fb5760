from __future__ import annotations

import pytest

from oyez.cli import screens
from oyez.cli.screens import LineProgress, progress_line


def test_a_bar_tells_position_duration_and_speed() -> None:
    line = progress_line("talk.mp3", 60.0, 120.0, 20.0, 80)
    assert line == "talk.mp3  [############            ]  1:00 of 2:00  20.0x  0:03 left"


@pytest.mark.parametrize("columns", [12, 20, 40, 60, 80])
def test_it_fits(columns: int) -> None:
    line = progress_line("a very long name of a file " * 4 + ".mp3", 3600.0, 7200.0, 20.0, columns)
    assert len(line) < columns
    assert "1:00:00" in line or columns < 20


def test_a_pipe_has_no_duration() -> None:
    assert progress_line("stdin", 60.0, None, 0.0, 80) == "stdin  1:00"


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(screens.time, "monotonic", lambda: now_s)
    progress = LineProgress()
    progress.begin("talk.mp3", 120.0)
    for now_s in (1.0, 9.0, 10.0, 11.0):
        progress.reached(now_s * 2)
    assert capsys.readouterr().err == "talk.mp3: 0:20 of 2:00\n"
