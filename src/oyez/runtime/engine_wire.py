"""The messages between a server and the process of its engine, and how they are sent.

A message is its length followed by one of the types below as MessagePack, over a socket. Samples
are in memory that both processes share. There is one socket, called a lane, for each call that may
run at the same time, so that the thread that makes a call also receives its answer.
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
"""Most audio of one call. Memory of a lane that is never used is not allocated."""
LANE_BYTES = 4 * LANE_SAMPLES
MAX_MESSAGE_BYTES = 64 << 20
_LENGTH_BYTES = 4
_NONE = np.zeros(0, np.float32)


class Load(msgspec.Struct, tag=True, frozen=True):
    """Sent to the engine once, as the first message."""

    choice: EngineChoice
    trial: Trial | None
    """The result of the trial of the previous process, which is then not repeated."""
    log_level: int


class Progress(msgspec.Struct, tag=True, frozen=True):
    """A line for the operator while the engine loads."""

    line: str


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The engine is loaded and warm, and accepts calls."""

    info: Info
    trial: Trial


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The engine cannot be loaded. The process ends."""

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
    """Sent to a lane: a call of `Recogniser.recognise`. The samples of all requests are in the
    lane's memory, one after the other; those in `requests` are empty."""

    lengths: list[int]
    requests: list[Request]


class Answer(msgspec.Struct, frozen=True):
    """The answer to one request: a hypothesis, or else the reason why there is none."""

    hypothesis: Hypothesis | None = None
    failure: str = ""


class Answers(msgspec.Struct, tag=True, frozen=True):
    """The answers of a call, in order."""

    answers: list[Answer]


Message = Load | Progress | Ready | Failed | LogLine | Call | Answers


class WireError(Exception):
    """The other process has ended, or has sent an invalid message."""


class Channel:
    """One end of a socket. Messages arrive complete or not at all. Any thread may send; only one
    may receive."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            WireError: the other process has ended.
            ValueError: the message cannot be encoded. Nothing was sent.
        """
        body = _encoder.encode(message)
        try:
            with self._sending:
                self._socket.sendall(len(body).to_bytes(_LENGTH_BYTES, "little") + body)
        except OSError as error:
            raise WireError(str(error)) from error

    def receive(self) -> Message:
        """Wait for the next message and return it. Raises WireError."""
        try:
            length = int.from_bytes(self._read(_LENGTH_BYTES), "little")
            if length > MAX_MESSAGE_BYTES:
                raise ValueError(f"{length} bytes in one")
            message: Message = _decoder.decode(self._read(length))
        except (EOFError, OSError, msgspec.MsgspecError, ValueError) as error:
            raise WireError(f"no message: {error}") from error
        return message

    def close(self) -> None:
        """Close the socket."""
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
    """Copy the samples of all requests into a lane's memory, where they must fit, and return the
    call."""
    lane = np.frombuffer(memory, np.float32)
    at = 0
    for request in requests:
        lane[at : at + len(request.samples)] = request.samples
        at += len(request.samples)
    lengths = [len(request.samples) for request in requests]
    return Call(lengths, [replace(request, samples=_NONE) for request in requests])


def take_samples(memory: memoryview, call: Call) -> list[Request]:
    """Return the requests of a call. Their samples are views of the lane's memory, which the next
    call overwrites. Raises ValueError if the lengths are invalid."""
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
    raise NotImplementedError(f"{type(value)} cannot be encoded")


def _decode_other(wanted: type, value: Any) -> Samples:
    shape, data = value
    return np.frombuffer(data, np.float32).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_decoder = msgspec.msgpack.Decoder(Message, dec_hook=_decode_other)
