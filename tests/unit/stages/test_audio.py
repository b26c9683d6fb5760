"""PCM from the wire becomes samples."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from oyez.stages.audio import PCM_SAMPLE_RATES, AudioError, make_decoder


def _tone(rate: int, seconds: float = 2.0, hz: float = 440.0) -> bytes:
    t = np.arange(int(rate * seconds)) / rate
    return (16_384 * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()


def test_16_khz_pcm_is_scaled_and_nothing_else() -> None:
    pcm = np.array([-32_768, -16_384, 0, 1, 32_767], "<i2")
    samples = make_decoder("pcm", 16_000).feed(pcm.tobytes())
    assert samples.dtype == np.float32
    assert samples.tolist() == [-1.0, -0.5, 0.0, 1 / 32_768, 32_767 / 32_768]


def test_half_a_sample_waits_for_its_other_half() -> None:
    decoder = make_decoder("pcm", 16_000)
    assert decoder.feed(b"\x00").tolist() == []
    assert decoder.feed(b"\x40\x00").tolist() == [0.5]
    assert decoder.feed(b"").tolist() == []
    assert decoder.feed(b"\xc0").tolist() == [-0.5]


def test_flush_drops_half_a_sample_so_that_the_next_audio_is_not_noise() -> None:
    decoder = make_decoder("pcm", 16_000)
    decoder.feed(b"\x07")
    assert decoder.flush().tolist() == []
    assert decoder.feed(b"\x00\x40").tolist() == [0.5]


@pytest.mark.parametrize("rate", PCM_SAMPLE_RATES)
def test_every_rate_keeps_length_pitch_and_level(rate: int) -> None:
    decoder = make_decoder("pcm", rate)
    samples = np.concatenate([decoder.feed(_tone(rate)), decoder.flush()])
    assert len(samples) == 32_000
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    assert np.abs(samples - expected)[1_000:-1_000].max() < 0.001


@pytest.mark.parametrize("rate", PCM_SAMPLE_RATES)
def test_the_resampler_never_lags_more_than_120_ms(rate: int) -> None:
    decoder = make_decoder("pcm", rate)
    packet_bytes = 2 * rate // 50
    out_samples = 0
    for packet in range(100):
        out_samples += len(decoder.feed(bytes(packet_bytes)))
        assert (packet + 1) * 320 - out_samples <= 0.12 * 16_000


def test_audio_after_a_flush_is_resampled_afresh() -> None:
    decoder = make_decoder("pcm", 8_000)
    first = np.concatenate([decoder.feed(_tone(8_000)), decoder.flush()])
    second = np.concatenate([decoder.feed(_tone(8_000)), decoder.flush()])
    assert np.array_equal(first, second)


@pytest.mark.parametrize("rate", PCM_SAMPLE_RATES)
def test_a_feed_of_15_mib_takes_little_more_memory_than_its_samples(rate: int) -> None:
    data = bytes(15 * 1024 * 1024)
    decoder = make_decoder("pcm", rate)
    decoder.feed(b"\0")
    tracemalloc.start()
    samples = decoder.feed(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == pytest.approx(len(data) / 2 * 16_000 / rate, rel=0.01)
    assert peak_bytes < len(data) * 3 + 2 * samples.nbytes + 2**21


@pytest.mark.parametrize(
    ("audio_format", "rate"), [("pcm", 11_025), ("pcm", 0), ("pcm", -8_000), ("mp3", 16_000)]
)
def test_an_unsupported_format_is_refused_with_what_is_supported(
    audio_format: str, rate: int
) -> None:
    with pytest.raises(AudioError, match="not supported.*use"):
        make_decoder(audio_format, rate)
