"""What every voice detector promises, and what each adds."""

from __future__ import annotations

import wave
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oyez.vad import registry, silero
from oyez.vad.base import WINDOW_SAMPLES, VoiceDetector
from property.strategies import cuts

_DETECTORS = {name: registry.load(name) for name in ("silero", "energy")}


def _speech() -> NDArray[np.float32]:
    with wave.open(str(files("oyez") / "assets" / "two_cities.wav")) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (16_000, 1)
        pcm = np.frombuffer(recording.readframes(10 * 16_000), "<i2")
    samples = pcm.astype(np.float32) / 32_768
    return samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES]


_SPEECH = _speech()


def _score(detector: VoiceDetector, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return detector.score(samples, detector.initial_state())[0]


@pytest.fixture(params=_DETECTORS)
def detector(request: pytest.FixtureRequest) -> VoiceDetector:
    return _DETECTORS[request.param]


def test_one_probability_per_window(detector: VoiceDetector) -> None:
    scores = _score(detector, _SPEECH)
    assert scores.shape == (len(_SPEECH) // WINDOW_SAMPLES,)
    assert scores.dtype == np.float32
    assert np.all((scores >= 0) & (scores <= 1))


def test_no_windows_have_no_probabilities(detector: VoiceDetector) -> None:
    scores, state = detector.score(np.zeros(0, np.float32), detector.initial_state())
    assert (scores.shape, scores.dtype) == ((0,), np.float32)
    assert np.array_equal(detector.score(_SPEECH, state)[0], _score(detector, _SPEECH))


def test_speech_is_likelier_than_silence(detector: VoiceDetector) -> None:
    assert np.mean(_score(detector, _SPEECH) > 0.6) > 0.5
    assert np.max(_score(detector, np.zeros(100 * WINDOW_SAMPLES, np.float32))) < 0.3


def test_half_a_window_is_refused(detector: VoiceDetector) -> None:
    with pytest.raises(ValueError, match="whole windows of 512"):
        _score(detector, np.zeros(WINDOW_SAMPLES + 1, np.float32))


@pytest.mark.parametrize("name", _DETECTORS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_cut_of_a_stream_gives_the_same_probabilities(name: str, data: st.DataObject) -> None:
    detector = _DETECTORS[name]
    state, scores = detector.initial_state(), []
    for cut in data.draw(cuts(len(_SPEECH) // WINDOW_SAMPLES)):
        piece = _SPEECH[cut.start * WINDOW_SAMPLES : cut.stop * WINDOW_SAMPLES]
        found, state = detector.score(piece, state)
        scores.append(found)
    assert np.array_equal(np.concatenate(scores), _score(detector, _SPEECH))


def test_streams_do_not_disturb_each_other(detector: VoiceDetector) -> None:
    mine, theirs = detector.initial_state(), detector.initial_state()
    scores = []
    for start in range(0, len(_SPEECH), 4 * WINDOW_SAMPLES):
        found, mine = detector.score(_SPEECH[start : start + 4 * WINDOW_SAMPLES], mine)
        _, theirs = detector.score(_SPEECH[::-1][: 2 * WINDOW_SAMPLES], theirs)
        scores.append(found)
    assert np.array_equal(np.concatenate(scores), _score(detector, _SPEECH))


def test_an_old_state_can_be_taken_up_again(detector: VoiceDetector) -> None:
    _, state = detector.score(_SPEECH[: 20 * WINDOW_SAMPLES], detector.initial_state())
    rest = _SPEECH[20 * WINDOW_SAMPLES :]
    once = detector.score(rest, state)[0]
    assert np.array_equal(detector.score(rest, state)[0], once)


def test_silero_needs_the_samples_before_a_window() -> None:
    cold = np.concatenate(
        [
            _score(_DETECTORS["silero"], _SPEECH[start : start + WINDOW_SAMPLES])
            for start in range(0, len(_SPEECH), WINDOW_SAMPLES)
        ]
    )
    assert not np.allclose(cold, _score(_DETECTORS["silero"], _SPEECH), atol=0.1)


def test_silero_hears_no_speech_in_a_tone() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(60 * WINDOW_SAMPLES) / 16_000)
    assert np.max(_score(_DETECTORS["silero"], tone.astype(np.float32))[10:]) < 0.6


def test_missing_weights_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"silero_vad_v6\.onnx.*install faster-whisper"):
        silero.SileroDetector()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'webrtc'.*energy, silero"):
        registry.load("webrtc")
