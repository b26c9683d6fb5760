"""Models that were added on this machine: a directory each, with the hashes of its files.

Files only, no engine: what a model must be to run is for the engines to say.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BUILT_IN = "base"
MANIFEST = "oyez-model.json"
NEEDED = ("model.bin", "config.json", "tokenizer.json")
OPTIONAL = ("vocabulary.txt", "vocabulary.json", "preprocessor_config.json")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BLOCK_BYTES = 1 << 20


class LibraryError(Exception):
    """A model cannot be added, found or removed; the message says why."""


@dataclass(frozen=True, slots=True)
class Added:
    """One model in the library."""

    name: str
    directory: Path
    sha256: dict[str, str]
    """Of each file, as it was added."""
    size_bytes: int
    origin: str
    """Where it came from: a directory, or a name on the hub."""
    about: dict[str, Any]
    """What the engine found out when it was added."""

    @property
    def digest(self) -> str:
        """SHA-256 of `model.bin`: names these weights."""
        return self.sha256["model.bin"]


def added(models_dir: Path) -> list[Added]:
    """Every model in the library, by name. What is not one is passed over."""
    if not models_dir.is_dir():
        return []
    return [model for path in sorted(models_dir.iterdir()) if (model := _read(path))]


def find(models_dir: Path, name: str) -> Added | None:
    """The model called `name`, None if there is none."""
    return _read(models_dir / name) if NAME.fullmatch(name) else None


def add(
    models_dir: Path,
    name: str,
    source: Path,
    *,
    origin: str,
    about: dict[str, Any],
    link: bool = False,
    progress: Callable[[int], None] = lambda done_bytes: None,
) -> Added:
    """Copy (or link to) the files of the model in `source`. It appears whole or not at all.

    progress: is told of bytes as they are copied and hashed. Raises LibraryError; OSError where
    `models_dir` cannot be written.
    """
    check_name(models_dir, name)
    paths = _files(source)
    missing = set(NEEDED) - {path.name for path in paths}
    if missing:
        raise LibraryError(
            f"{source} is no CTranslate2 model: {', '.join(sorted(missing))} missing"
        )
    models_dir.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=models_dir))
    try:
        hashes = {path.name: _take(path, staging / path.name, link, progress) for path in paths}
        model = Added(name, models_dir / name, hashes, size_bytes(source), origin, about)
        _write(staging / MANIFEST, model)
        staging.chmod(0o755)
        os.replace(staging, model.directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return model


def remove(models_dir: Path, name: str) -> Added:
    """Take a model out of the library; files it was linked to stay. Raises LibraryError."""
    if name == BUILT_IN:
        raise LibraryError(f"{BUILT_IN} comes with oyez and cannot be removed")
    model = find(models_dir, name)
    if model is None:
        raise LibraryError(f"there is no model called {name}; oyez models list shows them")
    shutil.rmtree(model.directory)
    return model


def faults(model: Added, progress: Callable[[int], None] = lambda done_bytes: None) -> list[str]:
    """What is wrong with its files: each is hashed again."""
    return [
        fault
        for name, expected in model.sha256.items()
        if (fault := _fault(model.directory / name, expected, progress))
    ]


def check_name(models_dir: Path, name: str) -> None:
    """Raises LibraryError unless a model may be added under this name."""
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
    """Of the files of the model in `source` that would be added."""
    return sum(path.stat().st_size for path in _files(source))


def blocks(path: Path) -> Iterator[bytes]:
    """The file's bytes, a mebibyte at a time."""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _files(source: Path) -> list[Path]:
    return [source / file for file in (*NEEDED, *OPTIONAL) if (source / file).is_file()]


def _fault(path: Path, expected: str, progress: Callable[[int], None]) -> str | None:
    digest = hashlib.sha256()
    try:
        for block in blocks(path):
            digest.update(block)
            progress(len(block))
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
    if digest.hexdigest() != expected:
        return f"{path.name} is not as it was added: SHA-256 {digest.hexdigest()}"
    return None


def _take(path: Path, target: Path, link: bool, progress: Callable[[int], None]) -> str:
    """Copy or link a file; its SHA-256."""
    digest = hashlib.sha256()
    with open(os.devnull if link else target, "wb") as copy:
        for block in blocks(path):
            digest.update(block)
            copy.write(block)
            progress(len(block))
    if link:
        target.symlink_to(path.resolve())
    return digest.hexdigest()


def _write(path: Path, model: Added) -> None:
    values = asdict(model)
    del values["name"], values["directory"]
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _read(directory: Path) -> Added | None:
    if not NAME.fullmatch(directory.name):
        return None
    try:
        values = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        model = Added(name=directory.name, directory=directory, **values)
        return model if "model.bin" in model.sha256 else None
    except (OSError, ValueError, TypeError):
        return None
