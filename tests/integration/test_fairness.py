"""One client that asks for all there is, and others beside it, over real sockets."""

from __future__ import annotations

import json
import time

from oyez.runtime.job import MAX_FINALS
from oyez.testing import FakeRecogniser
from support.keys import own_key
from support.server import (
    Client,
    RunningServer,
    append,
    held_engine,
    running_server,
    silence,
    speech,
)
from support.waiting import eventually, stays

MANUAL = json.dumps({"type": "session.update", "session": {"turn_detection": None}})
COMMIT = json.dumps({"type": "input_audio_buffer.commit"})
CALL_S = 0.02
"""What a call of the engine takes."""
FLOOD, SPEAKER = own_key("flood"), own_key("speaker")


async def flood(running: RunningServer, commits: int, key: str | None = FLOOD) -> Client:
    """A session that has sent so many turns of 32 ms at once."""
    client = await running.connect(key=key)
    await client.send(MANUAL)
    for _ in range(commits):
        await client.send(append(speech(0.032)), COMMIT)
    return client


async def test_a_flood_of_commits_delays_nobody_elses_finals() -> None:
    async with running_server(
        FakeRecogniser(delay_s=CALL_S, max_batch=1), api_key=f"{FLOOD},{SPEAKER}"
    ) as running:
        flooder = await flood(running, 300)
        await flooder.until("transcription.completed")
        speaker = await running.connect(key=SPEAKER)
        for _ in range(3):
            await speaker.send(append(speech(1.0)), append(silence(1.0)))
            await speaker.until("speech_stopped")
            began_s = time.monotonic()
            await speaker.until("transcription.completed")
            assert time.monotonic() - began_s < 20 * CALL_S, "a few calls, not those of the flood"
        assert sum("completed" in kind for kind in flooder.types) < 300
        assert (await running.get("/readyz"))[1]["room"] > 0


async def test_a_session_has_only_so_many_finals_waiting_and_loses_none() -> None:
    async with running_server(held_engine()) as running:
        flooder = await flood(running, 50, key=None)
        scheduler = running.server.realtime.scheduler
        await eventually(lambda: scheduler.waiting + scheduler.running == MAX_FINALS)
        await stays(lambda: scheduler.waiting + scheduler.running == MAX_FINALS)
        running.engine.may_answer.set()
        for _ in range(50):
            await flooder.until("transcription.completed")


async def test_one_key_leaves_room_for_another() -> None:
    limits = {"max_sessions": 5, "sessions_per_second": 99, "api_key": f"{FLOOD},{SPEAKER}"}
    async with running_server(**limits) as running:  # type: ignore[arg-type]
        many = [await running.connect(key=FLOOD) for _ in range(4)]
        await many[-1].until("session.created")
        status, body, response = await running.upgrade(Authorization=f"Bearer {FLOOD}")
        assert (status, body["code"]) == (429, "Throttling.AllocationQuota")
        assert "reserved_share" in body["message"]
        assert response.headers["Retry-After"]
        await (await running.connect(key=SPEAKER)).until("session.created")
        assert 'oyez_refused_total{reason="share"} 1.0' in (await running.get("/metrics"))[1]
