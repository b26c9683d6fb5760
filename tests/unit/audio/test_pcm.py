"""PCM from the wire becomes samples."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from oyez.audio.decoder import PCM_SAMPLE_RATES, decode_all, make_decoder
from oyez.audio.pcm import AudioError, pcm16_to_samples, samples_to_pcm16


def _tone(rate: int, seconds: float = 2.0, hz: float = 440.0) -> bytes:
    t = np.arange(int(rate * seconds)) / rate
    return (16_384 * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()


def test_16_khz_pcm_is_scaled_and_nothing_else() -> None:
    pcm = np.array([-32_768, -16_384, 0, 1, 32_767], "<i2")
    samples = decode_all(make_decoder("pcm", 16_000), pcm.tobytes())
    assert samples.dtype == np.float32
    assert samples.tolist() == [-1.0, -0.5, 0.0, 1 / 32_768, 32_767 / 32_768]


def test_every_pcm16_value_is_converted_back_exactly() -> None:
    pcm = np.arange(-32_768, 32_768).astype("<i2")
    assert np.array_equal(samples_to_pcm16(pcm16_to_samples(pcm)), pcm)


def test_samples_are_rounded_and_clipped_to_pcm16() -> None:
    samples = np.array([0.4 / 32_768, -0.6 / 32_768, 1.0, 2.0, -1.0, -2.0], np.float32)
    pcm = samples_to_pcm16(samples)
    assert pcm.dtype == np.dtype("<i2")
    assert pcm.tolist() == [0, -1, 32_767, 32_767, -32_768, -32_768]


def test_half_a_sample_waits_for_its_other_half() -> None:
    decoder = make_decoder("pcm", 16_000)
    assert decode_all(decoder, b"\x00").tolist() == []
    assert decode_all(decoder, b"\x40\x00").tolist() == [0.5]
    assert decode_all(decoder, b"").tolist() == []
    assert decode_all(decoder, b"\xc0").tolist() == [-0.5]


def test_a_flush_between_the_halves_of_a_sample_spoils_nothing() -> None:
    decoder = make_decoder("pcm", 16_000)
    decode_all(decoder, b"\x00")
    assert decoder.flush().tolist() == []
    assert decode_all(decoder, b"\x40\x00\xc0").tolist() == [0.5, -0.5]


def test_waiting_audio_is_counted_and_can_be_dropped() -> None:
    decoder = make_decoder("pcm", 16_000)
    decoder.feed(bytes(100_001))
    assert decoder.waiting_bytes == 100_001
    assert [len(decoder.decode()[0]) for _ in range(2)] == [32_000, 18_000]
    assert decoder.waiting_bytes == 0
    decoder.feed(bytes(100_001))
    decoder.drop()
    assert decoder.waiting_bytes == 0


@pytest.mark.parametrize("rate", PCM_SAMPLE_RATES)
def test_every_rate_keeps_length_pitch_and_level(rate: int) -> None:
    decoder = make_decoder("pcm", rate)
    samples = np.concatenate([decode_all(decoder, _tone(rate)), decoder.flush()])
    assert len(samples) == 32_000
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    assert np.abs(samples - expected)[1_000:-1_000].max() < 0.001


@pytest.mark.parametrize("rate", PCM_SAMPLE_RATES)
def test_the_resampler_never_lags_more_than_120_ms(rate: int) -> None:
    decoder = make_decoder("pcm", rate)
    packet_bytes = 2 * rate // 50
    out_samples = 0
    for packet in range(100):
        out_samples += len(decode_all(decoder, bytes(packet_bytes)))
        assert (packet + 1) * 320 - out_samples <= 0.12 * 16_000


def test_audio_after_a_flush_is_resampled_afresh() -> None:
    decoder = make_decoder("pcm", 8_000)
    first = np.concatenate([decode_all(decoder, _tone(8_000)), decoder.flush()])
    second = np.concatenate([decode_all(decoder, _tone(8_000)), decoder.flush()])
    assert np.array_equal(first, second)


@pytest.mark.parametrize("rate", PCM_SAMPLE_RATES)
def test_a_feed_of_15_mib_takes_little_more_memory_than_its_samples(rate: int) -> None:
    data = bytes(15 * 1024 * 1024)
    decoder = make_decoder("pcm", rate)
    decode_all(decoder, b"\0")
    tracemalloc.start()
    samples = decode_all(decoder, data)
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
