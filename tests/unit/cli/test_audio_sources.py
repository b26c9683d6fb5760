"""Microphones and pipes, without a command around them."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oyez.cli.audio_sources import (
    MICROPHONE_PACKETS,
    PIPE_BLOCK_BYTES,
    InterruptiblePipe,
    Microphone,
    Pipe,
    SourceError,
)

BLOCK_48K = bytes(2 * 4800)


class Device:
    """A microphone that can 48 kHz only; the test is its hardware."""

    def __init__(self, **options: Any) -> None:
        self.rate: int = options["samplerate"]
        self.callback: Callable[..., None] = options["callback"]
        self.closed = False

    def start(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def record(self, block: bytes, *, overflow: bool = False) -> None:
        self.callback(block, len(block) // 2, None, types.SimpleNamespace(input_overflow=overflow))


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """Those that were opened."""
    opened: list[Device] = []

    class PortAudioError(Exception):
        pass

    def no_16_khz(**settings: Any) -> None:
        raise PortAudioError("Invalid sample rate")

    def stream(**options: Any) -> Device:
        opened.append(Device(**options))
        return opened[-1]

    library = types.ModuleType("sounddevice")
    library.__dict__.update(
        PortAudioError=PortAudioError,
        check_input_settings=no_16_khz,
        query_devices=lambda device, kind: {"default_samplerate": 48_000.0},
        RawInputStream=stream,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    return opened


async def test_a_device_of_another_rate_is_resampled(devices: list[Device]) -> None:
    microphone = Microphone(None)
    microphone.check()
    microphone.start()
    (device,) = devices
    assert device.rate == 48_000
    tone = np.sin(2 * np.pi * 440 * np.arange(4800 * 10) / 48_000) * 8000
    for block in tone.astype("<i2").reshape(10, -1):
        device.record(block.tobytes())
    microphone.stop()
    pcm = b"".join([packet async for packet in microphone.packets()])
    recorded = np.frombuffer(pcm, "<i2").astype(float)
    assert device.closed
    assert len(recorded) == pytest.approx(16_000, abs=4)
    assert np.argmax(np.abs(np.fft.rfft(recorded[:16_000]))) == pytest.approx(440, abs=1)
    assert microphone.overflows == 0


async def test_what_is_lost_is_counted(devices: list[Device]) -> None:
    microphone = Microphone(None)
    microphone.start()
    devices[0].record(BLOCK_48K, overflow=True)
    for _ in range(MICROPHONE_PACKETS + 1):
        devices[0].record(BLOCK_48K)
    assert microphone.overflows == 3
    microphone.stop()
    assert len([packet async for packet in microphone.packets()]) == MICROPHONE_PACKETS + 1


async def test_audio_is_yielded_as_it_is_recorded(devices: list[Device]) -> None:
    microphone = Microphone(None)
    microphone.start()
    packets = microphone.packets()
    waiting = asyncio.ensure_future(anext(packets))
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.to_thread(devices[0].record, BLOCK_48K)
    assert len(await asyncio.wait_for(waiting, 5.0)) > 0
    microphone.stop()
    assert [packet async for packet in packets]


class FakePipe(InterruptiblePipe):
    """A pipe without a descriptor; `read` says what is in it."""

    def __init__(self) -> None: ...

    def interrupt(self) -> None: ...


class Endless(FakePipe):
    """Zeros, and how many were taken."""

    taken_bytes = 0

    def read(self, size: int) -> bytes:
        self.taken_bytes += size
        return bytes(size)


async def test_a_pipe_is_read_only_as_far_as_its_audio_is_taken() -> None:
    file = Endless()
    pipe = Pipe(file, 16_000)
    pipe.start()
    packets = pipe.packets()
    await anext(packets)
    await asyncio.sleep(0.1)
    assert file.taken_bytes == PIPE_BLOCK_BYTES
    await anext(packets)
    assert file.taken_bytes == 2 * PIPE_BLOCK_BYTES
    pipe.stop()


async def test_a_broken_pipe_is_an_error_of_the_source() -> None:
    class Broken(FakePipe):
        def read(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

    pipe = Pipe(Broken(), 16_000)
    pipe.start()
    with pytest.raises(SourceError, match="Input/output error"):
        _ = [packet async for packet in pipe.packets()]


async def test_half_a_sample_waits_for_its_other_half() -> None:
    class Bytewise(FakePipe):
        def __init__(self, data: bytes) -> None:
            self._file = io.BytesIO(data)

        def read(self, size: int) -> bytes:
            return self._file.read(3)

    samples = np.arange(-50, 50, dtype="<i2") * 100
    pipe = Pipe(Bytewise(samples.tobytes()), 16_000)
    pipe.start()
    pcm = b"".join([packet async for packet in pipe.packets()])
    np.testing.assert_allclose(np.frombuffer(pcm, "<i2"), samples, atol=1)


async def test_the_first_bytes_of_a_pipe_decide_and_are_not_lost() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        os.write(writing, b"\x00\x01")
        pipe = Pipe(InterruptiblePipe(file), None)
        os.write(writing, bytes(14))
        os.close(writing)
        pcm = b"".join([packet async for packet in pipe.packets()])
    assert len(pcm) == 16
    assert pcm[:2] == b"\x00\x01"


async def test_a_read_of_a_silent_pipe_can_be_cancelled() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        waiting = asyncio.ensure_future(anext(Pipe(InterruptiblePipe(file), 16_000).packets()))
        await asyncio.sleep(0.1)
        waiting.cancel()
        done, _ = await asyncio.wait([waiting], timeout=5.0)
    os.close(writing)
    assert done and waiting.cancelled()
