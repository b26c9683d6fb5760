"""`oyez transcribe` as a user runs it, with a fake engine; once with the real one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from oyez.testing import FakeRecogniser
from support.server import running_server, silence, speech
from support.terminal import ENVIRONMENT, FAKE_ENGINE, a_terminal, recording

COMMAND = [sys.executable, "-m", "oyez", "transcribe"]
SAID = silence(0.5) + speech(2.0) + silence(1.5) + speech(1.0) + silence(1.5)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return recording(tmp_path / "talk.wav", SAID)


def run(
    *arguments: str | Path, engine: tuple[str, ...] = FAKE_ENGINE, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments), *engine],
        capture_output=True,
        text=True,
        timeout=60,
        env={**ENVIRONMENT, **variables},
        stdin=subprocess.DEVNULL,
    )


def test_text_goes_to_stdout_and_progress_to_stderr(talk: Path) -> None:
    done = run(talk)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one two three four five.\none two three.\n"
    assert done.stderr.startswith("talk.wav: 0:06 in ") or f"{talk}: 0:06 in " in done.stderr
    assert "x real time" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert run(talk, "--quiet").stderr == ""


def test_a_broken_file_does_not_stop_the_others(tmp_path: Path, talk: Path) -> None:
    broken = tmp_path / "broken.mp3"
    broken.write_text("no music")
    other = recording(tmp_path / "other.wave", SAID)
    done = run(broken, talk, tmp_path / "missing.wav", other)
    assert done.returncode == 1
    assert "broken.mp3: " in done.stderr
    assert "missing.wav: No such file" in done.stderr
    assert "2 of 4 files failed" in done.stderr
    assert "Traceback" not in done.stderr
    for path in (talk, other):
        assert path.with_suffix(".txt").read_text() == "one two three four five.\none two three.\n"
    assert not broken.with_suffix(".txt").exists()
    again = run(broken, talk)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert run(talk, other, "--force").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_disk_is_an_error_and_nothing_is_reported_as_kept(talk: Path, form: str) -> None:
    quoted = " ".join([*COMMAND, str(talk), "--format", form, *FAKE_ENGINE])
    for where in ("> /dev/full", "-o /dev/full"):
        done = subprocess.run(
            ["bash", "-c", f"{quoted} {where}"],
            capture_output=True,
            text=True,
            timeout=60,
            env=ENVIRONMENT,
        )
        assert done.returncode == 1
        assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
        assert "holds" not in done.stderr


def test_names_cannot_command_a_terminal(tmp_path: Path) -> None:
    done = run(recording(tmp_path / "a\x1b[31m\n.wav", SAID))
    assert done.returncode == 0
    assert "\x1b" not in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["json", "srt", "vtt"])
def test_other_formats_are_written_to_the_output(tmp_path: Path, talk: Path, form: str) -> None:
    output = tmp_path / f"out.{form}"
    done = run(talk, "--format", form, "-o", output, "--language", "de")
    assert (done.returncode, done.stdout) == (0, "")
    text = output.read_text()
    if form == "json":
        document = json.loads(text)
        assert document["complete"] is True
        assert [segment["language"] for segment in document["segments"]] == ["de", "de"]
        words = document["segments"][0]["words"]
        assert [word["text"].strip(" .") for word in words] == [
            "one",
            "two",
            "three",
            "four",
            "five",
        ]
        assert 0.4 < words[0]["start_s"] < 1.0
    else:
        assert text.count("-->") == 2


def test_stdin_is_a_file(talk: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "-", *FAKE_ENGINE],
        input=talk.read_bytes(),
        capture_output=True,
        timeout=60,
        env=ENVIRONMENT,
    )
    assert done.stdout == b"one two three four five.\none two three.\n"


def test_a_server_gives_the_same_text(talk: Path) -> None:
    key = "hush-hush-very-secret"

    async def through() -> tuple[subprocess.CompletedProcess[str], ...]:
        async with running_server(api_key=key) as server:
            url = ("--url", f"ws://{server.address}")
            by_flag = await asyncio.to_thread(run, talk, *url, "--key", key, engine=())
            srt = ("--format", "srt")
            by_name = await asyncio.to_thread(run, talk, *url, *srt, engine=(), OYEZ_API_KEY=key)
            refused = await asyncio.to_thread(run, talk, *url, "--key", "wrong", engine=())
            await server.assert_nothing_left()
            return by_flag, by_name, refused

    by_flag, by_name, refused = asyncio.run(through())
    assert by_flag.stdout == "one two three four five.\none two three.\n"
    assert by_name.stdout.count("-->") == 2
    assert "00:00:00,180 --> " in by_name.stdout, "the turn's own times"
    assert refused.returncode == 3
    assert "OYEZ_API_KEY" in refused.stderr
    for done in (by_flag, by_name, refused):
        assert "hush" not in done.stderr
        assert "wrong" not in done.stderr


def test_a_server_that_goes_away_leaves_what_it_said(talk: Path, tmp_path: Path) -> None:
    long = recording(tmp_path / "long.wav", SAID * 20)

    async def cut() -> subprocess.CompletedProcess[str]:
        engine = FakeRecogniser(delay_s=0.1)
        async with running_server(engine) as server:
            running = asyncio.create_task(
                asyncio.to_thread(run, long, "--url", f"ws://{server.address}", engine=())
            )
            while len(engine.requests) < 8:  # noqa: ASYNC110 - it is another thread's
                await asyncio.sleep(0.02)
            for connection in set(server.server.realtime.connections):
                connection.close(1011, "Internal service error.")
            return await running

    done = asyncio.run(cut())
    assert done.returncode == 1
    assert done.stdout.startswith("one two three four five.\n")
    assert "had an internal error" in done.stderr
    assert "holds the first 0:" in done.stderr


@pytest.mark.parametrize("columns", [80, 40])
def test_ctrl_c_keeps_what_was_transcribed(tmp_path: Path, columns: int) -> None:
    long = recording(tmp_path / "long.wav", SAID * 100)
    output = tmp_path / "out.json"

    async def interrupted() -> tuple[int, str, list[str]]:
        async with running_server(FakeRecogniser(delay_s=0.05)) as server:
            arguments = ["transcribe", str(long), "--format", "json", "-o", str(output)]
            arguments += ["--url", f"ws://{server.address}"]
            with a_terminal(*arguments, columns=columns) as terminal:
                await asyncio.to_thread(terminal.until, "of 10:50")
                await asyncio.to_thread(terminal.until, "x")
                shown = terminal.lines
                await asyncio.sleep(0.5)
                terminal.ctrl_c()
                code = await asyncio.to_thread(terminal.end)
                return code, "".join(terminal.lines), shown

    code, text, shown = asyncio.run(interrupted())
    assert code == 130
    assert all(len(line) < columns for line in shown)
    assert "interrupted" in text
    assert "holds the first" in text
    assert "of 10:50" not in text, "the bar is gone"
    document = json.loads(output.read_text())
    assert document["complete"] is False
    assert document["segments"][0]["text"] == "one two three four five."


def test_text_stands_above_the_bar(tmp_path: Path) -> None:
    long = recording(tmp_path / "long.wav", SAID * 30)
    with a_terminal("transcribe", str(long), *FAKE_ENGINE) as terminal:
        code = terminal.end()
    assert code == 0, terminal.text
    assert terminal.lines.count("one two three four five.") == 30
    assert "x real time" in terminal.lines[-1]


def test_a_reader_that_closes_the_pipe_early_is_no_error(tmp_path: Path) -> None:
    long = recording(tmp_path / "long.wav", SAID * 30)
    line = " ".join([*COMMAND, str(long), *FAKE_ENGINE, "--quiet"])
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -1"], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.stdout == "one two three four five.\n"
    assert done.stderr == ""


@pytest.mark.model
def test_the_sample_with_the_real_engine() -> None:
    with as_file(files("oyez") / "assets" / "two_cities.wav") as sample:
        done = run(sample, "--format", "srt", engine=("--threads", "1"))
    assert done.returncode == 0, done.stderr
    first = done.stdout.split("\n\n")[0].splitlines()
    assert first[0] == "1"
    assert first[1].startswith("00:00:00,")
    assert " ".join(first[2:]).startswith("It was the best of times")
