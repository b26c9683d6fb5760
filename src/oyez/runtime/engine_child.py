"""The program of an engine's process: it loads the engine, answers calls, and ends with its server.

    python -m oyez.runtime.engine_child CONTROL LANE...

The arguments are the numbers of inherited descriptors: a connection for everything except calls,
and one, called a lane, for each call that may run at the same time, so that the thread that makes a
call also receives its answer. The process has nothing else of the server, in particular no keys and
no passwords. A message is one of the types below as MessagePack.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from oyez.audio.pcm import Samples
from oyez.engines.base import Hypothesis, Info, LoadError, Recogniser, Request
from oyez.runtime.engine import EngineChoice, Trial, load_engine, reason, run_batch

MAX_MESSAGE_BYTES = 64 << 20
"""More than the longest audio of any engine. A quarter of an hour has 55 MiB."""
PR_SET_PDEATHSIG = 1
OOM_SCORE = Path("/proc/self/oom_score_adj")
OOM_SCORE_INCREASE = 300
"""Makes the kernel end the engine, which is started again, and not the server with its sessions
when memory runs out."""


class Load(msgspec.Struct, tag=True, frozen=True):
    """Sent to the engine once, as the first message."""

    choice: EngineChoice
    trial: Trial | None
    """The result of the trial of the previous process, which is then not repeated."""
    log_level: int


class Loading(msgspec.Struct, tag=True, frozen=True):
    """A line for the operator while the engine loads."""

    line: str


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The engine is loaded and warm, and accepts calls on its first `info.parallel` lanes."""

    info: Info
    trial: Trial


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The engine cannot be loaded. The process ends."""

    message: str


class LogLine(msgspec.Struct, tag=True, frozen=True):
    """A line of the engine's log. The fields are attributes of a `logging.LogRecord`."""

    name: str
    levelno: int
    levelname: str
    msg: str
    exc_text: str | None
    fields: dict[str, Any]
    rate_limit: bool


class Call(msgspec.Struct, tag=True, frozen=True):
    """Sent to a lane: a call of `Recogniser.recognise`."""

    requests: list[Request]


class Answers(msgspec.Struct, tag=True, frozen=True):
    """The answers of a call, in order: a hypothesis, or else the reason why there is none."""

    answers: list[Hypothesis | str]


Message = Load | Loading | Ready | Failed | LogLine | Call | Answers


class WireError(Exception):
    """The other process has ended, or has sent an invalid message."""


class Channel:
    """One end of a connection. Messages arrive complete or not at all. Any thread may send; only
    one may receive."""

    def __init__(self, end: Connection) -> None:
        self._end = end
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message. Raises WireError if the other process has ended, and ValueError if the
        message is too long or cannot be encoded; nothing was sent then."""
        body = _encoder.encode(message)
        if len(body) > MAX_MESSAGE_BYTES:
            raise ValueError(f"{len(body)} bytes are too many for one message")
        try:
            with self._sending:
                self._end.send_bytes(body)
        except OSError as error:
            raise WireError(str(error)) from error

    def receive(self) -> Message:
        """Wait for the next message and return it. Raises WireError."""
        try:
            message: Message = _decoder.decode(self._end.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError, msgspec.MsgspecError, ValueError) as error:
            raise WireError(f"no message: {error}") from error
        return message


def main(control: int, *lanes: int) -> None:
    """Serve until the server ends."""
    _prepare_process()
    channel = Channel(Connection(control))
    first = channel.receive()
    assert isinstance(first, Load)
    logging.getLogger().handlers[:] = [_Forwarder(channel)]
    logging.getLogger("oyez").setLevel(first.log_level)
    threading.Thread(target=_leave_with_server, args=(channel,), daemon=True).start()
    try:
        recogniser, trial = load_engine(
            first.choice, lambda line: channel.send(Loading(line)), first.trial
        )
    except LoadError as error:
        channel.send(Failed(str(error)))
        return
    # A service manager sends SIGTERM to every process of the service. Turns that are being finished
    # still need the engine, which ends with the server.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    info = replace(recogniser.info, parallel=min(recogniser.info.parallel, len(lanes)))
    threads = [
        threading.Thread(
            target=_serve_lane,
            args=(recogniser, Channel(Connection(lane))),
            name=f"recogniser-{number}",
        )
        for number, lane in enumerate(lanes[: info.parallel])
    ]
    for thread in threads:
        thread.start()
    channel.send(Ready(info, trial))
    for thread in threads:
        thread.join()


def _prepare_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # while the engine loads, SIGTERM ends it after its temporary files are removed
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    faulthandler.enable()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError, ValueError):
            OOM_SCORE.write_text(str(min(1000, int(OOM_SCORE.read_text()) + OOM_SCORE_INCREASE)))


def _leave_with_server(channel: Channel) -> None:
    """End this process when the control connection ends, because the server has ended then. The
    server sends no further messages on it."""
    with contextlib.suppress(WireError):
        channel.receive()
    os._exit(0)


def _serve_lane(recogniser: Recogniser, lane: Channel) -> None:
    try:
        while True:
            call = lane.receive()
            assert isinstance(call, Call)
            outcomes = run_batch(recogniser, call.requests)
            lane.send(
                Answers(
                    [each if isinstance(each, Hypothesis) else reason(each) for each in outcomes]
                )
            )
    except WireError:
        os._exit(0)  # the server has ended
    except BaseException:
        # the server's thread that waits on this lane notices the end of the process
        logging.getLogger(__name__).exception("a lane of the engine failed")
        os._exit(1)


class _Forwarder(logging.Handler):
    """Sends log lines to the server, which writes them into its own log."""

    _formatter = logging.Formatter()

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {}).items()
        line = LogLine(
            name=record.name,
            levelno=record.levelno,
            levelname=record.levelname,
            msg=record.getMessage(),
            exc_text=self._formatter.formatException(record.exc_info) if record.exc_info else None,
            fields={key: v if isinstance(v, str | int | float) else str(v) for key, v in fields},
            rate_limit=getattr(record, "rate_limit", False),
        )
        with contextlib.suppress(WireError, ValueError):
            self._channel.send(line)


def _encode_other(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.shape, value.astype(np.float32, copy=False).tobytes()
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value)} cannot be encoded")


def _decode_other(wanted: type, value: Any) -> Samples:
    shape, data = value
    return np.frombuffer(data, np.float32).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_decoder = msgspec.msgpack.Decoder(Message, dec_hook=_decode_other)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
