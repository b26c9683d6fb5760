from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no file of the user who runs the tests is used."""
    for name in list(os.environ):
        if name.startswith("OYEZ_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OYEZ_MODELS_DIR", str(tmp_path / "models"))
