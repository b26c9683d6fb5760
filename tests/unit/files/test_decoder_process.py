from __future__ import annotations

import asyncio
import io
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray

from oyez.audio import pcm
from oyez.files import confine, decoder_process, decoding
from oyez.files.decoder_process import (
    CRASHED,
    TOO_MUCH_TIME,
    DecodedFile,
    DecoderCrash,
    DecoderError,
    DecoderLimits,
    decoded,
)
from oyez.files.decoding import TOO_MUCH_MEMORY, MediaError
from oyez.files.media import open_media
from support.decoders import CRASHES, SPINS, decode_by, is_gone
from support.media import encoded, tone

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
WAV = encoded(tone(3.0), "wav", "pcm_s16le")


def on_disk(data: bytes) -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    return file


async def decode(data: bytes, **limits: Any) -> tuple[NDArray[np.float32], int]:
    """All samples, and the number of notes."""
    with on_disk(data) as file:
        async with decoded(file, DecoderLimits(**limits)) as media:
            blocks = [block async for block in media.blocks()]
            return np.concatenate(blocks), media.notes


def test_the_rate_is_that_of_the_engines() -> None:
    assert decoding.SAMPLE_RATE == pcm.SAMPLE_RATE


@pytest.mark.parametrize(
    "data",
    [
        WAV,
        encoded(tone(70.0, rate=48_000), "webm", "libopus", rate=48_000),
        encoded(tone(2.0, rate=48_000), "mp4", "aac", rate=48_000, video=True),
        encoded(tone(5.0), "flac", "flac")[:9_000],
    ],
)
async def test_it_is_the_same_sound_as_without_a_process(data: bytes) -> None:
    with open_media(io.BytesIO(data)) as media:
        expected = np.concatenate(list(media.blocks()))
    found, notes = await decode(data)
    assert np.array_equal(found, expected)
    assert notes == len(media.notes)


async def test_what_is_no_media_is_refused_in_the_same_words() -> None:
    with pytest.raises(MediaError, match="it is empty, or not audio or video") as raised:
        await decode(b"Dear Sir or Madam, " * 100)
    assert not isinstance(raised.value, DecoderCrash)


async def test_a_length_that_the_file_says_is_known_before_it_is_decoded() -> None:
    for container, codec, expected in (("wav", "pcm_s16le", 3.0), ("mp3", "libmp3lame", None)):
        with on_disk(encoded(tone(3.0, rate=48_000), container, codec, rate=48_000)) as file:
            async with decoded(file, DecoderLimits()) as media:
                assert media.duration_s == expected


async def test_a_crash_is_an_error_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_by(monkeypatch, CRASHES)
    with pytest.raises(DecoderCrash, match=CRASHED) as raised:
        await decode(WAV)
    assert f"ended with -{signal.SIGSEGV.value}" in raised.value.detail


async def test_an_exception_is_an_error_of_the_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_by(monkeypatch, "raise IndexError('of a track')")
    with pytest.raises(DecoderCrash, match=CRASHED) as raised:
        await decode(WAV)
    assert "IndexError: of a track" in raised.value.detail


async def test_time_without_sound_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_by(monkeypatch, SPINS, first="confine.STALL_CPU_S = 1")
    with pytest.raises(DecoderCrash, match=TOO_MUCH_TIME):
        await decode(WAV)


async def test_time_in_all_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = "while True:\n    confine.extend_cpu_time()"
    decode_by(monkeypatch, busy)
    with pytest.raises(DecoderCrash, match=TOO_MUCH_TIME):
        await decode(WAV, cpu_s=2)


async def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_by(monkeypatch, "bytearray(400 << 20)")
    with pytest.raises(MediaError, match=TOO_MUCH_MEMORY):
        await decode(WAV)


