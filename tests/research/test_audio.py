"""Synthesised sounds and rooms."""

from __future__ import annotations

import numpy as np
import pytest

from oyez.audio.pcm import SAMPLE_RATE, Samples
from research import audio
from research.audio import WITHOUT_SPEECH, amplified, as_sent, level_db

SECONDS = 10
COUNT = SECONDS * SAMPLE_RATE


def random() -> np.random.Generator:
    return np.random.default_rng(5)


def band_db(samples: Samples, low_hz: float, high_hz: float) -> float:
    """Power between two frequencies."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return float(10 * np.log10(spectrum[(hz >= low_hz) & (hz < high_hz)].sum() + 1e-20))


def onsets(samples: Samples) -> int:
    """How often 10 ms are 20 dB louder than those before."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    levels = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-9)
    return int(np.sum(np.diff(levels) > 20))


@pytest.mark.parametrize("name", WITHOUT_SPEECH)
def test_a_sound_is_as_long_as_asked_and_the_same_every_time(name: str) -> None:
    first, second = (WITHOUT_SPEECH[name](COUNT, random()) for _ in range(2))
    assert first.shape == (COUNT,) and first.dtype == np.float32
    assert np.array_equal(first, second)
    assert np.max(np.abs(first)) <= 1.5
    assert name == "silence" or level_db(first) > -50


def test_pink_noise_is_as_strong_in_every_octave() -> None:
    pink = audio.pink_noise(COUNT, random())
    assert level_db(pink) == pytest.approx(-20, abs=0.1)
    octaves = [band_db(pink, hz, 2 * hz) for hz in (125, 500, 2_000)]
    assert max(octaves) - min(octaves) < 1


def test_keys_are_struck_three_to_eight_times_a_second() -> None:
    keys = onsets(audio.keyboard(COUNT, random()))
    assert 2 * SECONDS <= keys <= 16 * SECONDS


def test_a_narrow_band_ends_at_4_khz() -> None:
    noise = audio.noise(COUNT, random())
    narrow = audio.narrow_band(noise)
    assert band_db(narrow, 4_000, 8_001) < band_db(noise, 4_000, 8_001) - 60
    assert band_db(narrow, 100, 3_900) == pytest.approx(band_db(noise, 100, 3_900), abs=0.01)


def test_a_room_keeps_the_level_and_dies_away_in_its_time() -> None:
    struck = np.zeros(COUNT, np.float32)
    struck[1000] = 0.9
    heard = audio.reverberated(struck, random(), rt60_s=0.5)
    assert level_db(heard) == pytest.approx(level_db(struck), abs=0.1)
    early, late = (heard[1001 + start : 1001 + start + 800] for start in (0, 4_000))
    assert level_db(early) - level_db(late) == pytest.approx(30, abs=2)


def test_what_is_sent_is_rounded_and_clipped() -> None:
    sent = as_sent(np.array([0.4 / 32_768, 0.6 / 32_768, 2.0, -2.0], np.float32))
    assert sent.tolist() == [0, 1 / 32_768, 32_767 / 32_768, -1]


def test_decibels() -> None:
    tone = np.sin(np.arange(COUNT) / 10).astype(np.float32)
    assert level_db(amplified(tone, -20)) == pytest.approx(level_db(tone) - 20, abs=0.01)
    assert level_db(np.zeros(10, np.float32)) == -120
