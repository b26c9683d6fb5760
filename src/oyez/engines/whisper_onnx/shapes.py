"""Whether weights are a Whisper the graphs can be built from, told before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oyez.engines.whisper_onnx.graph import Sizes
from oyez.engines.whisper_onnx.weights import Arrays, WeightsError

FEWEST_MULTILINGUAL_TOKENS = 51_865
"""An English-only Whisper has one token less, and no language to choose."""

Shapes = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class About:
    """What a model is, for people."""

    parameters: int
    width: int
    encoder_layers: int
    decoder_layers: int
    precision: str
    """Of its largest array: `float16`, `float32`, `int8` …"""


def describe(arrays: Arrays) -> About:
    """Raises WeightsError where the arrays are no Whisper's."""
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
    """Raises WeightsError, naming what is wrong, unless this is a whole multilingual Whisper."""
    sizes = _sizes(arrays)
    for name, shape in (*_encoder(sizes), *_decoder(sizes)):
        if name not in arrays:
            raise WeightsError(f"model.bin is no complete Whisper: it has no {name}")
        if arrays[name].shape != shape:
            raise WeightsError(f"{name} of model.bin is {arrays[name].shape}, not {shape}")
    if sizes.vocabulary < FEWEST_MULTILINGUAL_TOKENS:
        raise WeightsError("it knows English only: choose a multilingual Whisper")
    _check_alignment_heads(config, sizes)


def is_quantised(arrays: Arrays) -> bool:
    """Whether the weights are whole numbers with scales beside them."""
    return any(name.endswith("weight_scale") for name in arrays)


def require_floats(arrays: Arrays) -> None:
    """Raises WeightsError where the weights are quantised: the graphs quantise by themselves."""
    if is_quantised(arrays):
        raise WeightsError(
            "its weights are quantised, which the engine whisper-onnx does not read: convert the "
            "model with --quantization float16, or choose --engine whisper-ct2"
        )


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
