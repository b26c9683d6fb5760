"""Runs the engine in a process of its own.

If native code crashes, or the kernel runs out of memory, only this process ends and not the server.
It is started again, and only the calls that were running are lost.
"""

from __future__ import annotations

import logging
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from oyez.engines.base import Hypothesis, Info, LoadError, RecognitionError, Request
from oyez.runtime.calibration import Trial
from oyez.runtime.engine import EngineChoice, Progress
from oyez.runtime.engine_wire import (
    LANE_BYTES,
    LANE_SAMPLES,
    Answer,
    Answers,
    Channel,
    Failed,
    Load,
    LogLine,
    Ready,
    WireError,
    put_samples,
)
from oyez.runtime.engine_wire import Progress as ProgressLine
from oyez.runtime.job import EngineLost, EngineUnavailable
from oyez.settings import child_environment

PROGRAM = "oyez.runtime.engine_child"
RESTART_AFTER_S = (0.0, 0.1, 1.0, 2.0, 4.0, 8.0)
"""How long to wait before the engine is started again: after it ran at least STABLE_S, and after
each further time in a row that it ended earlier."""
STABLE_S = 60.0
"""An engine that ran this long counts as stable."""
MAX_FAILED_STARTS = 5
"""After this many failed starts in a row the engine is lost."""
STOP_LOADING_S = 5.0
"""How long a process that is loading may take to end."""

log = logging.getLogger(__name__)


