"""What a server and the process of its engine say to each other, and how.

Messages are MessagePack of the types below, each after its length, over a socket; samples lie in
memory that both share. There is one socket for each call that may run at once, a lane, so that
whoever calls waits for the answer itself and nobody in between has to hand it on.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import Hypothesis, Info, Request
from oyez.runtime.calibration import Trial
from oyez.runtime.engine import EngineChoice

LANE_SAMPLES = 120 * SAMPLE_RATE
"""Room for the audio of one call. What is never used takes no memory."""
LANE_BYTES = 4 * LANE_SAMPLES
MOST_MESSAGE_BYTES = 64 << 20
_LENGTH_BYTES = 4
_NONE = np.zeros(0, np.float32)


class Load(msgspec.Struct, tag=True, frozen=True):
    """To the engine, once."""

    choice: EngineChoice
    trial: Trial | None
    """Of the process before, which need not be repeated."""
    log_level: int


class Progress(msgspec.Struct, tag=True, frozen=True):
    """A line for the operator, while the engine loads."""

    line: str


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The engine is loaded and warm: calls may come."""

    info: Info
    trial: Trial


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The engine cannot be had; the process ends."""

    message: str


class LogLine(msgspec.Struct, tag=True, frozen=True):
    """A line of the engine's log."""

    logger: str
    level: int
    message: str
    fields: dict[str, Any]
    traceback: str | None
    rate_limit: bool


class Call(msgspec.Struct, tag=True, frozen=True):
    """To a lane: recognise this. The samples of all requests lie in the lane's memory, one after
    the other; in `requests` there are none."""

    lengths: list[int]
    requests: list[Request]


class Answer(msgspec.Struct, frozen=True):
    """Of one request: one of the two."""

    hypothesis: Hypothesis | None = None
    failure: str = ""


class Answers(msgspec.Struct, tag=True, frozen=True):
    """Of a call, in order."""

    answers: list[Answer]


Message = Load | Progress | Ready | Failed | LogLine | Call | Answers


class WireError(Exception):
    """The other side is gone, or said what it must not."""


class Channel:
    """One end of a socket; messages whole or not at all. Any threads may send, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Raises WireError when the other side is gone, ValueError for what cannot be said: then
        nothing was sent."""
        body = _encoder.encode(message)
        try:
            with self._sending:
                self._socket.sendall(len(body).to_bytes(_LENGTH_BYTES, "little") + body)
        except OSError as error:
            raise WireError(str(error)) from error

    def receive(self) -> Message:
        """The next message; waits for it. Raises WireError."""
        try:
            length = int.from_bytes(self._read(_LENGTH_BYTES), "little")
            if length > MOST_MESSAGE_BYTES:
                raise ValueError(f"{length} bytes in one")
            message: Message = _decoder.decode(self._read(length))
        except (EOFError, OSError, msgspec.MsgspecError, ValueError) as error:
            raise WireError(f"no message: {error}") from error
        return message

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        done = 0
        while done < size:
            taken = self._socket.recv_into(view[done:])
            if not taken:
                raise EOFError("the other side is gone")
            done += taken
        return data


def put_samples(memory: memoryview, requests: list[Request]) -> Call:
    """Lay the requests' samples into a lane's memory; they must fit."""
    lane = np.frombuffer(memory, np.float32)
    at = 0
    for request in requests:
        lane[at : at + len(request.samples)] = request.samples
        at += len(request.samples)
    lengths = [len(request.samples) for request in requests]
    return Call(lengths, [replace(request, samples=_NONE) for request in requests])


def take_samples(memory: memoryview, call: Call) -> list[Request]:
    """The requests of a call; their samples stay in the lane's memory, where the next call's will
    be. Raises ValueError for a call that cannot be."""
    ends = np.cumsum(call.lengths, dtype=np.int64).tolist()
    if len(ends) != len(call.requests) or min(call.lengths, default=0) < 0:
        raise ValueError("a call whose requests are not as many as their lengths")
    if ends and ends[-1] > LANE_SAMPLES:
        raise ValueError("a call with more audio than a lane has room for")
    lane = np.frombuffer(memory, np.float32)
    return [
        replace(request, samples=lane[end - length : end])
        for request, length, end in zip(call.requests, call.lengths, ends, strict=True)
    ]


def _encode_other(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.shape, value.astype(np.float32).tobytes()
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value)} cannot be said")


def _decode_other(wanted: type, value: Any) -> Samples:
    shape, data = value
    return np.frombuffer(data, np.float32).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_decoder = msgspec.msgpack.Decoder(Message, dec_hook=_decode_other)
