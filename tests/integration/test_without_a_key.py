"""Nobody is let in because a key is missing: revoked, expired, lost with its database or its name.

The callers here come from this machine, as everybody does behind a proxy on it.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import time
import urllib.error
import urllib.request
import wave
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oyez.server.access import callers
from oyez.server.access.refusals import NO_KEYS_YET
from oyez.server.realtime import PATH
from support.keys import KeyOffice, own_key
from support.process import ENVIRONMENT, a_process, command, later_line, run_to_end
from support.server import MODEL, RunningServer, running_server, speech
from support.waiting import eventually

BY_PROXY = {"X-Forwarded-For": "203.0.113.7"}
BEHIND_PROXY: dict[str, Any] = {"trusted_proxies": "127.0.0.1"}


async def answers(running: RunningServer, headers: dict[str, str] = BY_PROXY) -> tuple[int, int]:
    """What a caller without a key gets who wants a session, and who sends a file."""
    said = io.BytesIO()
    with wave.open(said, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(speech(0.5))
    form = aiohttp.FormData({"model": MODEL})
    form.add_field("file", said.getvalue(), filename="said.wav")
    url = f"http://{running.address}/v1/audio/transcriptions"
    async with running.http.post(url, data=form, headers=headers) as posted:
        sent = posted.status
    try:
        session = f"ws://{running.address}{PATH}?model={MODEL}"
        async with running.http.ws_connect(session, headers=headers):
            return 101, sent
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status, sent


@pytest.mark.parametrize("behind_proxy", [BEHIND_PROXY, {}], ids=["told of", "not told of"])
async def test_revoking_the_last_key_and_starting_anew_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind_proxy: dict[str, Any]
) -> None:
    monkeypatch.setattr(callers, "DIRECTORY_INTERVAL_S", 0.05)
    office = KeyOffice(tmp_path)
    key, its = office.create("app")
    async with running_server(database=office.url, **behind_proxy) as running:
        assert await answers(running) == (401, 401)
        await office.revoke(its)
        await eventually(lambda: not running.server.access.callers.has_active)
        assert await answers(running) == (401, 401)
    async with running_server(database=office.url, **behind_proxy) as running:
        for headers in (BY_PROXY, {"Authorization": f"Bearer {key}"}, {"X-Request-Id": "1"}):
            assert await answers(running, headers) == (401, 401)


async def test_an_expired_key_is_needed_by_a_server_that_starts_after_it(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    office.create("app", expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    for settings in ({}, BEHIND_PROXY, {"allow_insecure": True}):
        async with running_server(database=office.url, **settings) as running:
            for headers in (BY_PROXY, {"X-Request-Id": "1"}):
                assert await answers(running, headers) == (401, 401)


async def test_a_lost_database_lets_in_no_caller_of_a_proxy(tmp_path: Path) -> None:
    for settings in ({}, BEHIND_PROXY):
        async with running_server(database=KeyOffice(tmp_path).url, **settings) as running:
            status, body, _ = await running.upgrade(**BY_PROXY)
            assert (status, body["message"]) == (401, NO_KEYS_YET.message)
            assert await answers(running) == (401, 401)


@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": "for=203.0.113.7"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "203.0.113.7"},
        {"X-Forwarded-Proto": "https"},
        {"Host": "asr.example.org"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_any_sign_of_a_proxy_is_enough(headers: dict[str, str]) -> None:
    async with running_server() as running:
        assert await answers(running, headers) == (401, 401)
        assert (await running.get("/v1/models", **headers))[0] == 401
        assert (await running.get("/healthz", **headers))[0] == 200


async def test_programs_of_this_machine_need_no_key_while_there_is_none() -> None:
    async with running_server() as running:
        await (await running.connect()).until("session.created")
        await (await running.connect(key="any")).until("session.created")
        assert (await running.get("/v1/models"))[0] == 200


async def test_allow_insecure_lets_in_everybody_until_there_is_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "DIRECTORY_INTERVAL_S", 0.05)
    office = KeyOffice(tmp_path)
    everybody: dict[str, Any] = {"host": "0.0.0.0", "allow_insecure": True, **BEHIND_PROXY}
    async with running_server(database=office.url, **everybody) as running:
        assert await answers(running) == (101, 200)
        key, _ = await office.create_later("first")
        await eventually(lambda: running.server.access.callers.need_keys)
        assert await answers(running) == (401, 401)
        await (await running.connect(key=key)).until("session.created")


def status_of(url: str, **headers: str) -> tuple[int, Any]:
    """Of a plain request; its body."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def test_a_server_for_others_starts_without_a_key_and_says_how_to_make_one(tmp_path: Path) -> None:
    """Its address is loopback only because a test may open no other."""
    url = f"sqlite:///{tmp_path}/accounts.db"
    flags = ("--database", url, "--create-database", "--trusted-proxies", "10.0.0.1")
    with a_process(*flags) as (process, ws_url, lines):
        (warning,) = [line for line in lines if "WARNING" in line]
        assert "no API key exists" in warning and "oyez keys create" in warning
        assert "callers need an API key\n" in lines
        models = ws_url.replace("ws", "http", 1).replace(PATH, "/v1/models")
        status, body = status_of(models)
        assert status == 401 and "oyez keys create" in body["error"]["message"]
        key, _ = KeyOffice(tmp_path).create("first")
        deadline_s = time.monotonic() + 10
        while status_of(models, Authorization=f"Bearer {key}")[0] != 200:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert process.poll() is None