class EngineProcess:
    """A `Recogniser` that is also `watched_engine.Restartable`. Thread-safe.

    One thread, which lives as long as this object, starts all processes. The reason is that the
    processes ask Linux to end them with their parent, and Linux does so already when the thread
    that started them ends.
    """

    info: Info

    def __init__(self, choice: EngineChoice, progress: Progress) -> None:
        """Start the process and wait until the engine is loaded. If any exception interrupts the
        wait, for example SystemExit from a signal, the process is ended.

        Raises:
            LoadError: the engine cannot be loaded.
        """
        self._choice = choice
        self._progress = progress
        self._lanes = choice.usable_threads
        self._memory_fd = _shared_memory(LANE_BYTES * self._lanes)
        self._memory = memoryview(mmap.mmap(self._memory_fd, LANE_BYTES * self._lanes))
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = threading.Event()
        self._decided = threading.Event()
        """Set when the first start has succeeded or failed."""
        self._failure = ""
        self._trial: Trial | None = None
        self.is_up = False
        self.is_lost = False
        self._supervisor = threading.Thread(
            target=self._supervise, name="engine-supervisor", daemon=True
        )
        self._supervisor.start()
        try:
            self._decided.wait()
            if self._trial is None:
                raise LoadError(self._failure)
        except BaseException:
            self.close()
            raise

    @property
    def trial(self) -> Trial:
        """The result of the trial at the first start."""
        assert self._trial
        return self._trial

    @property
    def pid(self) -> int | None:
        """The id of the current process, if there is one."""
        child = self._child
        return child.pid if child else None

    def warm_up(self) -> None:
        """Do nothing: the process warms the engine up before it accepts calls."""

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order; see `Recogniser.recognise`.

        Raises:
            EngineLost: the process ended during the call.
            EngineUnavailable: the process is not up.
        """
        answers: dict[int, Hypothesis | RecognitionError] = {}
        for indices in _lane_groups(requests):
            part = [requests[index] for index in indices]
            answers.update(zip(indices, self._call(part), strict=True))
        too_long = RecognitionError(f"audio is longer than {self.info.max_samples} samples")
        return [answers.get(index, too_long) for index in range(len(requests))]

    def restart(self) -> None:
        """End the process. It is then started again."""
        child = self._child
        if child:
            child.is_unwanted = True
            self._retire(child)

    def close(self) -> None:
        """End the process for good. If it is loading, it removes its temporary files first."""
        self._closed.set()
        with self._lock:
            child, is_loading = self._child, not self.is_up
            if child and is_loading:
                child.terminate()
            elif child:
                child.kill()
        self._supervisor.join(STOP_LOADING_S)
        if child:
            child.kill()

    def _call(self, requests: list[Request]) -> list[Hypothesis | RecognitionError]:
        child = self._child
        if child is None or not self.is_up:
            raise EngineUnavailable("the engine is being started again")
        try:
            answers = child.call(requests)
        except EngineLost:
            self._retire(child)
            raise
        return [_outcome(answer) for answer in answers]

    def _retire(self, child: _Child) -> None:
        """Kill the process if it has not ended, and prevent further calls of it."""
        with self._lock:
            child.kill()
            if self._child is child:
                self.is_up = False

    def _supervise(self) -> None:
        """Start the process again and again, until `close` or too many failed starts."""
        failed_starts = quick_ends = 0
        while not self._closed.wait(RESTART_AFTER_S[min(quick_ends, len(RESTART_AFTER_S) - 1)]):
            began_s = time.monotonic()
            was_up = self._run_child()
            if self._closed.is_set() or not self._decided.is_set():
                break
            quick_ends = quick_ends + 1 if time.monotonic() - began_s < STABLE_S else 0
            failed_starts = 0 if was_up else failed_starts + 1
            if failed_starts == MAX_FAILED_STARTS:
                log.critical("the engine cannot be started again: %s", self._failure)
                self.is_lost = True
                break
        self._decided.set()

    def _run_child(self) -> bool:
        """Start a process and wait for its end. Returns whether it was up."""
        try:
            child = _Child(self._lanes, self._memory_fd, self._memory)
        except OSError as error:
            self._failure = f"its process cannot be started: {error}"
            return False
        with self._lock:
            self._child = child
            if self._closed.is_set():
                child.terminate()
        was_up = False
        self._failure = ""
        try:
            level = logging.getLogger("oyez").getEffectiveLevel()
            child.control.send(Load(self._choice, self._trial, level))
            while True:
                match child.control.receive():
                    case Ready(info, trial):
                        self._come_up(child, info, trial)
                        was_up = True
                    case ProgressLine(line):
                        self._progress(line)
                    case LogLine() as line:
                        _log_line(line)
                    case Failed(message):
                        self._failure = message
        except WireError:
            pass
        with self._lock:
            self.is_up = False
            self._child = None
        ended = child.end()
        self._failure = self._failure or f"the process of engine {self._choice.engine} {ended}"
        if not self._closed.is_set() and self._decided.is_set():
            log.error("the engine ended", extra={"fields": {"why": self._failure}})
        return was_up

    def _come_up(self, child: _Child, info: Info, trial: Trial) -> None:
        self.info = replace(
            info,
            parallel=min(info.parallel, self._lanes),
            max_samples=min(info.max_samples, LANE_SAMPLES),
        )
        self._trial = trial
        child.open_lanes(self.info.parallel)
        self.is_up = True
        # the first start reports its progress to the operator, later ones write it into the log
        self._progress = lambda line: log.info("the engine starts again: %s", line)
        if self._decided.is_set():
            log.warning("the engine is up again")
        self._decided.set()


class _Child:
    """One process, with the server's ends of its sockets."""

    def __init__(self, lanes: int, memory_fd: int, memory: memoryview) -> None:
        """Start the process. Raises OSError."""
        pairs = [socket.socketpair() for _ in range(lanes + 1)]
        theirs = [pair[1].fileno() for pair in pairs]
        numbers = [str(number) for number in (theirs[0], memory_fd, *theirs[1:])]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", PROGRAM, *numbers],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,
                env=child_environment(),
                pass_fds=(memory_fd, *theirs),
                start_new_session=True,
            )
        except OSError:
            for mine, _ in pairs:
                mine.close()
            raise
        finally:
            for _, end in pairs:
                end.close()
        self.control = Channel(pairs[0][0])
        self._channels = [Channel(mine) for mine, _ in pairs[1:]]
        self._memory = memory
        self.is_unwanted = False
        """Whether the server ended the process because a call did not return."""
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        """Lanes without a call."""

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def open_lanes(self, number: int) -> None:
        """Make the first `number` lanes available: as many as the engine runs calls at the same
        time."""
        for lane in range(number):
            self._free.put(lane)

    def call(self, requests: list[Request]) -> list[Answer]:
        """Wait for a free lane and make a call on it. Raises EngineLost."""
        number = self._free.get()
        try:
            lane = self._channels[number]
            memory = self._memory[LANE_BYTES * number : LANE_BYTES * (number + 1)]
            lane.send(put_samples(memory, requests))
            reply = lane.receive()
        except WireError as error:
            raise EngineLost("the engine ended during the call") from error
        finally:
            self._free.put(number)
        if isinstance(reply, Answers) and len(reply.answers) == len(requests):
            return reply.answers
        raise EngineLost("the engine's process answered something else")

    def terminate(self) -> None:
        """Ask the process to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def end(self) -> str:
        """Wait until the process has ended, and kill it if that takes too long. Returns how it
        ended, for people."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_LOADING_S)
        self.kill()
        code = self._process.wait()
        self.control.close()
        for channel in self._channels:
            channel.close()
        if self.is_unwanted:
            return "was ended because a call did not return"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = " (the system does that when memory runs out)" if -code == signal.SIGKILL else ""
        return f"was ended by {name}{hint}"


def _shared_memory(size_bytes: int) -> int:
    """Return a descriptor of anonymous shared memory. Pages that are never used are not
    allocated."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("oyez-engine")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size_bytes)
    return descriptor


def _lane_groups(requests: Sequence[Request]) -> Iterator[list[int]]:
    """Yield groups of indices of requests that fit into a lane together. Requests that are longer
    than a lane are left out."""
    part: list[int] = []
    room = LANE_SAMPLES
    for index, request in enumerate(requests):
        samples = len(request.samples)
        if samples > LANE_SAMPLES:
            continue
        if samples > room:
            yield part
            part, room = [], LANE_SAMPLES
        part.append(index)
        room -= samples
    if part:
        yield part


def _outcome(answer: Answer) -> Hypothesis | RecognitionError:
    return answer.hypothesis or RecognitionError(answer.failure)


def _log_line(line: LogLine) -> None:
    record = logging.LogRecord(line.logger, line.level, "", 0, line.message, None, None)
    record.fields = line.fields
    record.rate_limit = line.rate_limit
    record.exc_text = line.traceback
    logging.getLogger(line.logger).handle(record)
