"""Text messages that are long, deep or strange."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings

from support.adversary import MeasuredServer, bystanders, for_seconds
from support.blocking_websocket import TEXT, Frame, frame, message
from support.hostile_inputs import JSON, json_messages, nested, update

MESSAGES_AT_ONCE = 20


@pytest.mark.parametrize(
    "size", [200_000, 1_800_000, 24_000_000], ids=["common", "large", "too large"]
)
def test_messages_of_any_size(server: MeasuredServer, attack_s: float, size: int) -> None:
    with bystanders(server) as watch:
        for name, make in JSON.items():
            text = frame(make(size))
            watch.attack(name, partial(send_again_and_again, server, text, attack_s / 10))


def send_again_and_again(server: MeasuredServer, text: bytes, seconds: float) -> None:
    with server.session() as session:
        for _ in for_seconds(seconds):
            if not session.send(text):
                break
        session.send(message("session.finish"))  # not every message is answered
        session.until(is_answer)


def is_answer(one: Frame) -> bool:
    return one.opcode != TEXT or b"error" in one.payload or b"session.finished" in one.payload


def test_depth_is_no_fault_of_the_server(server: MeasuredServer) -> None:
    """Around the depth at which the interpreter's recursion ends, and far beyond."""
    depths = [*range(980, 1_005), 1_500, 2_000, 5_000]
    with bystanders(server), server.session() as session:
        for depth in depths:
            for value in (nested(depth), nested(depth, '{"a":', "}")):
                bad = [
                    b'{"type":' + value + b"}",
                    update(value),
                    update(b'{"turn_detection":{"threshold":' + value + b"}}"),
                    b'{"type":"input_audio_buffer.append","audio":' + value + b"}",
                ]
                for text in bad:
                    session.send(frame(text))
                    error = session.until_event("error")[-1]["error"]
                    assert error["type"] == "invalid_request_error", (depth, error)


def test_settings_again_and_again(server: MeasuredServer, attack_s: float) -> None:
    """Messages that are in order, each of which is answered, from a client that reads."""
    common = frame(update(b'{"language":"en"}')) * MESSAGES_AT_ONCE
    with bystanders(server) as watch:
        watch.attack("updates", partial(send_again_and_again, server, common, attack_s))


def test_generated_messages(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:

        @settings(max_examples=round(60 * attack_s), deadline=None, database=None)
        @given(json_messages())
        def run(text: bytes) -> None:
            def attack() -> None:
                with server.session() as session:
                    session.send(frame(text), frame(b'{"type":"nothing"}'))
                    session.until(is_answer)

            assert watch.is_cheap(attack)

        run()
