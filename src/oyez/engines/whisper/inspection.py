"""Describes a Whisper model and checks that it is complete, before any graph is built from it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oyez.engines.whisper.tokens import Tokens
from oyez.engines.whisper.weights import Arrays, Source, WeightsError, in_directory, parse_model

MIN_MULTILINGUAL_TOKENS = 51_865
"""An English-only Whisper has one token less, and no language tokens."""

Shapes = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The dimensions of one Whisper model."""

    width: int
    heads: int
    bands: int
    vocabulary: int
    positions: int
    """Encoder positions of the full input of 30 s."""
    text_positions: int
    encoder_layers: int
    decoder_layers: int

    @classmethod
    def of(cls, arrays: Arrays) -> Sizes:
        """Read the sizes from the shapes of the weights. Raises KeyError, IndexError or ValueError
        if the arrays are not those of a Whisper model."""
        vocabulary, width = arrays["decoder/embeddings/weight"].shape
        return cls(
            width=width,
            heads=int(arrays["encoder/num_heads"]),
            bands=arrays["encoder/conv1/weight"].shape[1],
            vocabulary=vocabulary,
            positions=arrays["encoder/position_encodings/encodings"].shape[0],
            text_positions=arrays["decoder/position_encodings/encodings"].shape[0],
            encoder_layers=_layer_count(arrays, "encoder"),
            decoder_layers=_layer_count(arrays, "decoder"),
        )


@dataclass(frozen=True, slots=True)
class About:
    """What a model is, for people."""

    parameters: int
    width: int
    encoder_layers: int
    decoder_layers: int
    precision: str
    """The type of the largest array: `float16`, `float32`, `int8` or another."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of `inspect_model`."""

    about: About
    languages: tuple[str, ...]
    """Those of the 27 languages that the model has a token for."""
    engines: tuple[str, ...]
    """Names of the engines that can run the model."""


def inspect_model(directory: Path) -> Inspection:
    """Read the shapes and the vocabulary of the CTranslate2 model in `directory`, without loading
    all of it.

    Raises:
        WeightsError: a file is missing or unreadable, or it is not a multilingual Whisper.
    """
    source = in_directory(directory)
    languages = tuple(_tokens(source).language_ids)
    arrays = parse_model(_mapped(*source.model_files))
    check(arrays, source.read_config())
    engines = ("whisper-ct2",) if is_quantised(arrays) else ("whisper-onnx", "whisper-ct2")
    return Inspection(describe(arrays), languages, engines)


def describe(arrays: Arrays) -> About:
    """Describe a model by its arrays. Raises WeightsError if they are not those of a Whisper."""
    sizes = _sizes(arrays)
    names = [name for name in arrays if name != "decoder/projection/weight"]  # often the embeddings
    return About(
        parameters=sum(arrays[name].size for name in names),
        width=sizes.width,
        encoder_layers=sizes.encoder_layers,
        decoder_layers=sizes.decoder_layers,
        precision=str(max(arrays.values(), key=lambda array: array.size).dtype),
    )


def check(arrays: Arrays, config: Mapping[str, Any]) -> None:
    """Check that the arrays are those of a complete multilingual Whisper.

    Raises:
        WeightsError: they are not; the message names what is wrong.
    """
    sizes = _sizes(arrays)
    for name, shape in (*_encoder(sizes), *_decoder(sizes)):
        if name not in arrays:
            raise WeightsError(f"model.bin is no complete Whisper: it has no {name}")
        if arrays[name].shape != shape:
            raise WeightsError(f"{name} of model.bin is {arrays[name].shape}, not {shape}")
    if sizes.vocabulary < MIN_MULTILINGUAL_TOKENS:
        raise WeightsError("it knows English only: choose a multilingual Whisper")
    _check_alignment_heads(config, sizes)


def is_quantised(arrays: Arrays) -> bool:
    """Return whether the weights are integers with scales."""
    return any(name.endswith("weight_scale") for name in arrays)


def require_floats(arrays: Arrays) -> None:
    """Raise WeightsError if the weights are quantised: the graphs quantise by themselves."""
    if is_quantised(arrays):
        raise WeightsError(
            "its weights are quantised, which the engine whisper-onnx does not read: convert the "
            "model with --quantization float16, or choose --engine whisper-ct2"
        )


def _layer_count(arrays: Arrays, side: str) -> int:
    names = {name.split("/")[1] for name in arrays if name.startswith(f"{side}/layer_")}
    return len(names - {"layer_norm"})


def _mapped(path: Path) -> mmap.mmap:
    """Map the file into memory. It is closed when nothing refers to the map any more."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def _tokens(source: Source) -> Tokens:
    try:
        return Tokens(source.read_tokenizer(), source.read_config())
    except WeightsError:
        raise
    except Exception as error:  # the tokenizer library raises plain exceptions
        raise WeightsError(f"tokenizer.json or config.json is not a Whisper's: {error}") from error


def _sizes(arrays: Arrays) -> Sizes:
    try:
        return Sizes.of(arrays)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"model.bin is no complete Whisper: {error}") from error


def _check_alignment_heads(config: Mapping[str, Any], sizes: Sizes) -> None:
    heads = config.get("alignment_heads")
    if not heads:
        raise WeightsError("config.json has no alignment_heads: convert the model again")
    for layer, head in heads:
        if not (0 <= layer < sizes.decoder_layers and 0 <= head < sizes.heads):
            raise WeightsError(
                f"config.json names an alignment head that is not there: {layer, head}"
            )


def _encoder(sizes: Sizes) -> Shapes:
    width = sizes.width
    yield "encoder/conv1/weight", (width, sizes.bands, 3)
    yield "encoder/conv2/weight", (width, width, 3)
    yield "encoder/position_encodings/encodings", (sizes.positions, width)
    for layer in range(sizes.encoder_layers):
        yield from _attention(f"encoder/layer_{layer}/self_attention", width)
        yield from _feed_forward(f"encoder/layer_{layer}/ffn", width)
    yield from _norm("encoder/layer_norm", width)


def _decoder(sizes: Sizes) -> Shapes:
    width = sizes.width
    yield "decoder/embeddings/weight", (sizes.vocabulary, width)
    yield "decoder/position_encodings/encodings", (sizes.text_positions, width)
    for layer in range(sizes.decoder_layers):
        name = f"decoder/layer_{layer}"
        yield from _attention(f"{name}/self_attention", width)
        yield from _norm(f"{name}/attention/layer_norm", width)
        for number, outputs in enumerate((width, 2 * width, width)):
            yield from _linear(f"{name}/attention/linear_{number}", outputs, width)
        yield from _feed_forward(f"{name}/ffn", width)
    yield from _norm("decoder/layer_norm", width)


def _attention(name: str, width: int) -> Shapes:
    yield from _norm(f"{name}/layer_norm", width)
    yield from _linear(f"{name}/linear_0", 3 * width, width)
    yield from _linear(f"{name}/linear_1", width, width)


def _feed_forward(name: str, width: int) -> Shapes:
    yield from _norm(f"{name}/layer_norm", width)
    yield from _linear(f"{name}/linear_0", 4 * width, width)
    yield from _linear(f"{name}/linear_1", width, 4 * width)


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    yield f"{name}/weight", (outputs, inputs)
    yield f"{name}/bias", (outputs,)


def _norm(name: str, width: int) -> Shapes:
    yield f"{name}/gamma", (width,)
    yield f"{name}/beta", (width,)
