"""The models that were added on this machine: a directory each, with the hashes of its files.

Only files are handled here; whether an engine can run them, the engine checks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BUILT_IN = "base"
MANIFEST = "oyez-model.json"
NEEDED = ("model.bin", "config.json", "tokenizer.json")
OPTIONAL = ("vocabulary.txt", "vocabulary.json", "preprocessor_config.json")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BLOCK_BYTES = 1 << 20

Progress = Callable[[int], None]
"""Receives the number of bytes of every block that is read."""


class LibraryError(Exception):
    """A model cannot be added or removed. The message says why."""


@dataclass(frozen=True, slots=True)
class AddedModel:
    """One model in the library."""

    name: str
    directory: Path
    sha256: dict[str, str]
    """By file: its hash when it was added."""
    size_bytes: int
    origin: str
    """Where it came from: a directory, or a name on the hub."""
    about: dict[str, Any]
    """What the engine found in its files when it was added."""

    @property
    def digest(self) -> str:
        """The SHA-256 of `model.bin`, which identifies the weights."""
        return self.sha256["model.bin"]


def added(models_dir: Path) -> list[AddedModel]:
    """Return every model in the library, by name. Other directories are ignored."""
    if not models_dir.is_dir():
        return []
    return [
        model for path in sorted(models_dir.iterdir()) if (model := find(models_dir, path.name))
    ]


def find(models_dir: Path, name: str) -> AddedModel | None:
    """Return the model called `name`, if there is one."""
    if not NAME.fullmatch(name):
        return None
    directory = models_dir / name
    try:
        values = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        model = AddedModel(name, directory, **values)
        return model if "model.bin" in model.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def add(
    models_dir: Path,
    name: str,
    source: Path,
    origin: str,
    about: dict[str, Any],
    *,
    link: bool = False,
    progress: Progress = lambda done_bytes: None,
) -> AddedModel:
    """Copy the files of the model in `source`, or link to them. It appears whole or not at all.

    Raises LibraryError; OSError if `models_dir` cannot be written.
    """
    check_name(models_dir, name)
    paths = _files(source)
    if missing := sorted({*NEEDED} - {path.name for path in paths}):
        raise LibraryError(f"{source} is no CTranslate2 model: {', '.join(missing)} missing")
    models_dir.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=models_dir))
    try:
        hashes = {}
        for path in paths:
            copy = staging / path.name
            hashes[path.name] = _hash(path, None if link else copy, progress)
            if link:
                copy.symlink_to(path.resolve())
        model = AddedModel(name, models_dir / name, hashes, size_bytes(source), origin, about)
        values = asdict(model)
        del values["name"], values["directory"]
        (staging / MANIFEST).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        staging.chmod(0o755)
        os.replace(staging, model.directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return model


def remove(models_dir: Path, name: str) -> AddedModel:
    """Remove a model; the files that it links to stay. Raises LibraryError."""
    if name == BUILT_IN:
        raise LibraryError(f"{BUILT_IN} comes with oyez and cannot be removed")
    model = find(models_dir, name)
    if model is None:
        raise LibraryError(f"there is no model called {name}; oyez models list shows them")
    shutil.rmtree(model.directory)
    return model


def faults(model: AddedModel, progress: Progress | None = None) -> list[str]:
    """Return which files of a model are missing; with `progress`, hash every file again, and return
    also which are damaged."""
    found = []
    for name, expected in model.sha256.items():
        path = model.directory / name
        try:
            path.stat()
            digest = _hash(path, None, progress) if progress else expected
            if digest != expected:
                found.append(f"{name} is not as it was added: SHA-256 {digest}")
        except OSError as error:
            found.append(f"{name} cannot be read: {error.strerror}")
    return found


def check_name(models_dir: Path, name: str) -> None:
    """Raise LibraryError unless a model can be added under this name."""
    if not NAME.fullmatch(name):
        raise LibraryError(
            f"{name!r} cannot be a model's name: up to 64 letters, digits, dots, dashes and "
            "underscores; choose one with --name"
        )
    if name == BUILT_IN:
        raise LibraryError(f"{BUILT_IN} is the built-in model: choose another name with --name")
    if (models_dir / name).exists():
        raise LibraryError(
            f"there is a model called {name} already: choose another with --name, or remove that "
            f"one with oyez models remove {name}"
        )


def size_bytes(source: Path) -> int:
    """Return the size of the files of the model in `source` that would be added."""
    return sum(path.stat().st_size for path in _files(source))


def _files(source: Path) -> list[Path]:
    return [source / file for file in (*NEEDED, *OPTIONAL) if (source / file).is_file()]


def _hash(path: Path, copy: Path | None, progress: Progress) -> str:
    """Return the SHA-256 of a file, and copy it while it is read."""
    digest = hashlib.sha256()
    with path.open("rb") as file, open(copy or os.devnull, "wb") as out:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            out.write(block)
            progress(len(block))
    return digest.hexdigest()
