"""The server that is measured, and the processor time and memory that it and its load take."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import click
import psutil

from oyez.bench.clips import Clip
from oyez.bench.options import spoken_clips
from oyez.client import ClientError, Target
from oyez.files.media import MediaError

UNLIMITED = ("--max-sessions", "100000", "--sessions-per-second", "100000", "--max-load", "0")
"""The flags of a server that lets every session of a benchmark in at once."""
READY = re.compile(r"oyez is ready: (ws://[^?\s]+)")
WARNING = re.compile(r"^\S+ (WARNING|ERROR|CRITICAL) |^\w+Error\b")
MAX_WARNINGS = 20
STOP_TIMEOUT_S = 15
PERIOD_S = 0.25


class ServerError(Exception):
    """The server did not start. The message is what it printed."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server to be measured."""

    target: Target
    name: str
    """Its address, or the flags that it was started with."""
    pid: int | None = None
    """The process id of a server that the benchmark started; None for a running one."""
    warnings: Sequence[str] = ()
    """The latest log lines of WARNING and above. The list grows while the server runs."""


@contextmanager
def measured_server(flags: Sequence[str], url: str | None, key: str) -> Iterator[Server]:
    """Yield the server at `url`, or start one with these flags and stop it at the end.

    Raises ServerError.
    """
    if url is not None:
        yield Server(Target(url, key), url)
        return
    # The audio of a benchmark must not appear in the usage that the database keeps.
    own = ["--port", "0", "--database", "off"]
    command = [sys.executable, "-m", "oyez", "serve", *own, *flags]
    warnings: deque[str] = deque(maxlen=MAX_WARNINGS)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        reader = threading.Thread(target=_read_log, args=(process, warnings), daemon=True)
        try:
            target = Target(_wait_until_ready(process), key)
            reader.start()
            yield Server(target, " ".join(flags), process.pid, warnings)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            if reader.is_alive():
                reader.join(STOP_TIMEOUT_S)


def server_flags(engine: str, model: str, threads: int, more: Sequence[str]) -> list[str]:
    """Return flags for `oyez serve`. Those in `more` come last and therefore win."""
    own = ["--engine", engine, "--model", model, "--threads", str(threads)]
    return [*own, *UNLIMITED, *(word for flag in more for word in shlex.split(flag))]


@contextmanager
def measured(
    manifest: Path | None,
    languages: str | None,
    url: str | None,
    key: str,
    serve_flags: Sequence[str],
    engine: str,
    model: str,
    threads: int,
) -> Iterator[tuple[list[Clip], Server]]:
    """Yield the clips and the server that the options of a command name.

    An error that comes from outside of the program becomes a ClickException, without a traceback.
    At the end the warnings of the server are shown.
    """
    flags = server_flags(engine, model, threads, serve_flags)
    try:
        clips = spoken_clips(manifest, languages)
        with measured_server(flags, url, key) as server:
            yield clips, server
    except (ServerError, ClientError, MediaError, OSError, RuntimeError) as error:
        raise click.ClickException(str(error) or type(error).__name__) from error
    click.echo("".join(f"server: {line}" for line in server.warnings), err=True, nl=False)


def _read_log(process: subprocess.Popen[str], warnings: deque[str]) -> None:
    """Read the log to its end: the server would block if the pipe were full."""
    assert process.stderr is not None
    warnings.extend(line for line in process.stderr if WARNING.search(line))


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    printed = []
    for line in process.stderr:
        printed.append(line)
        if ready := READY.search(line):
            return ready[1]
    raise ServerError("the server did not start:\n" + "".join(printed))


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of the operating system at one moment, or how much they grew between two."""

    at_s: float
    """The time of the reading, on the clock of `time.perf_counter`."""
    cpu_s: float
    """The user and system time that the server has used since it began."""
    rss_bytes: int
    own_cpu_s: float
    """The same of this process."""
    own_rss_bytes: int
    machine_cpu_s: float
    """The time that all programs and other guests have used on all cores of the machine."""

    def __sub__(self, earlier: Reading) -> Reading:
        mine, theirs = astuple(self), astuple(earlier)
        return Reading(*(now - before for now, before in zip(mine, theirs, strict=True)))


class Meter:
    """Reads the counters of this process and of a server with the processes that it has started.

    `read` raises RuntimeError if the server is gone.
    """

    def __init__(self, server_pid: int | None) -> None:
        """server_pid: None if there is no server of one's own; its counters are then 0."""
        server = psutil.Process(server_pid) if server_pid else None
        self._server = [server, *server.children(recursive=True)] if server else []
        self._own = psutil.Process()
        self.has_server = bool(self._server)
        self.readings: list[Reading] = []

    def read(self) -> Reading:
        """Read the counters now."""
        try:
            usage = [_usage(process) for process in self._server]
        except psutil.NoSuchProcess as error:
            raise RuntimeError("the process that was measured is gone") from error
        cpu_s, rss_bytes = sum(cpu for cpu, _ in usage), sum(rss for _, rss in usage)
        return Reading(time.perf_counter(), cpu_s, rss_bytes, *_usage(self._own), _machine_cpu_s())

    async def watch(self) -> None:
        """Add a reading to `readings` every PERIOD_S, until the task is cancelled."""
        while True:
            self.readings.append(self.read())
            await asyncio.sleep(PERIOD_S)


def between(readings: list[Reading], from_s: float, to_s: float) -> Reading:
    """Return how much the counters grew in a stretch of time.

    If it holds fewer than two readings, the first and the last of all readings count.
    """
    inside = [reading for reading in readings if from_s <= reading.at_s <= to_s]
    chosen = inside if len(inside) > 1 else readings
    return chosen[-1] - chosen[0]


def _usage(process: psutil.Process) -> tuple[float, int]:
    with process.oneshot():
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()._asdict()
    # The time of guests is part of the user time already.
    idle = {"idle", "iowait", "guest", "guest_nice"}
    return float(sum(seconds for name, seconds in times.items() if name not in idle))
