"""Microphones and pipes, without a command around them."""

from __future__ import annotations

import asyncio
import io
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oyez.cli.audio_sources import (
    MICROPHONE_PACKETS,
    PIPE_BLOCK_BYTES,
    PIPE_PACKETS,
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

    def hear(self, block: bytes, *, overflow: bool = False) -> None:
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
        device.hear(block.tobytes())
    microphone.stop()
    pcm = b"".join([packet async for packet in microphone.packets()])
    heard = np.frombuffer(pcm, "<i2").astype(float)
    assert device.closed
    assert len(heard) == pytest.approx(16_000, abs=4)
    assert np.argmax(np.abs(np.fft.rfft(heard[:16_000]))) == pytest.approx(440, abs=1)
    assert microphone.overflows == 0


async def test_what_is_lost_is_counted(devices: list[Device]) -> None:
    microphone = Microphone(None)
    microphone.start()
    devices[0].hear(BLOCK_48K, overflow=True)
    for _ in range(MICROPHONE_PACKETS + 1):
        devices[0].hear(BLOCK_48K)
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
    await asyncio.to_thread(devices[0].hear, BLOCK_48K)
    assert len(await asyncio.wait_for(waiting, 5.0)) > 0
    microphone.stop()
    assert [packet async for packet in packets]


class Endless(io.RawIOBase):
    """Zeros, and how many were taken."""

    taken_bytes = 0

    def read1(self, size: int) -> bytes:
        self.taken_bytes += size
        return bytes(size)


async def test_a_pipe_is_read_only_as_far_as_its_audio_is_taken() -> None:
    file = Endless()
    pipe = Pipe(file, 16_000)
    pipe.start()
    packets = pipe.packets()
    await anext(packets)
    for _ in range(100):
        before = file.taken_bytes
        await asyncio.sleep(0.02)
        if file.taken_bytes == before:
            break
    # those taken out at once, those that wait for their turn, and the one in hand
    assert file.taken_bytes <= (2 * PIPE_PACKETS + 2) * PIPE_BLOCK_BYTES
    pipe.stop()


async def test_a_broken_pipe_is_an_error_of_the_source() -> None:
    class Broken(io.RawIOBase):
        def read1(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

    pipe = Pipe(Broken(), 16_000)
    pipe.start()
    with pytest.raises(SourceError, match="Input/output error"):
        _ = [packet async for packet in pipe.packets()]


async def test_half_a_sample_waits_for_its_other_half() -> None:
    class Bytewise(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return super().read(3)

    samples = np.arange(-50, 50, dtype="<i2") * 100
    pipe = Pipe(Bytewise(samples.tobytes()), 16_000)
    pipe.start()
    pcm = b"".join([packet async for packet in pipe.packets()])
    np.testing.assert_allclose(np.frombuffer(pcm, "<i2"), samples, atol=1)
