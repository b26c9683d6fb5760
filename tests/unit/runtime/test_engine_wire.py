from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.base import Hypothesis, Piece, Purpose, Request
from oyez.runtime.engine_wire import (
    LANE_BYTES,
    LANE_SAMPLES,
    Answer,
    Answers,
    Call,
    Channel,
    LogLine,
    WireError,
    put_samples,
    take_samples,
)

PIECES = (Piece(" Grüße", (1, 50_000), 8000, 0.25), Piece("，", (7,), 9000, 1.0, 8900))


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    one, other = socket.socketpair()
    yield Channel(one), other
    one.close()
    other.close()


def over(message: object) -> object:
    one, other = socket.socketpair()
    with one, other:
        Channel(one).send(message)  # type: ignore[arg-type]
        return Channel(other).receive()


@given(lengths=st.lists(st.integers(0, 5000), max_size=5), purpose=st.sampled_from(Purpose))
def test_a_call_arrives_as_it_was_made(lengths: list[int], purpose: Purpose) -> None:
    random = np.random.default_rng(0)
    requests = [
        Request(
            random.random(length).astype(np.float32),
            purpose,
            None if length % 2 else "de",
            "names, terms",
            PIECES[:1],
            PIECES,
            {"en": 0.25, "de": 0.75},
        )
        for length in lengths
    ]
    memory = memoryview(bytearray(LANE_BYTES))
    arrived = over(put_samples(memory, requests))
    assert isinstance(arrived, Call)
    for request, taken in zip(requests, take_samples(memory, arrived), strict=True):
        assert np.array_equal(request.samples, taken.samples)
        assert taken.samples.dtype == np.float32
        for name in ("purpose", "language", "context", "prefix", "hint", "language_prior"):
            assert getattr(request, name) == getattr(taken, name), name


def test_answers_arrive_as_they_were_made() -> None:
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    heard = Hypothesis(PIECES, "de", {"de": 0.5}, np.float32(0.125), features)  # type: ignore[arg-type]
    arrived = over(Answers([Answer(heard), Answer(failure="no")]))
    assert isinstance(arrived, Answers)
    first, second = arrived.answers
    assert first.hypothesis is not None
    assert first.hypothesis.pieces == PIECES
    assert first.hypothesis.no_speech == 0.125
    assert first.hypothesis.features is not None
    assert np.array_equal(first.hypothesis.features, features)
    assert (second.hypothesis, second.failure) == (None, "no")


def test_a_log_line_arrives() -> None:
    line = LogLine("oyez.x", 30, "words", {"a": 1, "b": "c"}, None, True)
    assert over(line) == line


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05",
        b"\x05\0\0\0\x81",
        b"\x02\0\0\0\xc1\xc1",
        b"\x01\0\0\0\x80",
        b"\xff\xff\xff\xff",
        b"\x0d\0\0\0\x81\xa4type\xa6Nobody",
    ],
)
def test_half_messages_and_nonsense_are_the_end(
    ends: tuple[Channel, socket.socket], data: bytes
) -> None:
    channel, other = ends
    other.sendall(data)
    other.close()
    with pytest.raises(WireError):
        channel.receive()


def test_who_is_gone_is_told_nothing(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.close()
    with pytest.raises(WireError):
        channel.send(Answers([]))


def test_what_cannot_be_said_is_not_sent(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    lone_surrogate = Request(np.zeros(0, np.float32), Purpose.FINAL, context="\ud800")
    with pytest.raises(ValueError, match="surrogates"):
        channel.send(Call([0], [lone_surrogate]))
    channel.send(Answers([]))
    assert Channel(other).receive() == Answers([])


@pytest.mark.parametrize(("lengths", "requests"), [([1, 2], 1), ([-1], 1), ([LANE_SAMPLES + 1], 1)])
def test_calls_that_cannot_be_are_refused(lengths: list[int], requests: int) -> None:
    request = Request(np.zeros(0, np.float32), Purpose.FINAL)
    with pytest.raises(ValueError, match="a call"):
        take_samples(memoryview(bytearray(LANE_BYTES)), Call(lengths, [request] * requests))
