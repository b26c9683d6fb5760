"""A server process of the benchmark's own, on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

READY = re.compile(r"oyez is ready: (ws://[^?\s]+)")
STOP_TIMEOUT_S = 15


class ServerError(Exception):
    """The server did not start; the message is what it printed."""


@contextmanager
def running_server(flags: Sequence[str]) -> Iterator[str]:
    """Start `oyez serve` with these flags, yield its URL when it is ready, stop it at the end.

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
        yield url
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
