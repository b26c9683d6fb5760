"""What sessions used is in the database when their clients see `session.finished`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import SessionUsage
from oyez.server.lifecycle import StartupError, run_server
from oyez.settings import Settings
from support.keys import KeyOffice
from support.opus_streams import decode, hum, mux, packets_of
from support.process import a_process
from support.server import FINISH, MODEL, Client, append, running_server, silence, speech

TURN = speech(1.0) + silence(1.55)
"""No whole number of windows of the voice activity detector: every sample counts."""
TURN_MS = 2550


async def test_figures_are_exact_when_the_session_has_finished(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, its = office.create("ci")
    async with running_server(database=office.url) as running:
        client = await running.connect(key=key)
        await client.send(append(TURN), append(TURN), json.dumps({"type": "nonsense"}), FINISH)
        await client.until("session.finished")
        ((session_id, row),) = (await asyncio.to_thread(office.sessions)).items()
        assert session_id == client.seen[0]["session"]["id"]
        expected = {
            "key_id": its.id,
            "key_name": "ci",
            "endpoint": "realtime",
            "model": MODEL,
            "audio_ms": 2 * TURN_MS,
            "turns": 2,
            "finals": 2,
            "failed": 0,
            "errors": 1,
            "close_code": 1000,
            "close_reason": "session finished",
        }
        assert {name: row[name] for name in expected} == expected
        assert row["ended_at"] is not None
        assert row["languages"] == {"en": (2, row["speech_ms"])}
        assert 2 * 1000 <= row["speech_ms"] <= 2 * 1300
        await client.socket.close()
    assert office.sessions()[session_id] == row, "nothing is added when the socket closes"


@pytest.mark.parametrize(
    ("form", "sample_rate", "audio"),
    [
        ("pcm", 16_000, silence(10.0)),
        ("pcm", 8_000, silence(5.0)),
        ("opus", 16_000, mux("ogg", hum(10.0))),
        ("opus", 16_000, b"".join(packets_of(mux("ogg", hum(0.04)))[:1])),
    ],
)
async def test_every_sample_counts_in_usage_metrics_and_the_log(
    form: str,
    sample_rate: int,
    audio: bytes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "oyez")
    expected_s = len(decode(audio)) / 16_000 if form == "opus" else 10.0
    office = KeyOffice(tmp_path)
    async with running_server(database=office.url) as running:
        client = await running.connect()
        session = {"input_audio_format": form, "sample_rate": sample_rate}
        await client.send(json.dumps({"type": "session.update", "session": session}))
        packets = [audio[start : start + 5_000] for start in range(0, len(audio), 5_000)]
        await client.send(*map(append, packets), FINISH)
        await client.until("session.finished")
        (row,) = (await asyncio.to_thread(office.sessions)).values()
        _, exposition, _ = await running.get("/metrics")
        await client.socket.close()
        await running.assert_nothing_left()
    assert row["audio_ms"] == round(1000 * expected_s)
    assert f"oyez_audio_seconds_total {expected_s}" in exposition
    (ended,) = [record for record in caplog.records if record.message == "session ended"]
    assert ended.fields["audio_s"] == round(expected_s, 2)  # type: ignore[attr-defined]


async def test_a_client_that_vanishes_has_used_what_it_used(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    async with running_server(database=office.url) as running:
        client = await running.connect()
        await client.send(append(TURN))
        await client.until("completed")
        client.vanish()
        await running.assert_nothing_left()
    (row,) = office.sessions().values()
    assert (row["key_id"], row["audio_ms"], row["finals"]) == (None, TURN_MS, 1)
    assert (row["close_code"], row["close_reason"]) == (1006, "the client left")


class SlowLedger:
    """Its database answers when a test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: Future[None] = Future()
        monkeypatch.setattr(Ledger, "put", self.put)

    def put(self, usage: SessionUsage) -> Future[None]:
        return self.written


async def finish(running: Any) -> tuple[Client, float]:
    """A session that was told to finish, and when."""
    client = await running.connect()
    await client.send(append(TURN))
    await client.until("completed")
    await client.send(FINISH)
    return client, time.monotonic()


async def test_session_finished_waits_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = SlowLedger(monkeypatch)
    async with running_server() as running:
        client, _ = await finish(running)
        with pytest.raises(TimeoutError):
            await client.until("session.finished", 0.3)
        ledger.written.set_result(None)
        await client.until("session.finished", 0.5)
        assert 'name="usage_recorded_late"} 0.0' in (await running.get("/metrics"))[1]
        await client.socket.close()


@pytest.mark.parametrize("close_after_finish_s", [0, 5])
async def test_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, close_after_finish_s: float
) -> None:
    SlowLedger(monkeypatch)
    async with running_server(close_after_finish_s=close_after_finish_s) as running:
        client, began_s = await finish(running)
        await client.until("session.finished", 3.0)
        assert 0.9 < time.monotonic() - began_s < 2.5
        assert 'name="usage_recorded_late"} 1.0' in (await running.get("/metrics"))[1]
        await client.socket.close()


