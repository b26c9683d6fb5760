"""An engine that fails: items end, sessions go on, operators learn of it."""

from __future__ import annotations

import pytest

from oyez.runtime import scheduler, session_jobs
from oyez.server.process import supervision
from oyez.testing import FakeRecogniser
from support.server import FINISH, append, held_engine, running_server, silence, speech


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "CALL_S", 1.0)
    monkeypatch.setattr(scheduler, "CALL_FACTOR", 0.0)
    monkeypatch.setattr(supervision, "CHECK_S", 0.05)
    monkeypatch.setattr(session_jobs, "LIVE_PATIENCE_S", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_an_engine_that_hangs_fails_items_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_server(held_engine(), close_after_finish_s=0) as running:
        assert (await running.get("/healthz"))[:2][1]["status"] == "ok"
        client = await running.connect()
        await client.send(append(silence(0.5) + speech(1.0) + silence(1.5)))
        await client.until("failed")
        status, body, _ = await running.get("/healthz")
        assert (status, body["status"]) == (503, "engine_stuck")
        status, body, _ = await running.get("/readyz")
        assert (status, body) == (503, {"status": "engine_stuck"})
        assert not running.server.engine_watch.lost.is_set()
        running.engine.may_answer.set()
        await client.send(append(speech(1.0) + silence(1.5)), FINISH)
        await client.until("completed")
        assert await client.closed() == 1000
        assert (await running.get("/readyz"))[0] == 200
        assert (await running.get("/healthz"))[0] == 200
    assert "the engine does not answer" in caplog.text
    assert "recognition goes on" in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_session_that_finishes_while_the_engine_hangs_ends() -> None:
    async with running_server(held_engine(), close_after_finish_s=0) as running:
        client = await running.connect()
        await client.send(append(silence(0.5) + speech(1.0)), FINISH)
        await client.until("failed")
        await client.until("finished")
        assert await client.closed() == 1000
        await running.assert_nothing_left()


@pytest.mark.usefixtures("impatient")
async def test_an_engine_that_stays_stuck_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "STUCK_S", 0.1)
    async with running_server(held_engine(), close_after_finish_s=0) as running:
        client = await running.connect()
        await client.send(append(silence(0.5) + speech(1.0) + silence(1.5)))
        await running.server.engine_watch.lost.wait()
        await client.until("failed")


async def test_an_engine_that_leaves_costs_its_turn_only() -> None:
    def leave(request: object) -> str:
        raise SystemExit(1)

    engine = FakeRecogniser(leave)
    async with running_server(engine, close_after_finish_s=0) as running:
        client = await running.connect()
        await client.send(append(silence(0.5) + speech(1.0) + silence(1.5)))
        await client.until("failed")
        engine._script = None
        await client.send(append(speech(1.0) + silence(1.5)), FINISH)
        await client.until("completed")
        assert await client.closed() == 1000
