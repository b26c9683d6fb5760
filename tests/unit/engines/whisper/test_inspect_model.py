from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines import library
from oyez.engines.base import EngineOptions, Hypothesis, Purpose, Request
from oyez.engines.whisper.weights import WeightsError, in_directory, inspect_model
from oyez.engines.whisper_onnx.engine import WhisperOnnx
from support import tiny_whisper


def test_a_model_that_passes_can_be_run(tmp_path: Path) -> None:
    directory = tiny_whisper.write(tmp_path / "tiny")
    found = inspect_model(directory)
    assert found.engines == ("whisper-onnx", "whisper-ct2")
    assert len(found.languages) == 26
    assert (found.about.width, found.about.encoder_layers, found.about.decoder_layers) == (64, 3, 1)
    assert found.about.precision == "float16"
    engine = WhisperOnnx.load(EngineOptions(str(directory), "cpu", 1, str(tmp_path / "cache")))
    (answer,) = engine.recognise([Request(np.zeros(SAMPLE_RATE, np.float32), Purpose.PARTIAL)])
    assert isinstance(answer, Hypothesis)


def test_quantised_weights_are_for_the_other_engine(tmp_path: Path) -> None:
    arrays = tiny_whisper.tiny_arrays()
    name = "encoder/layer_0/ffn/linear_0/weight"
    arrays[name] = arrays[name].astype(np.int8)
    arrays[f"{name}_scale"] = np.ones(256, np.float32)
    directory = tiny_whisper.write(tmp_path / "tiny", arrays)
    assert inspect_model(directory).engines == ("whisper-ct2",)
    with pytest.raises(WeightsError, match="float16"):
        WhisperOnnx.load(EngineOptions(str(directory), "cpu", 1, str(tmp_path / "cache")))


def test_a_missing_and_a_misshapen_array_are_named(tmp_path: Path) -> None:
    arrays = tiny_whisper.tiny_arrays()
    name = "decoder/layer_0/attention/linear_1/bias"
    bias = arrays.pop(name)
    with pytest.raises(WeightsError, match=f"has no {name}"):
        inspect_model(tiny_whisper.write(tmp_path / "missing", arrays))
    with pytest.raises(WeightsError, match=f"{name} of model.bin is"):
        inspect_model(tiny_whisper.write(tmp_path / "odd", {**arrays, name: bias[:-1]}))


@pytest.mark.parametrize("heads", [[], [[1, 0]], [[0, 2]]])
def test_alignment_heads_must_be_there(tmp_path: Path, heads: list[list[int]]) -> None:
    directory = tiny_whisper.write(tmp_path / "tiny", alignment_heads=heads)
    with pytest.raises(WeightsError, match="alignment"):
        inspect_model(directory)


def test_english_only_models_are_refused(tmp_path: Path) -> None:
    directory = tiny_whisper.write(tmp_path / "tiny", tiny_whisper.tiny_arrays(51_864))
    with pytest.raises(WeightsError, match="English only"):
        inspect_model(directory)


def test_a_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    directory = tiny_whisper.write(tmp_path / "tiny")
    (directory / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="tokenizer.json"):
        inspect_model(directory)


def test_an_added_model_is_held_against_its_hashes(tmp_path: Path) -> None:
    directory = tiny_whisper.write(tmp_path / "tiny")
    library.add(tmp_path / "models", "tiny", directory, origin="here", about={})
    added = tmp_path / "models" / "tiny"
    in_directory(added).read_arrays()
    (added / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="oyez models remove tiny"):
        in_directory(added).read_config()
