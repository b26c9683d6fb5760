from __future__ import annotations

import numpy as np
import pytest

from oyez.audio.pcm import SAMPLE_RATE, Samples
from research.audio import EMOTION_CONDITIONS, telephone, varied, with_pink_noise


def tone(hz: float, seconds: float = 1.5) -> Samples:
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


@pytest.mark.parametrize("name", EMOTION_CONDITIONS)
def test_a_condition_changes_audio_and_keeps_its_kind(name: str) -> None:
    changed = EMOTION_CONDITIONS[name](tone(440), np.random.default_rng(1))
    assert changed.dtype == np.float32
    assert abs(len(changed) - len(tone(440))) <= SAMPLE_RATE * 3 // 10
    assert len(changed) != len(tone(440)) or not np.allclose(changed, tone(440))


def test_a_telephone_lets_no_high_tones_through() -> None:
    random = np.random.default_rng(1)
    assert np.std(telephone(tone(6000), random)) < 0.005
    assert np.std(telephone(tone(1000), random)) > 0.2


def test_noise_is_as_loud_as_asked_for() -> None:
    speech = tone(300)
    noise = with_pink_noise(speech, 15.0, np.random.default_rng(1)) - speech
    ratio_db = 20 * np.log10(np.std(speech) / np.std(noise))
    assert ratio_db == pytest.approx(15, abs=1)


def test_the_same_seed_gives_the_same_audio() -> None:
    for seed in range(30):
        one = varied(tone(300), np.random.default_rng(seed))
        assert np.array_equal(one, varied(tone(300), np.random.default_rng(seed)))
        assert one.dtype == np.float32
        assert np.abs(one).max() <= 1
        assert np.isfinite(one).all()


def test_silence_survives() -> None:
    for seed in range(10):
        changed = varied(np.zeros(SAMPLE_RATE, np.float32), np.random.default_rng(seed))
        assert np.isfinite(changed).all()
