from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from support.keys import own_key
from support.server import MODEL, append, held_engine, running_server, silence, speech
from support.waiting import eventually

GOOD, OTHER = own_key("good"), own_key("other")


@pytest.mark.parametrize(
    "header",
    [
        *(f"Bearer {GOOD}", f"bearer {GOOD}", f"BEARER {GOOD}", f"Bearer  {GOOD} "),
        f"Bearer {OTHER}",
    ],
)
async def test_a_known_key_is_let_in(header: str) -> None:
    async with running_server(api_key=f"{GOOD},{OTHER}") as running:
        url = f"ws://{running.address}/api-ws/v1/realtime?model={MODEL}"
        async with running.http.ws_connect(url, headers={"Authorization": header}) as socket:
            assert (await socket.receive_json())["type"] == "session.created"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer bad", f"Bearer {GOOD}2", f"Basic {GOOD}", GOOD]
)
async def test_any_other_key_is_refused_before_the_upgrade(header: str | None) -> None:
    async with running_server(api_key=GOOD) as running:
        headers = {} if header is None else {"Authorization": header}
        status, body, _ = await running.upgrade(**headers)
        assert status == 401
        assert body["code"] == "InvalidApiKey"
        offered = header in ("Bearer bad", f"Bearer {GOOD}2")
        assert body["message"].startswith("Invalid API-key" if offered else "No API-key provided:")
        assert body["request_id"]


@pytest.mark.parametrize("key", [None, "anything"])
async def test_without_configured_keys_anyone_is_let_in(key: str | None) -> None:
    async with running_server() as running:
        client = await running.connect(key=key)
        assert (await client.until("session.created"))["session"]["model"] == MODEL


async def test_keys_come_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# team\n{GOOD}\n")
    async with running_server(api_keys_file=tmp_path / "keys") as running:
        await running.connect(key=GOOD)
        assert (await running.upgrade(Authorization="Bearer beta"))[0] == 401


async def test_new_sessions_are_limited_per_second_and_key() -> None:
    async with running_server(api_key=f"{GOOD},{OTHER}", sessions_per_second=2) as running:
        await running.connect(key=GOOD)
        await running.connect(key=GOOD)
        status, body, response = await running.upgrade(Authorization=f"Bearer {GOOD}")
        assert (status, body["code"]) == (429, "Throttling.RateQuota")
        assert int(response.headers["Retry-After"]) >= 1
        await running.connect(key=OTHER)


async def test_a_full_server_refuses_and_a_place_that_is_left_can_be_taken() -> None:
    async with running_server(max_sessions=1) as running:
        first = await running.connect()
        status, _, response = await running.upgrade()
        assert status == 503
        assert int(response.headers["Retry-After"]) >= 1
        await first.socket.close()
        await running.assert_nothing_left()
        await (await running.connect()).until("session.created")


async def test_a_server_behind_with_its_work_refuses_until_it_has_caught_up() -> None:
    async with running_server(held_engine()) as running:
        first = await running.connect()
        scheduler = running.server.realtime.scheduler
        await first.send(append(speech(1.0)))
        await eventually(lambda: scheduler.running == 1)
        await first.send(append(silence(1.5)))
        await first.until("committed")
        await running.connect()
        await eventually(lambda: scheduler.overdue_s > 0.5)
        status, body, response = await running.upgrade()
        assert (status, body["code"]) == (503, "ServiceUnavailable")
        assert "machine" in body["message"]
        assert int(response.headers["Retry-After"]) >= 1
        assert (await running.get("/readyz"))[1] == {"status": "ready", "room": 0}
        assert "oyez_sessions_room 0.0" in (await running.get("/metrics"))[1]
        running.engine.may_answer.set()
        await first.until("completed")
        await (await running.connect()).until("session.created")


async def test_load_can_be_left_out_of_account() -> None:
    async with running_server(held_engine(), max_load=0, max_sessions=3) as running:
        first = await running.connect()
        await first.send(append(speech(1.0)))
        await eventually(lambda: running.server.realtime.scheduler.running == 1)
        await first.send(append(silence(1.5)))
        await eventually(lambda: running.server.realtime.scheduler.overdue_s > 0.5)
        await (await running.connect()).until("session.created")
        assert (await running.get("/readyz"))[1]["room"] == 1


async def test_sessions_that_would_cost_too_much_are_refused_from_the_start() -> None:
    async with running_server(session_cost=0.3, max_load=0.7) as running:
        clients = [await running.connect() for _ in range(2)]
        assert (await running.upgrade())[0] == 503
        assert "oyez_load_needed 0.6" in (await running.get("/metrics"))[1]
        await clients[0].socket.close()
        await eventually(lambda: running.server.realtime.admission.open_sessions == 1)
        await (await running.connect()).until("session.created")


@pytest.mark.parametrize("query", ["", "model=", "model=whisper-1", "mode=x"])
async def test_an_unknown_model_is_refused_after_the_upgrade(query: str) -> None:
    async with running_server() as running:
        client = await running.connect(query)
        message = await client.socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert (message.data, message.extra) == (1007, "Model not found")
        await running.assert_nothing_left()


@pytest.mark.parametrize(
    "query",
    [
        f"model={MODEL}",
        f"model={MODEL}-2026-02-10",
        f"model={MODEL}-of-tomorrow",
        "model=mine",
        f"a=b?model={MODEL}",
        f"x=1&model={MODEL}&y",
        f"model=whisper-1?model={MODEL}",
        f"?model={MODEL}",
    ],
)
@pytest.mark.parametrize("path", ["/api-ws/v1/realtime", "/api-ws/v1/realtime/"])
async def test_the_url_is_read_leniently(query: str, path: str) -> None:
    async with running_server(models="mine") as running:
        client = await running.connect(query, path=path)
        await client.until("session.created")


async def test_a_plain_request_is_asked_to_upgrade() -> None:
    async with running_server() as running:
        status, body, response = await running.get("/api-ws/v1/realtime")
        assert (status, body["code"]) == (426, "UpgradeRequired")
        assert "ws://" in body["message"]
        assert response.headers["Upgrade"] == "websocket"


async def test_operators_can_watch() -> None:
    async with running_server(api_key=GOOD, sessions_per_second=1) as running:
        assert (await running.get("/healthz"))[0] == 200
        assert (await running.get("/readyz"))[0] == 200
        await running.upgrade()
        client = await running.connect(key=GOOD)
        await client.until("session.created")
        status, text, _ = await running.get("/metrics")
        assert status == 200
        assert "oyez_sessions_open 1.0" in text
        assert 'oyez_refused_total{reason="key"} 1.0' in text