@pytest.mark.parametrize("make", ["revoked", "empty file"])
def test_no_active_key_is_no_fault_of_the_settings(tmp_path: Path, make: str) -> None:
    office = KeyOffice(tmp_path)
    flags = ["--host", "127.0.0.1", "--database", office.url, "--create-database"]
    if make == "revoked":
        _, its = office.create("app")
        asyncio.run(office.revoke(its))
    else:
        (tmp_path / "keys").write_text("# none yet\n")
        flags += ["--api-keys-file", str(tmp_path / "keys")]
    with a_process(*flags) as (_, ws_url, lines):
        assert sum("no API key is in force" in line for line in lines) == 1
        url = ws_url.replace("ws", "http", 1).replace(PATH, "/v1/models")
        assert status_of(url)[0] == 401


def test_a_database_of_a_mistyped_name_is_not_begun(tmp_path: Path) -> None:
    typo = tmp_path / "typo.db"
    for flags in ((), ("--allow-insecure", "--no-create-database")):
        ended = run_to_end("--port", "0", "--database", f"sqlite:///{typo}", *flags)
        assert ended.returncode == 3
        assert "typo.db: there is no such file" in ended.stderr
        assert "oyez keys create" in ended.stderr and "--create-database" in ended.stderr
        assert "Traceback" not in ended.stderr and not typo.exists()


def test_an_empty_database_is_not_begun_either(tmp_path: Path) -> None:
    (tmp_path / "typo.db").touch()
    ended = run_to_end("--port", "0", "--database", f"sqlite:///{tmp_path}/typo.db")
    assert ended.returncode == 3
    assert "typo.db: it holds no tables of oyez" in ended.stderr


def test_the_default_database_is_begun(tmp_path: Path) -> None:
    arguments = [each for each in command("--port", "0") if each not in ("--database", "off")]
    environment = {**ENVIRONMENT, "XDG_DATA_HOME": str(tmp_path)}
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        later_line(process, "oyez is ready")
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    assert (tmp_path / "oyez" / "accounts.db").exists()


def test_refused_callers_are_named_in_the_log() -> None:
    with a_process("--api-key", own_key("k")) as (process, ws_url, _):
        url = ws_url.replace("ws", "http", 1).replace(PATH, "/v1/models")
        assert status_of(url, Authorization="Bearer guessed")[0] == 401
        line = later_line(process, "a caller was refused")
        assert line.endswith(" INFO a caller was refused client=127.0.0.1 key=unknown\n")
        assert "guessed" not in line


def test_variables_that_kubernetes_sets_stop_no_server() -> None:
    kubernetes = {
        "OYEZ_PORT": "tcp://10.0.0.1:80",
        "OYEZ_SERVICE_HOST": "10.0.0.1",
        "OYEZ_PORT_80_TCP_ADDR": "10.0.0.1",
        "OYEZ_DATABSE": "mistyped",
    }
    with a_process(environment={**ENVIRONMENT, **kubernetes}) as (_, _, lines):
        told = [line for line in lines if "is ignored" in line]
    assert [line.partition(" WARNING ")[2].split()[0] for line in told] == [
        "OYEZ_DATABSE",
        "OYEZ_PORT",
    ]
