"""Builds the graphs once per machine and keeps them in the cache directory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import onnxruntime

from oyez.engines.whisper.weights import Sizes, Source, WeightsError, check, is_quantised, sha256_of
from oyez.engines.whisper_onnx import graph

BUILDER_VERSION = 6
"""Raise it whenever the graphs change; older caches are then ignored."""

ENCODER, DECODER, SIZES = "encoder.onnx", "decoder.onnx", "sizes.json"

logger = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """One model, ready for ONNX Runtime."""

    encoder: Path
    decoder: Path
    sizes: Sizes


def prepare(source: Source, cache_dir: Path) -> Prepared:
    """Return the graphs of `source`, and build them into `cache_dir` unless they are there,
    complete and undamaged.

    Several processes may prepare at the same time: each builds into a temporary directory, and the
    first to finish renames it. Raises WeightsError if the weights are damaged or not a Whisper
    model, and OSError if `cache_dir` cannot be written.
    """
    directory = prepared_directory(source.digest, cache_dir)
    if fault := _fault(directory):
        if directory.exists():
            logger.warning("the prepared model in %s is built anew: %s", directory, fault)
        cache_dir.mkdir(parents=True, exist_ok=True)
        _publish(_build(source, cache_dir), directory)
    sizes = Sizes(**json.loads((directory / SIZES).read_text())["sizes"])
    return Prepared(directory / ENCODER, directory / DECODER, sizes)


def prepared_fault(digest: str, cache_dir: Path) -> str | None:
    """Return what is wrong with the graphs of the weights with this SHA-256, or None if nothing is
    wrong or they are not prepared. It reads all of the graphs."""
    directory = prepared_directory(digest, cache_dir)
    return _fault(directory) if directory.exists() else None


def prepared_directory(digest: str, cache_dir: Path) -> Path:
    """Return the directory for the graphs of the weights with this SHA-256. It may not exist."""
    return cache_dir / f"{_prefix(digest)}v{BUILDER_VERSION}-ort{onnxruntime.__version__}"


def delete_cached(digest: str, cache_dir: Path) -> None:
    """Delete the graphs of the weights with this SHA-256, of all versions."""
    for directory in cache_dir.glob(f"{_prefix(digest)}*"):
        shutil.rmtree(directory, ignore_errors=True)


def _prefix(digest: str) -> str:
    return f"whisper-{digest[:16]}-"


def _fault(directory: Path) -> str | None:
    """Return what is wrong with prepared graphs by their SHA-256, or None if nothing is."""
    try:
        expected: dict[str, Any] = json.loads((directory / SIZES).read_text())
        Sizes(**expected["sizes"])
        for name, digest in _digests(directory, expected["sizes"]).items():
            if digest != expected["sha256"][name]:
                return f"{name} is damaged"
    except OSError as error:
        return f"{Path(error.filename or directory).name}: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        return f"{SIZES} is damaged"
    return None


def _digests(directory: Path, sizes: dict[str, int]) -> dict[str, str]:
    digests = {name: sha256_of(directory / name) for name in (ENCODER, DECODER)}
    of_sizes = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode()).hexdigest()
    return {**digests, SIZES: of_sizes}


def _build(source: Source, cache_dir: Path) -> Path:
    started = time.monotonic()
    logger.info("preparing the Whisper weights for this machine (once)")
    arrays, config = source.read_arrays(), source.read_config()
    if is_quantised(arrays):  # the graphs quantise by themselves
        raise WeightsError(
            "its weights are quantised, which the engine whisper-onnx does not read: convert the "
            "model with --quantization float16, or choose --engine whisper-ct2"
        )
    sizes = asdict(check(arrays, config))
    directory = Path(tempfile.mkdtemp(prefix=".preparing-", dir=cache_dir))
    try:
        onnx.save(graph.encoder(arrays), directory / ENCODER)
        logger.info("encoder built, %.1f s", time.monotonic() - started)
        onnx.save(graph.decoder(arrays, config["alignment_heads"]), directory / DECODER)
        logger.info("decoder built, %.1f s", time.monotonic() - started)
        values = {"sizes": sizes, "sha256": _digests(directory, sizes)}
        (directory / SIZES).write_text(json.dumps(values))
        for name in (ENCODER, DECODER, SIZES):
            _sync(directory / name)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _publish(built: Path, directory: Path) -> None:
    """Give a built directory its final name. After a power cut it is either complete or absent."""
    # temporary directories are private, but another user may run the server
    built.chmod(0o755)
    _sync(built)
    try:
        if _fault(directory):
            # a directory cannot replace another one that is not empty
            shutil.rmtree(directory, ignore_errors=True)
        os.replace(built, directory)
    except OSError:
        shutil.rmtree(built, ignore_errors=True)
        if _fault(directory):
            raise
    else:
        _sync(directory.parent)


def _sync(path: Path) -> None:
    """Make sure that a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
