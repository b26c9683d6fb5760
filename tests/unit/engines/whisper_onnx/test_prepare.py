from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from oyez.engines.whisper.weights import Source, in_directory
from oyez.engines.whisper_onnx.prepare import (
    DECODER,
    ENCODER,
    SIZES,
    _publish,
    prepare,
    prepared_directory,
    prepared_fault,
)
from support import tiny_whisper

FLIPPED_BITS = 2000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return in_directory(tiny_whisper.write(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(scope="module")
def prepared(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    prepare(source, cache)
    return cache


@pytest.fixture
def cache(prepared: Path, tmp_path: Path) -> Path:
    """A copy of a cache in which the model is prepared."""
    return Path(shutil.copytree(prepared, tmp_path / "cache"))


def flip_bits(path: Path) -> None:
    """As a failing disk or memory does: few enough for the file to load and run."""
    data = np.fromfile(path, np.uint8)
    random = np.random.default_rng(1)
    at = random.integers(0, len(data), FLIPPED_BITS)
    data[at] ^= np.uint8(1) << random.integers(0, 8, FLIPPED_BITS, np.uint8)
    data.tofile(path)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def other_size(path: Path) -> None:
    values = json.loads(path.read_text())
    values["sizes"]["heads"] += 1
    path.write_text(json.dumps(values))


def older_form(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text())["sizes"]))


DAMAGE = [
    *((ENCODER, harm) for harm in (flip_bits, cut, empty, Path.unlink)),
    *((DECODER, harm) for harm in (flip_bits, Path.unlink)),
    *((SIZES, harm) for harm in (empty, Path.unlink, other_size, older_form)),
]


@pytest.mark.parametrize(("name", "harm"), DAMAGE)
def test_what_is_damaged_is_built_anew(
    name: str,
    harm: Callable[[Path], None],
    source: Source,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = prepared_directory(source.digest, cache)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    harm(directory / name)
    assert name in (prepared_fault(source.digest, cache) or "")
    assert prepare(source, cache).encoder.parent == directory
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert f"{directory} is built anew: {name}" in caplog.text
    assert list(cache.iterdir()) == [directory], "nothing half-made is left"


def test_what_is_whole_is_not_built_again(
    source: Source, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "read_arrays", lambda self: pytest.fail("built again"))
    prepare(source, cache)


def test_what_is_not_prepared_is_no_fault(source: Source, tmp_path: Path) -> None:
    assert prepared_fault(source.digest, tmp_path) is None


def test_all_of_it_is_on_the_disk_before_it_has_its_name(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut can leave the name without the bytes."""
    done: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_sync(descriptor)

    def replace(old: Path, new: Path) -> None:
        done.append("renamed")
        real_replace(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    prepare(source, tmp_path)
    *files, folder, renamed, parent = done
    assert sorted(files) == sorted([ENCODER, DECODER, SIZES])
    assert folder.startswith(".preparing-")
    assert (renamed, parent) == ("renamed", tmp_path.name)


def test_another_process_that_was_quicker_is_no_fault(source: Source, cache: Path) -> None:
    built = cache / ".preparing-second"
    built.mkdir()
    directory = prepared_directory(source.digest, cache)
    _publish(built, directory)
    assert prepared_fault(source.digest, cache) is None
    assert list(cache.iterdir()) == [directory]


def test_what_one_user_prepared_another_may_serve(tmp_path: Path) -> None:
    """As when an image is built by root and run by nobody."""
    built = tmp_path / ".preparing"
    built.mkdir(mode=0o700)
    _publish(built, tmp_path / "model")
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755
