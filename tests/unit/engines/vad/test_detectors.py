"""What every voice detector promises, and what each adds."""

from __future__ import annotations

import statistics
import time
import wave
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oyez.engines import registry
from oyez.engines.base import WINDOW_SAMPLES, VoiceDetector
from oyez.engines.vad import silero
from oyez.engines.vad.silero import INITIAL_LOUDNESS, loudness_gains, many_streams
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart
from property.strategies import cuts

_DETECTORS = {name: registry.load_detector(name) for name in ("silero", "energy")}


def _speech() -> NDArray[np.float32]:
    with wave.open(str(files("oyez") / "assets" / "two_cities.wav")) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (16_000, 1)
        pcm = np.frombuffer(recording.readframes(10 * 16_000), "<i2")
    samples = pcm.astype(np.float32) / np.float32(32_768)
    return samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES]


_SPEECH = _speech()


def _score(detector: VoiceDetector, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return detector.score(samples, detector.initial_state())[0]


def _edges(scores: NDArray[np.float32]) -> list[TurnStart | TurnEnd]:
    detector = Endpointer(EndpointerSettings.from_wire(0.2, 400, 300))
    return [edge for score in scores.tolist() if (edge := detector.feed(score))]


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
    assert scores.shape == (0,) and scores.dtype == np.float32
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


def test_silero_finds_no_speech_in_a_tone() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(60 * WINDOW_SAMPLES) / 16_000)
    assert np.max(_score(_DETECTORS["silero"], tone.astype(np.float32))[10:]) < 0.6


def test_silero_is_the_published_graph_at_two_levels_and_the_higher_probability_counts() -> None:
    published = onnxruntime.InferenceSession(silero.find_model())
    stream = np.concatenate([np.zeros(64, np.float32), _SPEECH])
    windows = np.lib.stride_tricks.sliding_window_view(stream, 64 + WINDOW_SAMPLES)
    as_it_came = np.ascontiguousarray(windows[::WINDOW_SAMPLES], np.float32)
    gains, _ = loudness_gains(as_it_came[:, 64:], INITIAL_LOUDNESS)
    zeros = dict.fromkeys("hc", np.zeros((1, 1, 128), np.float32))
    raw, even = (
        published.run(["speech_probs"], {"input": each, **zeros})[0]
        for each in (as_it_came, as_it_came * gains[:, None])
    )
    assert np.max(np.abs(raw - even)) > 0.1
    expected = np.maximum(raw, even)
    scores = _score(_DETECTORS["silero"], _SPEECH)
    assert np.max(np.abs(scores - expected)) < 1e-5
    edges, expected_edges = _edges(scores), _edges(expected)
    assert len(edges) >= 2
    assert edges == expected_edges


@pytest.mark.parametrize("name", _DETECTORS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_other_streams_in_a_call_change_nothing(name: str, data: st.DataObject) -> None:
    detector = _DETECTORS[name]
    lengths = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 64]), min_size=1, max_size=12))
    stretches, alone = [], []
    for length in lengths:
        start = data.draw(st.integers(0, len(_SPEECH) // WINDOW_SAMPLES - length))
        middle = data.draw(st.integers(0, start))
        before = _SPEECH[middle * WINDOW_SAMPLES : start * WINDOW_SAMPLES]
        state = detector.score(before, detector.initial_state())[1]
        samples = _SPEECH[start * WINDOW_SAMPLES : (start + length) * WINDOW_SAMPLES]
        stretches.append((samples, state))
        alone.append(detector.score(samples, state))
    together = detector.score_many(stretches)
    after = _SPEECH[: 2 * WINDOW_SAMPLES]
    for (found, state), (expected, expected_state) in zip(together, alone, strict=True):
        assert np.allclose(found, expected, rtol=0, atol=1e-6)
        later, expected_later = (detector.score(after, each)[0] for each in (state, expected_state))
        assert np.allclose(later, expected_later, rtol=0, atol=1e-6)


def test_half_a_window_is_refused_in_company_too(detector: VoiceDetector) -> None:
    whole, half = (np.zeros(length, np.float32) for length in (WINDOW_SAMPLES, 256))
    with pytest.raises(ValueError, match="whole windows of 512"):
        detector.score_many([(samples, detector.initial_state()) for samples in (whole, half)])


def test_a_state_of_silero_holds_no_more_than_its_stream_needs() -> None:
    silent = np.zeros(64 * WINDOW_SAMPLES, np.float32)
    stretches = [(silent, _DETECTORS["silero"].initial_state())] * 8
    for _, state in _DETECTORS["silero"].score_many(stretches):
        assert isinstance(state, tuple)
        *arrays, loudness = state
        assert type(loudness) is float
        assert all(array.base is None for array in arrays)
        assert sum(array.nbytes for array in arrays) < 3_000


def test_sharing_a_call_makes_silero_cheaper() -> None:
    silero_, samples = _DETECTORS["silero"], _SPEECH[: 3 * WINDOW_SAMPLES]
    stretches = [(samples, silero_.initial_state())] * 32

    def seconds(run: Callable[[], object]) -> float:
        times = []
        for _ in range(9):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
        return statistics.median(times)

    together = seconds(lambda: silero_.score_many(stretches))
    alone = seconds(lambda: [silero_.score(*stretch) for stretch in stretches])
    assert together < 0.75 * alone


def test_streams_much_longer_than_the_others_do_not_make_them_step_as_often() -> None:
    groups = silero.group_by_length([3, 64, 0, 4, 1, 33])
    assert sorted(map(sorted, groups)) == [[0, 3], [1, 5], [4]]


def test_other_weights_are_refused() -> None:
    graph = onnx.helper.make_graph([], "empty", [], [])
    with pytest.raises(ValueError, match="not Silero VAD v6"):
        many_streams(onnx.helper.make_model(graph))


def test_missing_weights_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"silero_vad_v6\.onnx.*install faster-whisper"):
        silero.SileroDetector()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'webrtc'.*energy, silero"):
        registry.load_detector("webrtc")
