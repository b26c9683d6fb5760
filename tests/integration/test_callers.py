"""Who is let in: keys in every place a client can put one, and web pages of other origins."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websocket

from oyez.server.access import callers
from oyez.server.realtime import PATH
from support.keys import KeyOffice, own_key
from support.process import a_process
from support.server import MODEL, RunningServer, running_server


def subprotocols(key: str) -> list[str]:
    return ["oyez", "oyez-key." + base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")]


async def is_let_in(running: RunningServer, **options: object) -> bool:
    try:
        client = await running.connect(**options)  # type: ignore[arg-type]
    except aiohttp.WSServerHandshakeError:
        return False
    await client.until("session.created")
    await client.socket.close()
    return True


async def until_turned_away(running: RunningServer, **options: object) -> None:
    async with asyncio.timeout(5):
        while await is_let_in(running, **options):  # noqa: ASYNC110 - it is the server that changes
            await asyncio.sleep(0.02)


async def test_a_key_of_the_database_is_taken_from_every_place(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, _ = office.create("ci")
    async with running_server(database=office.url) as running:
        assert await is_let_in(running, key=key)
        url = f"ws://{running.address}{PATH}?model={MODEL}"
        async with running.http.ws_connect(url, headers={"X-API-Key": key}) as socket:
            assert (await socket.receive_json())["type"] == "session.created"
        page = {"Origin": f"http://{running.address}"}
        for headers in (page, {"Origin": "https://elsewhere.example"}):
            async with running.http.ws_connect(
                url, protocols=subprotocols(key), headers=headers
            ) as socket:
                assert socket.protocol == "oyez"
                assert (await socket.receive_json())["type"] == "session.created"
        for wrong in (None, key[:-1], key + "x"):
            assert not await is_let_in(running, key=wrong)
        assert not await is_let_in(running, protocols=subprotocols("sk-oyez-wrong"))


async def test_no_offered_key_is_ever_logged() -> None:
    with a_process("--api-key", "a-good-key-of-our-own") as (process, url, lines):
        async with aiohttp.ClientSession() as http:
            for key in ("a-good-key-of-our-own", "a-wrong-key"):
                encoded = subprotocols(key)[1]
                for query, headers in (
                    ("", {"Authorization": f"Bearer {key}"}),
                    ("", {"Sec-WebSocket-Protocol": encoded}),
                    ("", {"Sec-WebSocket-Protocol": f"other, {encoded}"}),
                    (f"&api_key={key}", {}),
                ):
                    with suppress(aiohttp.WSServerHandshakeError):
                        full = f"{url}?model={MODEL}{query}"
                        await (await http.ws_connect(full, headers=headers)).close()
        process.terminate()
        assert process.stderr is not None
        printed = "".join(lines) + process.stderr.read()
    assert printed.count("session ended") == 3, "keys were taken wherever they were"
    for key in ("a-good-key-of-our-own", "a-wrong-key"):
        assert key not in printed and subprotocols(key)[1].partition(".")[2] not in printed


@pytest.mark.parametrize("name", ["api_key", "token", "Access_Token"])
async def test_a_key_in_the_url_is_refused_and_the_refusal_says_how(name: str) -> None:
    async with running_server(api_key=own_key("good")) as running:
        status, body, _ = await running.get(f"{PATH}?model={MODEL}&{name}={own_key('good')}")
        assert (status, body["code"]) == (400, "InvalidParameter")
        assert "Authorization: Bearer" in body["message"] and "good" not in str(body)


async def test_a_refusal_says_whether_the_key_was_revoked_or_expired(
    tmp_path: Path,
) -> None:
    office = KeyOffice(tmp_path)
    revoked, its = office.create("revoked")
    expired, _ = office.create("expired", expires_at=datetime.now(UTC))
    office.create("good")
    await office.revoke(its)
    async with running_server(database=office.url) as running:
        for key, word in ((revoked, "revoked"), (expired, "expired"), ("x", "Invalid")):
            status, body, response = await running.upgrade(Authorization=f"Bearer {key}")
            assert (status, body["code"]) == (401, "InvalidApiKey")
            assert word in body["message"]
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_the_first_key_closes_an_open_server_and_the_last_one_does_not_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "DIRECTORY_INTERVAL_S", 0.05)
    office = KeyOffice(tmp_path)
    async with running_server(database=office.url, sessions_per_second=1000) as running:
        assert await is_let_in(running)
        key, its = await office.create_later("first")
        await until_turned_away(running)
        assert await is_let_in(running, key=key)
        await office.revoke(its)
        await until_turned_away(running, key=key)
        assert not await is_let_in(running)


async def test_a_page_of_another_origin_cannot_use_a_server_without_keys() -> None:
    async with running_server(allowed_origins="https://app.example") as running:

        async def as_page(origin: str) -> bool:
            return await is_let_in(running, origin=origin)

        assert await as_page(f"http://{running.address}")
        assert await as_page("https://app.example")
        assert not await as_page("https://evil.example")
        assert not await as_page("null")
        status, body, _ = await running.upgrade(Origin="https://evil.example")
        assert (status, body["code"]) == (403, "AccessDenied")
        assert "allowed_origins" in body["message"] and body["request_id"]
        offered = {"Sec-WebSocket-Protocol": ", ".join(subprotocols("guessed"))}
        assert (await running.upgrade(Origin="https://evil.example", **offered))[0] == 403
        assert (await running.get("/metrics"))[1].count('reason="origin"} 4.0') == 1


@pytest.mark.parametrize("settings", [{}, {"api_key": own_key("k")}])
async def test_a_program_that_sends_an_origin_and_a_key_is_no_page(
    settings: dict[str, Any],
) -> None:
    async with running_server(**settings) as running:
        url = f"ws://{running.address}{PATH}?model={MODEL}"

        def first_event(**options: Any) -> str:
            socket = websocket.create_connection(url, timeout=5, **options)
            try:
                return str(socket.recv())
            finally:
                socket.close()

        for options in ({}, {"origin": "https://evil.example"}):
            headers = [f"Authorization: Bearer {own_key('k')}"]
            event = await asyncio.to_thread(first_event, header=headers, **options)
            assert "session.created" in event
        if not settings:  # its own Origin is the server's
            assert "session.created" in await asyncio.to_thread(first_event)
