"""A whole, very small Whisper in CTranslate2's format, with noise for weights."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.engines.whisper.weights import packaged

WIDTH, BANDS, POSITIONS, TEXT_POSITIONS = 64, 80, 1500, 448
VOCABULARY = 51_865
CODES = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}

Arrays = dict[str, NDArray[Any]]


def write(directory: Path, arrays: Arrays | None = None, **config: Any) -> Path:
    """The model's files; the tokenizer is that of the built-in one."""
    source = packaged()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.bin").write_bytes(_model(tiny_arrays() if arrays is None else arrays))
    config = {**source.read_config(), "alignment_heads": [[0, 0]], **config}
    (directory / "config.json").write_text(json.dumps(config))
    shutil.copy(source.directory / "tokenizer.json", directory)
    return directory


def tiny_arrays(vocabulary: int = VOCABULARY) -> Arrays:
    """Three encoder layers (emotion reads the first ones), one decoder layer."""
    random = np.random.default_rng(0)
    arrays: Arrays = {"encoder/num_heads": np.int16(2), "decoder/num_heads": np.int16(2)}  # type: ignore[dict-item]

    def noise(name: str, *shape: int) -> None:
        arrays[name] = random.normal(0, 0.02, shape).astype(np.float16)

    def linear(name: str, outputs: int, inputs: int) -> None:
        noise(f"{name}/weight", outputs, inputs)
        noise(f"{name}/bias", outputs)

    def norm(name: str) -> None:
        arrays[f"{name}/gamma"] = np.ones(WIDTH, np.float16)
        arrays[f"{name}/beta"] = np.zeros(WIDTH, np.float16)

    def block(name: str) -> None:
        norm(f"{name}/self_attention/layer_norm")
        linear(f"{name}/self_attention/linear_0", 3 * WIDTH, WIDTH)
        linear(f"{name}/self_attention/linear_1", WIDTH, WIDTH)
        norm(f"{name}/ffn/layer_norm")
        linear(f"{name}/ffn/linear_0", 4 * WIDTH, WIDTH)
        linear(f"{name}/ffn/linear_1", WIDTH, 4 * WIDTH)

    for number, inputs in ((1, BANDS), (2, WIDTH)):
        noise(f"encoder/conv{number}/weight", WIDTH, inputs, 3)
        noise(f"encoder/conv{number}/bias", WIDTH)
    noise("encoder/position_encodings/encodings", POSITIONS, WIDTH)
    for layer in range(3):
        block(f"encoder/layer_{layer}")
    norm("encoder/layer_norm")
    noise("decoder/embeddings/weight", vocabulary, WIDTH)
    noise("decoder/position_encodings/encodings", TEXT_POSITIONS, WIDTH)
    block("decoder/layer_0")
    norm("decoder/layer_0/attention/layer_norm")
    for number, outputs in enumerate((WIDTH, 2 * WIDTH, WIDTH)):
        linear(f"decoder/layer_0/attention/linear_{number}", outputs, WIDTH)
    norm("decoder/layer_norm")
    return arrays


def _model(arrays: Arrays) -> bytes:
    parts = [struct.pack("<I", 6), _text("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        array = np.asarray(array)
        parts.append(_text(name))
        parts.append(struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape))
        parts.append(struct.pack("<BI", CODES[str(array.dtype)], array.nbytes))
        parts.append(array.tobytes())
    return b"".join([*parts, struct.pack("<I", 0)])


def _text(value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("<H", len(data)) + data
