"""The load test and the soak, run against real servers without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from oyez.bench import edge
from oyez.bench.commands import bench
from oyez.bench.latency import Outcome
from oyez.bench.load import Stream, stream_all
from oyez.bench.server import measured_server
from oyez.client import Target
from oyez.server.realtime import PATH
from support.server import running_server as in_process_server
from support.server import silence, speech

PACKET_BYTES = 3200


def stream(number: int, audio: bytes, offset_s: float = 0.0) -> Stream:
    pieces = [audio[at : at + PACKET_BYTES] for at in range(0, len(audio), PACKET_BYTES)]
    return Stream(number, "en", offset_s, pieces)


async def test_streams_are_paced_by_the_clock_and_say_the_same_as_alone() -> None:
    audio = speech(1.0) + silence(1.0)
    streams = [stream(0, audio, 1.0), stream(1, audio, 1.25)]
    async with in_process_server() as server:
        url = f"ws://{server.address}{PATH}?model=qwen3-asr-flash-realtime"
        (alone,) = await stream_all(Target(url), streams[:1], paced=False)
        takes = await stream_all(Target(url), streams)
    expected = Outcome.of(alone)
    assert expected.finals and expected.unanswered == 0
    for take in takes:
        assert take.broken is None and Outcome.of(take).finals == expected.finals
        assert len(take.late_ms) == 20 and min(take.late_ms) >= 0
        ended_s = take.events[-1][0] - take.began_s
        assert 2.0 <= ended_s < 3.0
    assert takes[1].began_s - takes[0].began_s == pytest.approx(0.25)


async def test_a_session_that_is_refused_is_broken_and_disturbs_no_other() -> None:
    streams = [stream(number, speech(0.5) + silence(1.0)) for number in range(2)]
    async with in_process_server(max_sessions=1) as server:
        url = f"ws://{server.address}{PATH}?model=qwen3-asr-flash-realtime"
        takes = await stream_all(Target(url), streams)
    refused = [take for take in takes if take.broken]
    assert len(refused) == 1 and "is full" in (refused[0].broken or "")
    assert len(Outcome.of(next(take for take in takes if not take.broken)).finals) == 1


def test_the_streams_command(tmp_path: Path) -> None:
    file = tmp_path / "streams.json"
    command = ["streams", "--engine", "fake", "--streams", "1,2", "--no-edge"]
    command += ["--seconds", "2", "--mode", "nonstop"]
    result = CliRunner().invoke(bench, [*command, "--json", str(file)])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and "Objective" in result.stdout
    levels = json.loads(file.read_text())["levels"]
    assert [level["streams"] for level in levels] == [1, 2]
    for level in levels:
        assert level["turns"] >= level["streams"] and level["words"] > 0
        assert level["wer_percent"] == level["lost"] == level["failed"] == 0
        assert len(level["waits_ms"]["final_after_stop"]) == level["turns"]
        assert level["server_cpu_percent"] > 0 and level["server_rss_mb"] > 20


def test_the_soak_command(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    command = ["soak", "--engine", "fake", "--hours", "0.05", "--json", str(file)]
    result = CliRunner().invoke(bench, command)
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 12 and "Drift" in result.stdout
    slices = json.loads(file.read_text())["slices"]
    assert slices[-1]["audio_s"] == pytest.approx(180)
    assert sum(len(one["finals_ms"]) for one in slices) > 3
    assert sum(one["failed"] for one in slices) == 0


async def test_the_edge_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CONNECTING_S": 0.3, "MESSAGES": 100, "IDLE_SESSIONS": 20}.items():
        monkeypatch.setattr(edge, name, value)
    flags = ["--engine", "fake", "--sessions-per-second", "10000"]
    with measured_server(flags, None, "bench") as own:
        measured = await edge.measure(own)
    rate, _, _, _, vad_message_us, _, idle_kb, fed_kb = measured.values()
    assert rate > 10 and vad_message_us > 10
    assert fed_kb >= idle_kb > 0


def test_mistakes_on_the_command_line_are_named() -> None:
    assert "not like 1,2,4" in CliRunner().invoke(bench, ["streams", "--streams", "1;2"]).output
    gone = CliRunner().invoke(bench, ["streams", "--url", "ws://127.0.0.1:9/x", "--streams", "1"])
    assert gone.exit_code == 1 and "Error: stream 0 broke" in gone.output
