from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from oyez.cli.main import main
from support.server import running_server


def shown(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(main, ["docs", *arguments])
    assert result.exit_code == 0, result.output
    document: dict[str, object] = json.loads(result.output)
    return document


async def test_it_prints_what_a_server_answers() -> None:
    async with running_server() as running:
        _, asyncapi, _ = await running.get("/docs/asyncapi.json")
        _, openapi, _ = await running.get("/docs/openapi.json")
        assert shown("asyncapi") == asyncapi
    assert shown("openapi") == openapi


def test_it_names_the_address_that_is_given() -> None:
    servers = shown("asyncapi", "--url", "wss://asr.example.org")["servers"]
    assert '"wss"' in json.dumps(servers) and '"asr.example.org"' in json.dumps(servers)


def test_limits_come_from_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "oyez.toml"
    file.write_text("max_sessions = 7")
    assert '"value": 7' in json.dumps(shown("asyncapi", "--config", str(file)))


def test_a_url_that_is_none_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["docs", "asyncapi", "--url", "example.org"])
    assert result.exit_code == 2
    assert "wss://HOST" in result.output
