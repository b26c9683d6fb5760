from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.process import ENVIRONMENT

pytestmark = pytest.mark.model


def test_a_model_is_prepared_before_the_first_start(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "OYEZ_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def oyez(*arguments: str) -> str:
        command = [sys.executable, "-m", "oyez", "models", *arguments]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    def prepared() -> bool:
        (base,) = map(json.loads, oyez("list", "--json").splitlines()[:1])
        return bool(base["prepared"])

    assert not prepared()
    oyez("prepare")
    assert prepared()
