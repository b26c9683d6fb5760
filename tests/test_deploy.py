"""The examples of `deploy/` keep up with the settings. (nginx, Caddy: integration/test_proxies)"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from oyez.cli.main import main
from oyez.settings import ENV_PREFIX, Settings, is_loopback, load

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    ROOT / "Dockerfile",
    *sorted(file for file in (ROOT / "deploy").rglob("*") if file.is_file()),
]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
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


def test_the_unit_lets_the_server_have_its_port_and_this_machine() -> None:
    settings = load({}, ROOT / "deploy" / "systemd" / "oyez.toml")
    unit = UNIT.read_text().splitlines()
    assert [line for line in unit if line.startswith("SocketBind")] == [
        "SocketBindDeny=any",
        f"SocketBindAllow=tcp:{settings.port}",
    ]
    assert [line for line in unit if line.startswith("IPAddress")] == [
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
    ]
    assert is_loopback(settings.host)


def test_memory_goes_back_to_the_system() -> None:
    for file in (UNIT, DOCKERFILE):
        assert {"MALLOC_ARENA_MAX=2", "MALLOC_TRIM_THRESHOLD_=131072"} <= set(
            re.findall(r"MALLOC_\w+=\d+", file.read_text())
        )


def test_images_are_named_by_digest() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += re.findall(r"^ARG BASE=(.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    others = [image for image in images if image != COMPOSE["name"]]
    assert len(others) == 3
    for image in others:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image
    built_on = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert built_on[0] == "${BASE}" and set(built_on[1:]) == {"python"}


def test_the_image_holds_what_is_locked() -> None:
    commands = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    installing = re.findall(r"pip (?:install|wheel) [^&\n]*", commands)
    assert [line.split()[-1] for line in installing] == ["requirements/server.txt", "."]
    assert "--require-hashes" in installing[0]
    assert "--no-deps" in installing[1] and "--no-build-isolation" in installing[1]


def test_the_image_asks_its_server_as_it_was_configured() -> None:
    asks = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    assert asks
    program, *arguments = json.loads(asks[1])
    assert program == "oyez"
    done = CliRunner().invoke(main, arguments, env={"OYEZ_PORT": "1"})
    assert (done.exit_code, "http://127.0.0.1:1/healthz" in done.output) == (1, True), done.output


def test_containers_are_published_on_this_machine_only() -> None:
    for service in COMPOSE["services"].values():
        for port in service.get("ports", []):
            assert re.sub(r"\$\{PUBLISH:-([^}]+)\}", r"\1", port).startswith("127.0.0.1:"), port
    assert COMPOSE["services"]["oyez"]["environment"]["OYEZ_METRICS"] == "${OYEZ_METRICS:-false}"


def test_nobody_is_killed_while_a_server_drains() -> None:
    drain_timeout_s = Settings().drain_timeout_s
    for found in (
        re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE),
        re.search(r"(\d+)s", COMPOSE["services"]["oyez"]["stop_grace_period"]),
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
