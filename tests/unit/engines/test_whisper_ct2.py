"""Where the CTranslate2 engine finds its models."""

from __future__ import annotations

from pathlib import Path

import pytest

from oyez.engines.base import BUILT_IN_MODEL
from oyez.engines.whisper.weights import WeightsError
from oyez.engines.whisper_ct2 import find_files


def test_the_built_in_model_is_whole() -> None:
    files = find_files(BUILT_IN_MODEL)
    assert files.contents is not None
    assert len(files.contents["model.bin"]) == 145_217_532
    assert files.source.read_config()["alignment_heads"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match="large-v3-turbo"):
        find_files("enormous")


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="oyez models add --from-hub small"):
        find_files("small")


def test_a_directory_must_hold_a_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.bin is missing"):
        find_files(str(tmp_path))
