from __future__ import annotations

import numpy as np
import pytest

from oyez.engines.whisper.mel import LogMel, mel_filters


def test_short_audio_has_the_features_of_the_padded_window() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 12_345).astype(np.float32)
    padded = np.zeros(480_000, np.float32)
    padded[: len(samples)] = samples
    log_mel = LogMel(80)
    np.testing.assert_allclose(log_mel(samples, 101), log_mel(padded, 3000)[:, :101], atol=1e-5)


def test_a_tone_is_loudest_in_the_band_that_holds_it() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    band = LogMel(80)(tone, 100)[:, 50].argmax()
    assert mel_filters(80)[band, 1000 * 400 // 16_000] > 0


@pytest.mark.parametrize("count", [0, 1, 150, 201, 1600])
def test_any_length_works(count: int) -> None:
    features = LogMel(80)(np.zeros(count, np.float32), 51)
    assert features.shape == (80, 51)
    assert np.isfinite(features).all()
