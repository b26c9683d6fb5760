"""What `pip install` gets is all there is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("oyez-*-py3-none-any.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {
        str(file.relative_to(ROOT / "src"))
        for file in (ROOT / "src" / "oyez").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files - held == set()
    assert {
        "oyez/assets/two_cities.wav",
        "oyez/engines/emotion_data/open.npz",
        "oyez/py.typed",
    } <= held
    beside = {name.partition(".dist-info/")[2] for name in held - files}
    assert {"entry_points.txt", "licenses/LICENSE", "licenses/NOTICE"} <= beside
    assert len({name.split("/")[0] for name in held}) == 2, "something beside oyez and its metadata"
