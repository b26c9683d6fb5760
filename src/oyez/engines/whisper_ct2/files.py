"""Finds the files of a model: built in, in a directory, or in the local cache of the hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faster_whisper.utils import available_models, download_model

from oyez.engines.base import BUILT_IN_MODEL
from oyez.engines.whisper.weights import Source, WeightsError, in_directory, packaged


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model, as CTranslate2 and the tokenizer need them."""

    location: str
    """The model's directory, or only a name if there are `contents`."""
    contents: dict[str, bytes] | None
    """The files' contents by name, if no directory has them complete. Otherwise None."""
    tokenizer_json: str
    config: dict[str, Any]


def find_files(model: str) -> ModelFiles:
    """Return the files of `model`: BUILT_IN_MODEL, a directory, or a name on the Hugging Face hub
    whose files are in the local hub cache. Nothing is downloaded.

    Raises:
        WeightsError: the model is not on this machine; the message explains how to get it.
    """
    if model == BUILT_IN_MODEL:
        return built_in_files()
    source = in_directory(Path(model) if Path(model).is_dir() else _cached(model))
    return _files(source, str(source.directory), None)


def built_in_files() -> ModelFiles:
    """Return the files of the built-in Whisper base, joined in memory.

    Raises:
        WeightsError: the packages are missing or damaged.
    """
    source = packaged()
    expected = source.expected or {}
    others = [name for name in expected if name != "model.bin"]
    contents = {name: (source.directory / name).read_bytes() for name in others}
    contents["model.bin"] = b"".join(path.read_bytes() for path in source.model_files)
    for name, digest in expected.items():
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise WeightsError(f"{name} of the built-in model is damaged: reinstall oyez")
    return _files(source, "whisper-base", contents)


def _files(source: Source, location: str, contents: dict[str, bytes] | None) -> ModelFiles:
    return ModelFiles(location, contents, source.read_tokenizer(), source.read_config())


def _cached(model: str) -> Path:
    try:
        return Path(download_model(model, local_files_only=True))
    except ValueError as error:
        raise WeightsError(
            f"{model} is neither a directory nor a model's name; names are "
            f"{', '.join(available_models())}, or owner/repository on the Hugging Face hub"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{model} is not on this machine, and oyez downloads no model by itself; add it once "
            f"with oyez models add --from-hub {model}, then choose --model "
            f"{model.rpartition('/')[2]}"
        ) from error
