"""WebSocket frames in numbers, in pieces, and answers that nobody reads."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import given, settings

from support.adversary import MeasuredServer, Tolerated, bystanders, for_seconds
from support.blocking_websocket import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    BlockingWebSocket,
    append,
    frame,
    message,
)
from support.hostile_inputs import AUDIO, JSON, websocket_frames
from support.order import COMMITTED, COMPLETED, FAILED

FLOODS = {
    "empty text": frame(),
    "empty binary": frame(opcode=BINARY),
    "pings": frame(opcode=PING),
    "long pings": frame(bytes(125), PING),
    "pongs": frame(opcode=PONG),
    "braces": frame(b"{}"),
    "appends of nothing": message("append", audio=""),
    "appends of a sample": message("append", audio="AAA="),
    "events of other services": frame(b'{"type":"response.create"}'),
    "clears": message("clear"),
    "commits of nothing": message("commit"),
    "noise": bytes(range(256)),
}
LOUD = b"\x40\x1f\xc0\xe0" * 800
BLOCK_BYTES = 65_536
SLOW_SESSIONS = 20
MANY_SESSIONS = Tolerated(iteration_s=SLOW_SESSIONS * 0.004, probe_median_s=0.2)
"""Each of them may have some milliseconds of the same turn; no more than one has 20."""


@pytest.mark.parametrize("reads", [True, False], ids=["read", "not read"])
def test_floods(server: MeasuredServer, attack_s: float, reads: bool) -> None:
    with bystanders(server) as watch:
        for name, once in FLOODS.items():
            block = once * (BLOCK_BYTES // len(once))
            watch.attack(name, partial(flood_a_session, server, block, attack_s / 3, reads))


def flood_a_session(
    server: MeasuredServer, block: bytes, seconds: float, reads: bool, first: bytes = b""
) -> None:
    with server.session() as session:
        session.send(first)
        flood(session, block, seconds, reads)


def flood(session: BlockingWebSocket, block: bytes, seconds: float, reads: bool) -> None:
    session.socket.settimeout(seconds)
    for _ in for_seconds(seconds):
        if reads:
            if not session.send(block, timeout_s=seconds):
                return
        else:
            try:
                session.socket.sendall(block)
            except OSError:
                return


def test_fragments_without_end(server: MeasuredServer, attack_s: float) -> None:
    once = frame(opcode=CONTINUATION, final=False)
    with bystanders(server) as watch:
        for name, piece in {
            "empty": once,
            "of a byte": frame(b"x", CONTINUATION, final=False),
        }.items():
            block, first = piece * (BLOCK_BYTES // len(piece)), frame(b"x", final=False)
            watch.attack(name, partial(flood_a_session, server, block, attack_s, True, first))


def test_messages_that_never_end(server: MeasuredServer, attack_s: float) -> None:
    """Many sessions of one key, each with most of a large message, which then comes in drops."""

    def attack(size: int) -> None:
        with ExitStack() as open_:
            sessions = [open_.enter_context(server.session()) for _ in range(SLOW_SESSIONS)]
            for session in sessions:
                session.send(frame(bytes(size - 1), claimed_bytes=size), timeout_s=0.5)
            for _ in for_seconds(attack_s):
                for session in sessions:
                    session.send(b"\0", timeout_s=0.1)
                time.sleep(0.05)

    with bystanders(server, MANY_SESSIONS) as watch:
        for size in (1_900_000, 24_000_000):
            watch.attack(f"{size} bytes but one", partial(attack, size))


def test_long_values_whose_echoes_nobody_reads(server: MeasuredServer, attack_s: float) -> None:
    """What a session echoes waits for its client, again and again."""
    long = {"input_audio_transcription": {"model": "m" * 150, "corpus": {"text": "a, " * 10_000}}}
    block = message("session.update", session=long) * 20

    def attack() -> None:
        with ExitStack() as open_:
            sessions = [
                open_.enter_context(server.session(receive_buffer_bytes=2048))
                for _ in range(SLOW_SESSIONS)
            ]
            for _ in for_seconds(attack_s):
                for session in sessions:
                    flood(session, block, 0.02, False)

    with bystanders(server, MANY_SESSIONS) as watch:
        watch.attack("echoes", attack)


@pytest.mark.parametrize("kind", ["text", "audio"])
def test_many_sessions_with_dear_messages(
    server: MeasuredServer, attack_s: float, kind: str
) -> None:
    """One round of all sessions is not all of their messages in one go."""
    audio = append(AUDIO["WebM of void elements"]()[:200_000])
    first, once = {
        "text": (b"", frame(JSON["arrays as type"](200_000))),
        "audio": (message("session.update", session={"input_audio_format": "opus"}), audio),
    }[kind]

    def attack() -> None:
        with ExitStack() as open_:
            sessions = [open_.enter_context(server.session()) for _ in range(SLOW_SESSIONS)]
            for session in sessions:
                session.send(first)
            for _ in for_seconds(attack_s):
                for session in sessions:
                    session.send(once, timeout_s=0.05)

    with bystanders(server, MANY_SESSIONS) as watch:
        watch.attack(kind, attack)


def test_sessions_that_come_and_go(server: MeasuredServer, attack_s: float) -> None:
    def attack() -> None:
        for number in for_seconds(attack_s):
            with server.session() as session:
                if number % 3:
                    session.send(append(LOUD * 5))
                if number % 3 == 1:
                    session.send(message("session.finish"))

    with bystanders(server) as watch:
        watch.attack("sessions", attack)


def test_commits_as_fast_as_they_are_taken(server: MeasuredServer, attack_s: float) -> None:
    """One manual session; each of its turns is answered once all the same."""
    turn = append(LOUD) + message("commit")
    frames = []
    with bystanders(server), server.session() as session:
        session.send(message("session.update", session={"turn_detection": None}))
        for _ in for_seconds(attack_s / 2):
            session.send(turn * 20)
            frames += session.frames(0)
        session.send(message("session.finish"), timeout_s=20)
        frames += session.until(lambda one: b'"session.finished"' in one.payload, 20)
    events = [json.loads(one.payload) for one in frames if one.opcode == TEXT]
    committed = [each["item_id"] for each in events if each["type"] == COMMITTED]
    answered = [each["item_id"] for each in events if each["type"] in (COMPLETED, FAILED)]
    assert answered == committed and committed
    assert events[-1]["type"] == "session.finished"


def test_generated_frames(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:

        @settings(max_examples=round(60 * attack_s), deadline=None, database=None)
        @given(websocket_frames())
        def run(data: bytes) -> None:
            def attack() -> None:
                with server.session() as session:
                    session.send(data, timeout_s=1)
                    session.frames(0.01)

            assert watch.is_cheap(attack)

        run()
