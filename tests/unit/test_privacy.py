from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOAD_A_MODEL = "from oyez.engines.vad.silero import SileroDetector; SileroDetector()"


def test_the_runtime_leaves_no_usage_records(tmp_path: Path) -> None:
    """Fails without ORT_DISABLE_TELEMETRY: a device id and a database appear."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORT_")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOAD_A_MODEL], env=environment, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []
