"""A server process of the benchmark's own, on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

READY = re.compile(r"oyez is ready: (ws://[^?\s]+)")
STOP_TIMEOUT_S = 15


class ServerError(Exception):
    """The server did not start; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    url: str
    """What clients connect to; the model is still to be asked for."""
    pid: int


@contextmanager
def running_server(flags: Sequence[str]) -> Iterator[ServerProcess]:
    """Start `oyez serve` with these flags, yield it when it is ready, stop it at the end.

    Raises ServerError.
    """
    command = [sys.executable, "-m", "oyez", "serve", "--port", "0", *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        url = _wait_until_ready(process)
        drain = threading.Thread(
            target=process.stderr.read if process.stderr else None, daemon=True
        )
        drain.start()
        yield ServerProcess(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    printed = []
    for line in process.stderr:
        printed.append(line)
        if ready := READY.search(line):
            return ready[1]
    raise ServerError("the server did not start:\n" + "".join(printed))
