"""Build the graphs once per machine and keep them in the cache directory."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import onnxruntime

from oyez.recognisers.whisper_onnx import graph, shapes
from oyez.recognisers.whisper_onnx.weights import Source

BUILDER_VERSION = 5
"""Raise it whenever the graphs change: older caches are then ignored."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One model, ready for ONNX Runtime."""

    encoder: Path
    decoder: Path
    sizes: graph.Sizes


def prepare(source: Source, cache_dir: Path) -> Prepared:
    """The graphs of `source`, built into `cache_dir` unless they are there already.

    Safe when several processes prepare at once: each builds into a directory of its own and
    the first to finish gives it its final name.

    Raises:
        WeightsError: the weights are damaged or not a Whisper model.
        OSError: `cache_dir` cannot be written.
    """
    directory = prepared_directory(source.digest, cache_dir)
    if not directory.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        _publish(_build(source, cache_dir), directory)
    sizes = json.loads((directory / "sizes.json").read_text())
    return Prepared(directory / "encoder.onnx", directory / "decoder.onnx", graph.Sizes(**sizes))


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


def _build(source: Source, cache_dir: Path) -> Path:
    started = time.monotonic()
    logger.info("preparing the Whisper weights for this machine (once)")
    arrays = source.read_arrays()
    shapes.require_floats(arrays)
    shapes.check(arrays, source.read_config())
    heads = [(layer, head) for layer, head in source.read_config()["alignment_heads"]]
    directory = Path(tempfile.mkdtemp(prefix=".preparing-", dir=cache_dir))
    try:
        onnx.save(graph.encoder(arrays), directory / "encoder.onnx")
        logger.info("encoder built, %.1f s", time.monotonic() - started)
        onnx.save(graph.decoder(arrays, heads), directory / "decoder.onnx")
        logger.info("decoder built, %.1f s", time.monotonic() - started)
        (directory / "sizes.json").write_text(json.dumps(asdict(graph.Sizes.of(arrays))))
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _publish(built: Path, directory: Path) -> None:
    built.chmod(0o755)  # a temporary one is for its maker alone; whoever serves may be another
    try:
        os.replace(built, directory)
    except OSError:
        shutil.rmtree(built, ignore_errors=True)
        if not directory.is_dir():
            raise
