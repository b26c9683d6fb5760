"""A server process of the benchmark's own, on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

READY = re.compile(r"oyez is ready: (ws://[^?\s]+)")
COMPLAINT = re.compile(r"^\S+ (WARNING|ERROR|CRITICAL) |^\w+Error\b")
COMPLAINTS = 20
STOP_TIMEOUT_S = 15


class ServerError(Exception):
    """The server did not start; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    url: str
    """What clients connect to; the model is still to be asked for."""
    pid: int
    complaints: deque[str]
    """Its log lines of WARNING and above, the latest; grows while it runs."""


@contextmanager
def running_server(flags: Sequence[str]) -> Iterator[ServerProcess]:
    """Start `oyez serve` with these flags, yield it when it is ready, stop it at the end.

    Raises ServerError.
    """
    # what a benchmark uses is nobody's usage
    own = ["--port", "0", "--database", "off"]
    command = [sys.executable, "-m", "oyez", "serve", *own, *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        url = _wait_until_ready(process)
        server = ServerProcess(url, process.pid, deque(maxlen=COMPLAINTS))
        threading.Thread(target=_listen, args=(process, server.complaints), daemon=True).start()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _listen(process: subprocess.Popen[str], complaints: deque[str]) -> None:
    """Read on, or the server would block once the pipe is full."""
    assert process.stderr is not None
    for line in process.stderr:
        if COMPLAINT.search(line):
            complaints.append(line)


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    printed = []
    for line in process.stderr:
        printed.append(line)
        if ready := READY.search(line):
            return ready[1]
    raise ServerError("the server did not start:\n" + "".join(printed))
