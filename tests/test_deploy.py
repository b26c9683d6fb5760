"""The examples of `deploy/` keep up with the settings. (nginx, Caddy: integration/test_proxies)"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from oyez.settings import ENV_PREFIX, Settings, load

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    ROOT / "Dockerfile",
    *sorted(file for file in (ROOT / "deploy").rglob("*") if file.is_file()),
]
UNIT = ROOT / "deploy" / "systemd" / "oyez.service"
BESIDE_DRAIN_S = 15.0
"""What stopping takes at most besides drain_timeout_s, and some more."""


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_setting_that_is_named_exists(file: Path) -> None:
    text = file.read_text()
    for name in re.findall(rf"\b{ENV_PREFIX}([A-Z_]+)", text):
        assert name.lower() in Settings.model_fields, name
    for flag in re.findall(r"oyez with --([a-z-]+)", text):
        assert flag.replace("-", "_") in Settings.model_fields, flag


def test_the_settings_file_is_taken() -> None:
    settings = load({}, ROOT / "deploy" / "systemd" / "oyez.toml")
    assert settings.trusted_proxies == ("127.0.0.1",)


def test_nobody_is_killed_while_a_server_drains() -> None:
    drain_timeout_s = Settings().drain_timeout_s
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    for found in (
        re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE),
        re.search(r"stop_grace_period: (\d+)s", compose),
    ):
        assert found and float(found[1]) >= drain_timeout_s + BESIDE_DRAIN_S


def test_memory_is_refused_before_it_is_out() -> None:
    settings = load({}, ROOT / "deploy" / "systemd" / "oyez.toml")
    most = re.search(r"^MemoryMax=(\d+)G$", UNIT.read_text(), re.MULTILINE)
    assert most and settings.max_memory_mb <= 0.8 * 1024 * int(most[1])


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this machine has no systemd-analyze")
    unit = tmp_path / "oyez.service"
    unit.write_text(UNIT.read_text().replace("/opt/oyez/bin/oyez", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "oyez.service" not in done.stderr, done.stderr
