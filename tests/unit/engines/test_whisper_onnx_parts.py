from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from oyez.engines.registry import find
from oyez.engines.whisper_onnx import window
from oyez.engines.whisper_onnx.mel import LogMel, mel_filters
from oyez.engines.whisper_onnx.stop import is_invented, is_silence, loop_start
from oyez.engines.whisper_onnx.weights import (
    Source,
    WeightsError,
    in_directory,
    parse_model,
)


def text(value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("<H", len(data)) + data


def model_bytes(spec: str = "WhisperSpec") -> bytes:
    weight = np.arange(6, dtype=np.float16).reshape(2, 3)
    return b"".join(
        [
            struct.pack("<I", 6),
            text(spec),
            struct.pack("<II", 3, 1),
            text("a/weight"),
            struct.pack("<BIIBI", 2, 2, 3, 4, weight.nbytes),
            weight.tobytes(),
            struct.pack("<I", 1),
            text("b/weight"),
            text("a/weight"),
        ]
    )


class TestWeights:
    def test_arrays_and_aliases_are_read(self) -> None:
        arrays = parse_model(model_bytes())
        assert arrays["a/weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert arrays["b/weight"] is arrays["a/weight"]

    @pytest.mark.parametrize("size", [0, 5, 30, len(model_bytes()) - 1])
    def test_a_file_cut_short_is_refused(self, size: int) -> None:
        with pytest.raises(WeightsError):
            parse_model(model_bytes()[:size])

    def test_another_kind_of_model_is_refused(self) -> None:
        with pytest.raises(WeightsError, match="TransformerSpec"):
            parse_model(model_bytes("TransformerSpec"))

    def test_a_damaged_file_is_refused_by_its_hash(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(model_bytes())
        source = Source((tmp_path / "model.bin",), tmp_path, {"model.bin": "0" * 64})
        with pytest.raises(WeightsError, match="damaged"):
            source.read_arrays()

    def test_a_damaged_vocabulary_is_refused_too(self, tmp_path: Path) -> None:
        (tmp_path / "vocabulary.txt").write_text("nonsense")
        source = Source((), tmp_path, {"vocabulary.txt": "0" * 64})
        with pytest.raises(WeightsError, match="vocabulary.txt"):
            source.read_arrays()

    def test_a_directory_without_weights_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"model\.bin is missing"):
            in_directory(tmp_path)


class TestLogMel:
    def test_short_audio_has_the_features_of_the_padded_window(self) -> None:
        samples = np.random.default_rng(0).normal(0, 0.1, 12_345).astype(np.float32)
        padded = np.zeros(480_000, np.float32)
        padded[: len(samples)] = samples
        log_mel = LogMel(80)
        np.testing.assert_allclose(log_mel(samples, 101), log_mel(padded, 3000)[:, :101], atol=1e-5)

    def test_a_tone_is_loudest_in_the_band_that_holds_it(self) -> None:
        tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
        band = LogMel(80)(tone, 100)[:, 50].argmax()
        assert mel_filters(80)[band, 1000 * 400 // 16_000] > 0

    @pytest.mark.parametrize("count", [0, 1, 150, 201, 1600])
    def test_any_length_works(self, count: int) -> None:
        features = LogMel(80)(np.zeros(count, np.float32), 51)
        assert features.shape == (80, 51)
        assert np.isfinite(features).all()


class TestWindow:
    @pytest.mark.parametrize("count", [0, 1600, 80_000, 470_000])
    def test_every_position_of_the_window_is_counted_once(self, count: int) -> None:
        view = window.lay_out([count], 1500)
        assert np.exp(view.bias).sum() == pytest.approx(1500, rel=1e-4)
        assert (np.diff(view.positions[0]) > 0).all()
        assert view.positions.max() < 1500
        assert view.sources.max() < view.computed

    def test_a_row_is_the_same_beside_a_longer_one(self) -> None:
        alone, beside = window.lay_out([16_000], 1500), window.lay_out([16_000, 64_000], 1500)
        size = alone.positions.shape[1]
        np.testing.assert_array_equal(alone.positions[0], beside.positions[0, :size])
        np.testing.assert_array_equal(alone.sources[0], beside.sources[0, :size])
        assert (beside.bias[0, 0, 0, size:] == window.NEVER).all()
        assert beside.pooling.sum(axis=1).ravel().tolist() == pytest.approx([1, 1])


class TestStop:
    def test_a_word_said_again_and_again_at_one_place_is_a_loop(self) -> None:
        assert loop_start([5, 7, 7, 7, 7], [3, 9, 9, 10, 9]) == 2

    def test_a_sentence_said_again_at_the_same_place_is_a_loop(self) -> None:
        assert loop_start([1, 2, 3, 4] * 2, [10, 20, 30, 40, 11, 19, 30, 42]) == 4

    def test_words_really_repeated_are_heard_later_and_stay(self) -> None:
        assert loop_start([1, 2, 3, 4] * 2, [10, 20, 30, 40, 50, 60, 70, 80]) is None
        assert loop_start([7] * 4, [10, 25, 40, 55]) is None

    def test_unlikely_text_is_invented_sooner_where_nobody_speaks(self) -> None:
        assert is_invented([1, 2], [0.2, 0.2], no_speech=0.9)
        assert not is_invented([1, 2], [0.2, 0.2], no_speech=0.0)
        assert not is_invented([1, 2], [0.9, 0.8], no_speech=0.9)

    def test_sure_text_is_invented_if_silence_would_say_it_too(self) -> None:
        assert is_silence([1, 2], [0.8, 0.6], [0.7, 0.6])
        assert not is_silence([1, 2], [0.8, 0.6], [0.01, 0.1])

    def test_what_is_said_again_tells_nothing_of_silence(self) -> None:
        assert is_silence([1, 2, 1, 2, 1, 2], [0.5] * 6, [0.4, 0.4, 0.4, 0.001, 0.001, 0.001])


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="whisper-onnx"):
        find("nonsense")
