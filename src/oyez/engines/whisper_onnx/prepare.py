"""Build the graphs once per machine and keep them in the cache directory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from oyez.engines.whisper_onnx import graph, shapes
from oyez.engines.whisper_onnx.weights import Source

BUILDER_VERSION = 6
"""Raise it whenever the graphs change: older caches are then ignored."""

ENCODER, DECODER, SIZES = "encoder.onnx", "decoder.onnx", "sizes.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One model, ready for ONNX Runtime."""

    encoder: Path
    decoder: Path
    sizes: graph.Sizes


def prepare(source: Source, cache_dir: Path) -> Prepared:
    """The graphs of `source`, built into `cache_dir` unless they are there already, whole and
    undamaged.

    Safe when several processes prepare at once: each builds into a directory of its own and
    the first to finish gives it its final name.

    Raises:
        WeightsError: the weights are damaged or not a Whisper model.
        OSError: `cache_dir` cannot be written.
    """
    directory = prepared_directory(source.digest, cache_dir)
    if fault := _fault(directory):
        if directory.exists():
            logger.warning("the prepared model in %s is built anew: %s", directory, fault)
        cache_dir.mkdir(parents=True, exist_ok=True)
        _publish(_build(source, cache_dir), directory)
    values = json.loads((directory / SIZES).read_text())
    sizes = graph.Sizes(**values["sizes"])
    return Prepared(directory / ENCODER, directory / DECODER, sizes)


def prepared_fault(digest: str, cache_dir: Path) -> str | None:
    """What is wrong with the graphs of the weights with this SHA-256, which are read whole; None if
    nothing is, or if they are not prepared."""
    directory = prepared_directory(digest, cache_dir)
    return _fault(directory) if directory.exists() else None


def prepared_directory(digest: str, cache_dir: Path) -> Path:
    """Where the graphs of the weights with this SHA-256 are, or would be, kept."""
    version = f"v{BUILDER_VERSION}-ort{onnxruntime.__version__}"
    return cache_dir / f"{_prefix(digest)}{version}"


def forget(digest: str, cache_dir: Path) -> None:
    """Remove the graphs of these weights, of any version."""
    for directory in cache_dir.glob(f"{_prefix(digest)}*"):
        shutil.rmtree(directory, ignore_errors=True)


def _prefix(digest: str) -> str:
    return f"whisper-{digest[:16]}-"


def _fault(directory: Path) -> str | None:
    """What is wrong with prepared graphs, by their size and SHA-256; None: nothing."""
    try:
        expected: dict[str, Any] = json.loads((directory / SIZES).read_text())
        graph.Sizes(**expected["sizes"])
        if _sha256_of(expected["sizes"]) != expected["sha256"][SIZES]:
            return f"{SIZES} is damaged"
        for name in (ENCODER, DECODER):
            if _sha256(directory / name) != expected["sha256"][name]:
                return f"{name} is damaged"
    except OSError as error:
        return f"{Path(error.filename or directory).name}: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        return f"{SIZES} is damaged"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of(sizes: dict[str, int]) -> str:
    return hashlib.sha256(json.dumps(sizes, sort_keys=True).encode()).hexdigest()


def _build(source: Source, cache_dir: Path) -> Path:
    started = time.monotonic()
    logger.info("preparing the Whisper weights for this machine (once)")
    arrays = source.read_arrays()
    shapes.require_floats(arrays)
    shapes.check(arrays, source.read_config())
    heads = [(layer, head) for layer, head in source.read_config()["alignment_heads"]]
    directory = Path(tempfile.mkdtemp(prefix=".preparing-", dir=cache_dir))
    try:
        onnx.save(graph.encoder(arrays), directory / ENCODER)
        logger.info("encoder built, %.1f s", time.monotonic() - started)
        onnx.save(graph.decoder(arrays, heads), directory / DECODER)
        logger.info("decoder built, %.1f s", time.monotonic() - started)
        sizes = asdict(graph.Sizes.of(arrays))
        digests = {name: _sha256(directory / name) for name in (ENCODER, DECODER)}
        digests[SIZES] = _sha256_of(sizes)
        (directory / SIZES).write_text(json.dumps({"sizes": sizes, "sha256": digests}))
        for name in (ENCODER, DECODER, SIZES):
            _sync(directory / name)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _publish(built: Path, directory: Path) -> None:
    """Give it its final name, for good: a power cut leaves the whole of it or nothing."""
    built.chmod(0o755)  # a temporary one is for its maker alone; whoever serves may be another
    _sync(built)
    try:
        if _fault(directory):
            # a directory cannot take the place of one that is not empty
            shutil.rmtree(directory, ignore_errors=True)
        os.replace(built, directory)
    except OSError:
        shutil.rmtree(built, ignore_errors=True)
        if _fault(directory):
            raise
    else:
        _sync(directory.parent)


def _sync(path: Path) -> None:
    """Have a file, or the names in a directory, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
