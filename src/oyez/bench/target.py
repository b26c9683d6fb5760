"""The server that is measured: one that is running, or one that is started on a free port."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

MODEL = "qwen3-asr-flash-realtime"
UNLIMITED = ("--max-sessions", "100000", "--sessions-per-second", "100000", "--max-load", "0")
"""The flags of a server that lets every session of a benchmark in at once."""
READY = re.compile(r"oyez is ready: (ws://[^?\s]+)")
WARNING = re.compile(r"^\S+ (WARNING|ERROR|CRITICAL) |^\w+Error\b")
MAX_WARNINGS = 20
STOP_TIMEOUT_S = 15


class ServerError(Exception):
    """The server did not start. The message is what it printed."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be measured."""

    url: str
    """What clients connect to, with the model that they ask for."""
    pid: int | None = None
    """The process id of a server that the benchmark started; None for a running one."""
    warnings: Sequence[str] = ()
    """The latest log lines of WARNING and above. The list grows while the server runs."""


@contextmanager
def measured_server(url: str | None, flags: Sequence[str]) -> Iterator[Target]:
    """Yield the server at `url`, or start one with these flags. Raises ServerError."""
    if url is not None:
        yield Target(url)
        return
    with running_server(flags) as own:
        yield own


@contextmanager
def running_server(flags: Sequence[str]) -> Iterator[Target]:
    """Start `oyez serve` with these flags, yield it when it is ready, and stop it at the end.

    Raises ServerError.
    """
    # The audio of a benchmark must not appear in the usage that the database keeps.
    own = ["--port", "0", "--database", "off"]
    command = [sys.executable, "-m", "oyez", "serve", *own, *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        url = _wait_until_ready(process)
        warnings: deque[str] = deque(maxlen=MAX_WARNINGS)
        threading.Thread(target=_read_log, args=(process, warnings), daemon=True).start()
        yield Target(f"{url}?model={MODEL}", process.pid, warnings)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def serve_flags(engine: str, model: str, threads: int, more: Sequence[str]) -> list[str]:
    """Return flags for `oyez serve`. Those in `more` come last and therefore win."""
    own = ["--engine", engine, "--model", model, "--threads", str(threads)]
    return [*own, *UNLIMITED, *(word for flag in more for word in shlex.split(flag))]


def _read_log(process: subprocess.Popen[str], warnings: deque[str]) -> None:
    """Read the log to its end: the server would block if the pipe were full."""
    assert process.stderr is not None
    for line in process.stderr:
        if WARNING.search(line):
            warnings.append(line)


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    printed = []
    for line in process.stderr:
        printed.append(line)
        if ready := READY.search(line):
            return ready[1]
    raise ServerError("the server did not start:\n" + "".join(printed))
