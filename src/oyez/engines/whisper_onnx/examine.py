"""What a model is and which engines can run it, without loading it whole."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from oyez.engines.whisper_onnx import shapes
from oyez.engines.whisper_onnx.tokens import Tokens
from oyez.engines.whisper_onnx.weights import Source, WeightsError, in_directory, parse_model


@dataclass(frozen=True, slots=True)
class Examination:
    about: shapes.About
    languages: tuple[str, ...]
    """Those of the 27 it has a token for."""
    engines: tuple[str, ...]


def examine(directory: Path) -> Examination:
    """Read the shapes and the vocabulary of the CTranslate2 model in `directory`.

    Raises:
        WeightsError: a file is missing or unreadable, or it is no multilingual Whisper.
    """
    source = in_directory(directory)
    languages = tuple(_tokens(source).language_ids)
    arrays = parse_model(_mapped(*source.model_files))
    shapes.check(arrays, source.read_config())
    quantised = shapes.is_quantised(arrays)
    engines = ("whisper-ct2",) if quantised else ("whisper-onnx", "whisper-ct2")
    return Examination(shapes.describe(arrays), languages, engines)


def _mapped(path: Path) -> mmap.mmap:
    """The file's bytes, read when they are looked at; closed when nothing refers to them."""
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
