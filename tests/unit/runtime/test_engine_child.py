"""The messages between a server and the process of its engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.base import Hypothesis, Piece, Purpose, Request
from oyez.runtime import engine_child
from oyez.runtime.engine_child import Answers, Call, Channel, LogLine, WireError

PIECES = (Piece(" Grüße", (1, 50_000), 8000, 0.25), Piece("，", (7,), 9000, 1.0, 8900))


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Connection[Any, Any]]]:
    one, other = Pipe()
    yield Channel(one), other
    one.close()
    other.close()


def over(message: object) -> object:
    one, other = Pipe()
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
    arrived = over(Call(requests))
    assert isinstance(arrived, Call)
    for request, taken in zip(requests, arrived.requests, strict=True):
        assert np.array_equal(request.samples, taken.samples)
        assert taken.samples.dtype == np.float32
        for name in ("purpose", "language", "context", "prefix", "hint", "language_prior"):
            assert getattr(request, name) == getattr(taken, name), name


def test_answers_arrive_as_they_were_made() -> None:
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    hypothesis = Hypothesis(PIECES, "de", {"de": 0.5}, np.float32(0.125), features)  # type: ignore[arg-type]
    arrived = over(Answers([hypothesis, "no"]))
    assert isinstance(arrived, Answers)
    first, second = arrived.answers
    assert isinstance(first, Hypothesis)
    assert first.pieces == PIECES
    assert first.no_speech == 0.125
    assert first.features is not None
    assert np.array_equal(first.features, features)
    assert second == "no"


def test_a_log_line_arrives() -> None:
    line = LogLine("oyez.x", 30, "WARNING", "words", None, {"a": 1, "b": "c"}, True)
    assert over(line) == line


@pytest.mark.parametrize(
    "data", [b"\x81", b"\xc1\xc1", b"\x80", b"\x81\xa4type\xa6Nobody", b"\0" * 101]
)
def test_nonsense_is_the_end(
    ends: tuple[Channel, Connection[Any, Any]], data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_child, "MAX_MESSAGE_BYTES", 100)
    channel, other = ends
    other.send_bytes(data)
    with pytest.raises(WireError):
        channel.receive()


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\5\x81"])
def test_half_messages_are_the_end(ends: tuple[Channel, Connection[Any, Any]], data: bytes) -> None:
    channel, other = ends
    os.write(other.fileno(), data)
    other.close()
    with pytest.raises(WireError):
        channel.receive()


def test_nothing_is_sent_to_a_process_that_has_ended(
    ends: tuple[Channel, Connection[Any, Any]],
) -> None:
    channel, other = ends
    other.close()
    with pytest.raises(WireError):
        channel.send(Answers([]))


def test_what_cannot_be_encoded_is_not_sent(ends: tuple[Channel, Connection[Any, Any]]) -> None:
    channel, other = ends
    lone_surrogate = Request(np.zeros(0, np.float32), Purpose.FINAL, context="\ud800")
    with pytest.raises(ValueError, match="surrogates"):
        channel.send(Call([lone_surrogate]))
    channel.send(Answers([]))
    assert Channel(other).receive() == Answers([])
