from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from oyez.cli.errors import CommandError
from oyez.cli.transcribe_files import Transcript, plan, render, with_words, write
from oyez.files.results import Segment, Word

SAID = Segment(1.0, 2.0, "Hello there.", "en", "happy", (Word("Hello", 1.0, 1.4, 0.91234),))
LOST = Segment(61.0, 64.0, "", "en", "neutral", (), "ServerOverloaded")


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names(inputs: list[str], output: str | None = None, **options: bool) -> list[str]:
    planned = plan(inputs, output, "srt", force=options.get("force", False))
    return [str(path) for path in planned]


def test_one_goes_to_stdout_and_several_beside_themselves() -> None:
    Path("d").mkdir()
    assert names(["a.mp3"]) == ["None"]
    assert names(["a.mp3", "d/b.wav"]) == ["a.srt", "d/b.srt"]
    assert names(["a.mp3", "b.wav"], "-") == ["None", "None"]


def test_a_directory_takes_any_number_and_a_file_one() -> None:
    Path("out").mkdir()
    assert names(["x/a.mp3", "-"], "out") == ["out/a.srt", "out/stdin.srt"]
    assert names(["x/a.mp3"], "b.txt") == ["b.txt"]
    with pytest.raises(CommandError, match="no directory"):
        names(["a.mp3", "b.mp3"], "c.srt")
    with pytest.raises(CommandError, match="no directory"):
        names(["a.mp3"], "nowhere/c.srt")
    with pytest.raises(CommandError, match="no directory"):
        names(["a.mp3"], "nowhere/")


def test_files_of_one_name_do_not_write_over_each_other() -> None:
    Path("out").mkdir()
    assert names(["talk.mp3", "talk.wav"]) == ["talk.mp3.srt", "talk.wav.srt"]
    with pytest.raises(CommandError, match="same name"):
        names(["x/talk.mp3", "y/talk.mp3"], "out")


def test_nothing_is_replaced_unless_it_may_be() -> None:
    Path("a.srt").write_text("precious")
    with pytest.raises(CommandError, match="--force"):
        names(["a.mp3", "b.mp3"])
    assert names(["a.mp3", "b.mp3"], force=True) == ["a.srt", "b.srt"]
    with pytest.raises(CommandError, match="is an input"):
        names(["a.srt", "b.mp3"], force=True)


def test_devices_and_pipes_are_written_to_and_never_replaced() -> None:
    os.mkfifo("pipe")
    assert names(["a.mp3"], "pipe") == ["pipe"]
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        write(Path("pipe"), "one\n")
        assert reader.communicate()[0] == b"one\n"
    assert Path("pipe").is_fifo()
    assert names(["a.mp3"], "/dev/null") == ["/dev/null"]


def test_a_file_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("a.txt"), "one\n")
    assert Path("a.txt").read_bytes() == b"one\n"
    assert Path("a.txt").stat().st_mode & 0o400

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(Path("a.txt"), "two\n")
    assert [path.name for path in Path().iterdir()] == ["a.txt"]
    assert Path("a.txt").read_text() == "one\n"


def test_text_has_a_line_for_each_segment_and_says_what_is_missing() -> None:
    text = render(Transcript("a", [SAID, LOST]), "text")
    assert text == "Hello there.\n[1:01-1:04 not recognised]\n"


def test_json_has_everything() -> None:
    document = json.loads(render(Transcript("a.mp3", [SAID], 9.87654, complete=True), "json"))
    assert document["file"] == "a.mp3"
    assert document["complete"] is True
    assert document["duration_s"] == 9.877
    assert (document["language"], document["text"]) == ("en", "Hello there.")
    (segment,) = document["segments"]
    assert segment["emotion"] == "happy"
    assert segment["words"][0] == {
        "text": "Hello",
        "start_s": 1.0,
        "end_s": 1.4,
        "probability": 0.912,
    }
    assert json.loads(render(Transcript("a"), "json"))["complete"] is False


def test_unknown_times_of_words_are_spread_over_the_segment() -> None:
    spread = with_words(Segment(1.0, 3.0, "abc defgh", "en", "neutral", ()))
    assert [word.text for word in spread.words] == ["abc", " defgh"]
    assert spread.words[0].start_s == 1.0
    assert spread.words[-1].end_s == pytest.approx(3.0)
    chinese = with_words(Segment(0.0, 4.0, "今天天气", "zh", "neutral", ()))
    assert [word.end_s for word in chinese.words] == [1.0, 2.0, 3.0, 4.0]
    assert with_words(SAID) is SAID
    assert with_words(LOST).words == ()


def test_subtitles_come_out() -> None:
    no_words = Segment(1.0, 2.0, "Hello there.", "en", "happy", ())
    assert "00:00:01,000 --> 00:00:02,000\nHello there." in render(
        Transcript("a", [no_words]), "srt"
    )
    assert render(Transcript("a", [no_words]), "vtt").startswith("WEBVTT\n")
