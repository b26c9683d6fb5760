"""What a key allows, while sessions come and go."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oyez.server.access import callers
from oyez.server.process import supervision
from oyez.server.process.supervision import Reloadable
from oyez.server.session import usage_recorder
from support.keys import KeyOffice, own_key
from support.server import (
    FINISH,
    Client,
    RunningServer,
    append,
    held_engine,
    running_server,
    silence,
    speech,
)
from support.waiting import eventually

STAYS, GOES, COMES = map(own_key, ("stays", "goes", "comes"))


async def try_to_connect(running: RunningServer, key: str) -> Client | int:
    """The client, or the status of the refusal."""
    try:
        return await running.connect(key=key)
    except aiohttp.WSServerHandshakeError as refusal:
        return refusal.status


async def finish(client: Client) -> None:
    await client.send(FINISH)
    await client.until("session.finished")
    await client.socket.close()


async def test_however_many_come_at_once_no_more_are_let_in_than_the_key_allows(
    tmp_path: Path,
) -> None:
    office = KeyOffice(tmp_path)
    key, _ = office.create("three", sessions=3)
    other, _ = office.create("other")
    async with running_server(database=office.url, sessions_per_second=1000) as running:
        for _ in range(3):
            tries = await asyncio.gather(*(try_to_connect(running, key) for _ in range(25)))
            clients = [each for each in tries if isinstance(each, Client)]
            assert len(clients) == 3
            assert {each for each in tries if isinstance(each, int)} == {429}
            status, body, response = await running.upgrade(Authorization=f"Bearer {key}")
            assert (status, body["code"]) == (429, "Throttling.AllocationQuota")
            assert "3 sessions" in body["message"] and int(response.headers["Retry-After"])
            assert isinstance(await try_to_connect(running, other), Client)
            clients[0].vanish()
            for client in clients[1:]:
                await finish(client)
            await eventually(lambda: running.server.realtime.admission.open_sessions <= 3)
            for connection in list(running.server.realtime.connections):
                connection.abort(1006, "the test is done with it")
            await running.assert_nothing_left()


async def test_a_key_has_its_own_rate_of_new_sessions(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, _ = office.create("slow", sessions_per_second=2)
    async with running_server(database=office.url) as running:
        tries = await asyncio.gather(*(try_to_connect(running, key) for _ in range(10)))
        assert sum(isinstance(each, Client) for each in tries) == 2
        status, body, _ = await running.upgrade(Authorization=f"Bearer {key}")
        assert (status, body["code"]) == (429, "Throttling.RateQuota")


async def test_a_day_used_up_ends_the_session_with_what_was_said(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, its = office.create("short", audio_s_per_day=6.0)
    async with running_server(database=office.url) as running:
        client = await running.connect(key=key)
        await client.send(append(speech(1.0) + silence(1.2)))
        await client.until("completed")
        for _ in range(50):
            await client.send(append(speech(0.2)))
        assert await client.closed() == 1008
        errors = [event["error"] for event in client.seen if event["type"] == "error"]
        assert [error["code"] for error in errors] == ["Throttling.AllocationQuota"]
        assert "6 s of audio a day" in errors[0]["message"]
        types = client.types
        assert types.index("error") < types.index("finished")
        assert types.count("committed") == types.count("completed") == 2
        status, body, response = await running.upgrade(Authorization=f"Bearer {key}")
        assert (status, body["code"]) == (429, "Throttling.AllocationQuota")
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        left_s = (midnight - now).total_seconds()
        assert abs(int(response.headers["Retry-After"]) - left_s) < 5
        await running.assert_nothing_left()
    (row,) = office.sessions().values()
    assert row["close_code"] == 1008 and row["close_reason"] == "audio of the day used up"
    assert 6_000 <= row["audio_ms"] <= 8_100, "at most what is taken in at one go above it"
    async with running_server(database=office.url) as running:
        assert await try_to_connect(running, key) == 429, "also after a restart"
        await office.change(its, audio_s_per_day=60.0)
        async with asyncio.timeout(5):
            while await try_to_connect(running, key) == 429:  # noqa: ASYNC110 - the server changes
                await asyncio.sleep(0.05)


async def test_one_large_append_does_not_get_past_the_day(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, _ = office.create("short", audio_s_per_day=6.0)
    async with running_server(database=office.url) as running:
        client = await running.connect(key=key)
        await client.send(append((speech(1.0) + silence(1.2)) * 25))
        assert await client.closed() == 1008
        assert client.types.count("completed") in (3, 4)
    (row,) = office.sessions().values()
    assert row["audio_ms"] <= 12_000


async def test_sessions_of_a_key_share_its_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_recorder, "INTERVAL_S", 0.05)
    office = KeyOffice(tmp_path)
    key, _ = office.create("short", audio_s_per_day=10.0)
    async with running_server(database=office.url) as running:
        clients = [await running.connect(key=key) for _ in range(4)]
        for _ in range(3):
            for client in clients:
                await client.send(append(silence(1.0)))
            await asyncio.sleep(0.1)
        assert [await client.closed() for client in clients] == [1008] * 4
    heard_s = sum(row["audio_ms"] for row in office.sessions().values()) / 1000
    assert 10 <= heard_s <= 12.1


async def test_a_key_with_languages_speaks_those_only(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, _ = office.create("german", languages=("de", "fr"))
    async with running_server(database=office.url) as running:
        client = await running.connect(key=key)

        async def update(language: str | None) -> dict[str, Any]:
            session = {"input_audio_transcription": {"language": language}}
            await client.send(json.dumps({"type": "session.update", "session": session}))
            return await client.until("")

        answer = await update("en") if await client.until("session.created") else {}
        assert answer["error"]["param"] == "session.input_audio_transcription.language"
        assert "'de', 'fr'" in answer["error"]["message"]
        assert (await update("fr"))["type"] == "session.updated"
        await update(None)
        await client.send(append(speech(3.0) + silence(1.2)))
        assert (await client.until("completed"))["language"] in ("de", "fr")
        await finish(client)


async def test_a_key_that_expires_ends_its_sessions(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, _ = office.create("brief", expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    async with running_server(database=office.url) as running:
        client = await running.connect(key=key)
        await client.send(append(speech(1.0)))
        assert await client.closed() == 1008
        assert client.types[-1] == "finished" and "completed" in client.types
        status, body, _ = await running.upgrade(Authorization=f"Bearer {key}")
        assert status == 401 and "expired" in body["message"]


async def test_a_key_taken_out_of_the_file_ends_its_sessions_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervision, "FILES_CHECK_S", 0.1)
    file = tmp_path / "keys"
    file.write_text(f"{STAYS}\n{GOES}\n")
    async with running_server(api_keys_file=file) as running:
        keys = Reloadable("keys", running.server.access.callers.reload, file)
        watching = asyncio.create_task(keys.watch())
        stays, goes = [await running.connect(key=key) for key in (STAYS, GOES)]
        file.write_text("two words are no key\n")
        await eventually(lambda: "not reloaded" in caplog.text)
        file.write_text(f"{STAYS}\n{COMES}\n")
        assert await goes.closed() == 1008
        assert goes.seen[1]["error"]["code"] == "InvalidApiKey"
        assert await try_to_connect(running, GOES) == 401
        await finish(await running.connect(key=COMES))
        await finish(stays)
        watching.cancel()
    assert caplog.text.count("not reloaded") == 1


async def test_a_revoked_session_whose_answer_does_not_come_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "DIRECTORY_INTERVAL_S", 0.1)
    office = KeyOffice(tmp_path)
    key, its = office.create("stuck")
    async with running_server(held_engine(), database=office.url) as running:
        client = await running.connect(key=key)
        await client.send(append(speech(1.0) + silence(1.2)))
        await client.until("committed")
        await office.revoke(its)
        assert await client.closed(4.0) == 1008
        assert "finished" not in client.types and "error" in client.types
        running.engine.may_answer.set()
        await running.assert_nothing_left()
