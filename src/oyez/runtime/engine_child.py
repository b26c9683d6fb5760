"""The program of an engine's process: it loads the engine, answers calls, and ends with its server.

    python -m oyez.runtime.engine_child CONTROL MEMORY LANE...

The arguments are the numbers of inherited descriptors: a socket for everything except calls, the
memory of all lanes, and a socket for each lane. The process has nothing else of the server, in
particular no keys and no passwords.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import mmap
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

from oyez.engines.base import Hypothesis, LoadError, Recogniser
from oyez.runtime.engine import load_engine, run_batch
from oyez.runtime.engine_wire import (
    LANE_BYTES,
    Answer,
    Answers,
    Call,
    Channel,
    Failed,
    Load,
    LogLine,
    Progress,
    Ready,
    WireError,
    take_samples,
)
from oyez.runtime.job import Outcome

PR_SET_PDEATHSIG = 1
OOM_SCORE = Path("/proc/self/oom_score_adj")
OOM_SCORE_INCREASE = 300
"""Makes the kernel end the engine, which is started again, and not the server with its sessions
when memory runs out."""


def main(control: int, memory: int, *lanes: int) -> None:
    """Serve until the server ends."""
    _prepare_process()
    channel = Channel(socket.socket(fileno=control))
    first = channel.receive()
    assert isinstance(first, Load)
    _forward_log(channel, first.log_level)
    threading.Thread(target=_leave_with_server, args=(channel,), daemon=True).start()
    engine = _load(channel, first)
    if engine is None:
        return
    recogniser, ready = engine
    # A service manager sends SIGTERM to every process of the service. Turns that are being finished
    # still need the engine, which ends with the server.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    shared = memoryview(mmap.mmap(memory, LANE_BYTES * len(lanes)))
    threads = [
        threading.Thread(
            target=_serve_lane,
            args=(
                recogniser,
                Channel(socket.socket(fileno=lane)),
                shared[LANE_BYTES * number : LANE_BYTES * (number + 1)],
            ),
            name=f"recogniser-{number}",
        )
        for number, lane in enumerate(lanes[: ready.info.parallel])
    ]
    for thread in threads:
        thread.start()
    channel.send(ready)
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
    """End this process when the control socket ends, because the server has ended then. The server
    sends no further messages on it."""
    with contextlib.suppress(WireError):
        channel.receive()
    os._exit(0)


def _load(channel: Channel, load: Load) -> tuple[Recogniser, Ready] | None:
    def progress(line: str) -> None:
        channel.send(Progress(line))

    try:
        recogniser, trial = load_engine(load.choice, progress, load.trial)
    except LoadError as error:
        channel.send(Failed(str(error)))
        return None
    return recogniser, Ready(recogniser.info, trial)


def _serve_lane(recogniser: Recogniser, lane: Channel, memory: memoryview) -> None:
    try:
        while True:
            call = lane.receive()
            assert isinstance(call, Call)
            outcomes = run_batch(recogniser, take_samples(memory, call))
            lane.send(Answers([_answer(outcome) for outcome in outcomes]))
    except WireError:
        os._exit(0)  # the server has ended
    except BaseException:
        # the end of the process tells the server's thread that waits on this lane
        logging.getLogger(__name__).exception("a lane of the engine failed")
        os._exit(1)


def _answer(outcome: Outcome) -> Answer:
    if isinstance(outcome, Hypothesis):
        return Answer(outcome)
    return Answer(failure=str(outcome) or type(outcome).__name__)


class _Forwarder(logging.Handler):
    """Sends log lines to the server, which writes them into its own log."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
        fields = {name: _plain(value) for name, value in getattr(record, "fields", {}).items()}
        with contextlib.suppress(WireError, ValueError):
            self._channel.send(
                LogLine(
                    logger=record.name,
                    level=record.levelno,
                    message=record.getMessage(),
                    fields=fields,
                    traceback=trace.rstrip() if trace else None,
                    rate_limit=getattr(record, "rate_limit", False),
                )
            )


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float) else str(value)


def _forward_log(channel: Channel, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forwarder(channel)]
    root.setLevel(logging.WARNING)
    logging.getLogger("oyez").setLevel(level)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
