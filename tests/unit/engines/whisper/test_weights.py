from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from oyez.engines.whisper.weights import Source, WeightsError, in_directory, parse_model


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


def test_arrays_and_aliases_are_read() -> None:
    arrays = parse_model(model_bytes())
    assert arrays["a/weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["b/weight"] is arrays["a/weight"]


@pytest.mark.parametrize("size", [0, 5, 30, len(model_bytes()) - 1])
def test_a_file_cut_short_is_refused(size: int) -> None:
    with pytest.raises(WeightsError):
        parse_model(model_bytes()[:size])


def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="TransformerSpec"):
        parse_model(model_bytes("TransformerSpec"))


def test_a_damaged_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(model_bytes())
    source = Source((tmp_path / "model.bin",), tmp_path, {"model.bin": "0" * 64})
    with pytest.raises(WeightsError, match="damaged"):
        source.read_arrays()


def test_a_damaged_vocabulary_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("nonsense")
    source = Source((), tmp_path, {"vocabulary.txt": "0" * 64})
    with pytest.raises(WeightsError, match="vocabulary.txt"):
        source.read_arrays()


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.bin is missing"):
        in_directory(tmp_path)