@pytest.mark.parametrize(
    "answer",
    [
        "b's' + (1 << 30).to_bytes(4, 'little')",
        "b's' + (131073).to_bytes(4, 'little') + bytes(131073)",
        "b's' + (3).to_bytes(4, 'little') + bytes(3)",
        "b'o' + (2000).to_bytes(4, 'little') + bytes(2000)",
        "b'?' + bytes(4)",
        "b'e' + (1).to_bytes(4, 'little') + b'x'",
        "b's'",
        "b''",
    ],
)
async def test_answers_of_a_process_taken_over_are_checked(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    opened = "b'o' + bytes(4)"
    decode_by(monkeypatch, f"import os\nos.write(1, {opened} + {answer})\nos._exit(0)")
    with pytest.raises(DecoderCrash, match=CRASHED):
        await decode(WAV)


async def test_a_reason_is_one_line_without_control_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode_by(monkeypatch, "raise decoding.MediaError('a\\x1b[31m\\nb')")
    with pytest.raises(MediaError) as raised:
        await decode(WAV)
    assert str(raised.value) == "a [31m b"


async def test_a_process_that_cannot_start_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(DecoderError, match="ImportError|MemoryError"):
        await decode(WAV, memory_bytes=60 << 20)
    monkeypatch.setattr(decoder_process, "COMMAND", "import not_there")
    with pytest.raises(DecoderError, match="ended with 1: ModuleNotFoundError"):
        await decode(WAV)
    monkeypatch.setattr(sys, "executable", "/not/there")
    with pytest.raises(DecoderError, match="No such file"):
        await decode(WAV)


@LINUX
async def test_it_has_none_of_our_descriptors_and_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OYEZ_API_KEY", "hush")
    decode_by(monkeypatch, SPINS)
    with on_disk(WAV) as file, socket.socket() as ours, tempfile.NamedTemporaryFile() as database:
        for descriptor in (ours.fileno(), database.fileno()):
            os.set_inheritable(descriptor, True)
        process = DecodedFile()
        try:
            await process.start(file, DecoderLimits(environment={"LD_LIBRARY_PATH": "/opt/lib"}))
            assert process._popen is not None
            place = Path(f"/proc/{process._popen.pid}")
            assert sorted(each.name for each in (place / "fd").iterdir()) == ["0", "1", "2"]
            if platform.machine() in confine.MACHINES:
                tasks = [(task / "status").read_text() for task in (place / "task").iterdir()]
                assert ["Seccomp:\t2" in each for each in tasks] == [True, True]
            environment = (place / "environ").read_bytes().rstrip(b"\0").split(b"\0")
            assert sorted(environment) == [b"LD_LIBRARY_PATH=/opt/lib", b"MALLOC_ARENA_MAX=1"]
        finally:
            await process.end()


@LINUX
async def test_it_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_by(monkeypatch, SPINS)
    process = DecodedFile()

    async def use() -> None:
        monkeypatch.setattr(decoder_process, "DecodedFile", lambda: process)
        with on_disk(WAV) as file:
            async with decoded(file, DecoderLimits()):
                pass

    using = asyncio.create_task(use())
    while not process.is_ready:  # noqa: ASYNC110 - it is no event
        await asyncio.sleep(0.01)
    assert process._popen is not None
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert process._popen.returncode == -signal.SIGKILL
    assert is_gone(process._popen.pid, within_s=0.0)


@LINUX
def test_it_ends_when_the_server_is_killed() -> None:
    code = f"""
import asyncio, sys, tempfile
sys.path[:0] = {sys.path!r}
import pytest
from oyez.files import decoder_process
from support.decoders import SPINS, decode_by
decode_by(pytest.MonkeyPatch(), SPINS)
async def main():
    process = decoder_process.DecodedFile()
    await process.start(tempfile.TemporaryFile(), decoder_process.DecoderLimits())
    print(process._popen.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout:
        pid = int(server.stdout.readline())
        assert not is_gone(pid, within_s=0.0)
        server.kill()
        server.wait()
        assert is_gone(pid)
