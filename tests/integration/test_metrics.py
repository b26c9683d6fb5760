"""`/metrics` over HTTP, and what it shows of sessions that are open."""

from __future__ import annotations

import asyncio

import pytest

from oyez.engines.base import RecognitionError, Request
from oyez.engines.fake import FakeRecogniser
from support.keys import own_key
from support.server import (
    FINISH,
    RunningServer,
    append,
    held_engine,
    running_server,
    silence,
    speech,
)
from support.waiting import eventually

CALLER, WATCHER = own_key("caller"), own_key("watcher")


async def exposition(running: RunningServer) -> dict[str, float]:
    """Series, without the prefix `oyez_`, to value."""
    _, text, _ = await running.get("/metrics")
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {series.removeprefix("oyez_"): float(value) for series, value in lines}


async def test_audio_counts_while_it_comes() -> None:
    async with running_server() as running:
        client = await running.connect()
        await client.send(append(silence(0.5) + speech(1.5)))
        await client.until("transcription.text")
        shown = await exposition(running)
        assert shown["audio_seconds_total"] == 2.0
        assert shown["turns_open"] == 1.0
        assert shown["sessions_open"] == 1.0
        assert shown['stage_seconds_total{stage="decode"}'] > 0.0
        assert shown['stage_seconds_total{stage="vad"}'] > 0.0


async def test_a_session_from_its_first_word_to_its_end() -> None:
    async with running_server() as running:
        client = await running.connect()
        for _ in range(20):
            await client.send(append(speech(0.1)))
            await asyncio.sleep(0.005)
        await client.send(append(silence(1.2)), FINISH)
        await client.until("session.finished")
        await client.socket.close()
        await running.assert_nothing_left()
        shown = await exposition(running)
    live = 'pace="live"'
    assert shown['sessions_opened_total{model="qwen3-asr-flash-realtime"}'] == 1.0
    assert shown['sessions_closed_total{close_code="1000"}'] == 1.0
    assert shown["speech_started_total"] == shown["speech_stopped_total"] == 1.0
    assert shown['turns_ended_total{mode="vad",outcome="words"}'] == 1.0
    assert shown["turns_open"] == 0.0
    assert shown['speech_seconds_total{language="en"}'] == pytest.approx(2.0, abs=0.1)
    first = shown[f"first_words_seconds_sum{{{live}}}"]
    assert 0.0 < first < shown[f"first_words_after_onset_seconds_sum{{{live}}}"] < 5.0
    assert shown[f'final_seconds_count{{mode="vad",{live}}}'] == 1.0
    assert shown[f"interim_lag_seconds_count{{{live}}}"] >= 1.0
    assert shown["send_seconds_count"] == len(client.seen)
    assert shown["process_resident_memory_bytes"] > 10_000_000
    assert shown['build_info{engine="whisper-onnx",model="base",version="0.1.0"}'] == 1.0


async def test_audio_that_waits_for_its_final_shows() -> None:
    async with running_server(held_engine()) as running:
        client = await running.connect()
        await client.send(append(speech(1.5) + silence(1.0)))
        await client.until("committed")
        shown = await exposition(running)
        assert 1.4 < shown["backlog_seconds"] < 2.6
        assert (
            shown['jobs_waiting{urgency="final"}'] + running.server.realtime.scheduler.running >= 1
        )
        running.engine.may_answer.set()
        await client.until("completed")
        assert (await exposition(running))["backlog_seconds"] == 0.0


async def test_what_fails_and_who_is_refused_shows() -> None:
    def broken(request: Request) -> str:
        raise RecognitionError("broken")

    async with running_server(FakeRecogniser(broken), max_sessions=1) as running:
        client = await running.connect()
        await running.upgrade()
        await client.send("no JSON", append(speech(1.0) + silence(1.0)))
        await client.until("failed")
        shown = await exposition(running)
        assert shown['refused_total{reason="full"}'] == 1.0
        assert shown['errors_total{code="invalid_json"}'] == 1.0
        assert shown['turns_ended_total{mode="vad",outcome="failed"}'] == 1.0
        await client.socket.close()
        await eventually(lambda: running.server.realtime.admission.open_sessions == 0)
        nobody = await running.connect("model=none")
        assert await nobody.closed() == 1007
        assert (await exposition(running))['refused_total{reason="model"}'] == 1.0


async def test_metrics_can_ask_for_a_key() -> None:
    async with running_server(metrics_key=WATCHER, api_key=CALLER) as running:
        for wrong in ("", f"Bearer {CALLER}", WATCHER, f"Basic {WATCHER}"):
            status, text, response = await running.get("/metrics", Authorization=wrong)
            assert status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert "Authorization: Bearer KEY" in text
        status, text, _ = await running.get("/metrics", Authorization=f"Bearer {WATCHER}")
        assert status == 200
        assert WATCHER not in text


async def test_metrics_can_be_switched_off() -> None:
    async with running_server(metrics=False) as running:
        assert (await running.get("/metrics"))[0] == 404
        assert (await running.get("/healthz"))[0] == 200


async def test_requests_count_by_route_whatever_clients_make_up() -> None:
    async with running_server(api_key=CALLER) as running:
        for path in ("/healthz", "/made-up/1", "/made-up/2", "/healthz?made-up=3"):
            await running.get(path)
        await running.upgrade()
        client = await running.connect(key=CALLER)
        await client.socket.close()
        await running.assert_nothing_left()
        shown = await exposition(running)
        assert shown['http_requests_total{path="/healthz",status="200"}'] == 2.0
        assert shown['http_requests_total{path="other",status="404"}'] == 2.0
        assert shown['http_requests_total{path="/api-ws/v1/realtime",status="401"}'] == 1.0
        assert shown['http_requests_total{path="/api-ws/v1/realtime",status="101"}'] == 1.0
        assert shown['http_request_seconds_count{path="/api-ws/v1/realtime"}'] == 1.0
        assert not any("made-up" in series for series in shown)