async def test_a_full_ledger_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_server() as running:
        inside = await running.connect()
        monkeypatch.setattr(Ledger, "full", True)
        status, body, response = await running.upgrade()
        assert (status, body["code"]) == (503, "ServiceUnavailable")
        assert "Usage" in body["message"] and response.headers["Retry-After"]
        assert (await running.get("/readyz"))[1]["room"] == 0
        await inside.send(append(TURN), FINISH)
        await inside.until("session.finished")


async def test_readiness_reports_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_server() as running:
        assert "database" not in (await running.get("/readyz"))[1]
    async with running_server(database=KeyOffice(tmp_path).url) as running:
        assert (await running.get("/readyz"))[1]["database"] == "ok"
        monkeypatch.setattr(Ledger, "behind", True)
        assert (await running.get("/readyz"))[1]["database"] == "behind"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:////proc/nothing/a.db", "database sqlite:////proc/nothing/a.db"),
        ("postgresql://me:hush@127.0.0.1:1/oyez", "me:***@127.0.0.1:1/oyez"),
    ],
)
def test_a_database_that_is_away_at_the_start_is_reported(url: str, told: str) -> None:
    with pytest.raises(StartupError) as caught:
        run_server(Settings(engine="fake", port=0, database=url, create_database=True), print)
    message = str(caught.value)
    assert told in message and "'off'" in message, "which one, and what to do"
    assert "hush" not in message


async def test_what_a_client_saw_finished_survives_a_kill(tmp_path: Path) -> None:
    """The rest is at most five seconds behind, and told lost after a restart."""
    office = KeyOffice(tmp_path)
    key, _ = office.create("ci")
    flags = ("--database", office.url, "--sessions-per-second", "100", "--max-load", "0")
    finished: dict[str, Client] = {}
    sent_ms: dict[str, int] = {}

    async def converse(http: aiohttp.ClientSession, url: str, number: int) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        client = Client(await http.ws_connect(f"{url}?model={MODEL}", headers=headers))
        session_id = (await client.until("session.created"))["session"]["id"]
        sent_ms[session_id] = 0
        for _ in range(2 + number):
            await client.send(append(TURN))
            sent_ms[session_id] += TURN_MS
            await asyncio.sleep(0.25)
        await client.send(FINISH)
        await client.until("session.finished")
        finished[session_id] = client

    with a_process(*flags) as (process, url, _):
        async with aiohttp.ClientSession() as http:
            sessions = [asyncio.create_task(converse(http, url, n)) for n in range(60)]
            await asyncio.sleep(6.2)
            at_kill_ms = dict(sent_ms)
            process.kill()
            await asyncio.gather(*sessions, return_exceptions=True)
    rows = office.sessions()
    assert 5 < len(finished) < 50, "some were to finish, and some not"
    for session_id, client in finished.items():
        row, turns = rows[session_id], client.types.count("completed")
        assert row["audio_ms"] == sent_ms[session_id]
        assert row["turns"] == row["finals"] == turns == row["audio_ms"] // TURN_MS
        assert row["languages"]["en"][0] == turns and row["ended_at"] is not None
    for session_id in sent_ms.keys() - finished.keys():
        row = rows[session_id]
        behind_s = (at_kill_ms[session_id] - row["audio_ms"]) / 1000 / (TURN_MS / 1000) * 0.25
        assert behind_s < 6.0, "in time as it passed, with what it takes to write"
        assert row["audio_ms"] > 0
    with a_process(*flags) as (process, _, _):
        process.terminate()
        process.wait()
    rows = office.sessions()
    for session_id in sent_ms:
        lost = session_id not in finished and rows[session_id]["close_code"] is None
        assert rows[session_id]["ended_at"] is not None
        assert (rows[session_id]["close_reason"] == "lost") is lost
    assert sum(row["close_reason"] == "lost" for row in rows.values()) > 5


async def test_sessions_go_on_while_the_database_is_locked(tmp_path: Path) -> None:
    office = KeyOffice(tmp_path)
    key, _ = office.create("ci")
    async with running_server(database=office.url) as running:
        client = await running.connect(key=key)
        await client.until("session.created")
        await asyncio.sleep(0.7)
        other = sqlite3.connect(tmp_path / "accounts.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began_s = time.monotonic()
        late = await running.connect(key=key)
        for each in (client, late):
            await each.send(append(TURN), FINISH)
            await each.until("session.finished", 3.0)
        assert time.monotonic() - began_s < 4.0
        assert 'name="usage_recorded_late"} 2.0' in (await running.get("/metrics"))[1]
        other.execute("ROLLBACK")
        other.close()
        await client.socket.close()
        await late.socket.close()
        await running.assert_nothing_left()
    rows = office.sessions().values()
    assert [(row["audio_ms"], row["close_reason"]) for row in rows] == [
        (TURN_MS, "session finished")
    ] * 2
