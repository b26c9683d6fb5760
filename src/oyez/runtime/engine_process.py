"""Runs the engine in a process of its own.

If native code crashes, or the kernel runs out of memory, only this process ends and not the server.
It is started again, and only the calls that were running are lost.
"""

from __future__ import annotations

import logging
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe

import msgspec

from oyez.engines.base import Hypothesis, Info, LoadError, RecognitionError, Request
from oyez.runtime.engine import EngineChoice, Progress, Trial
from oyez.runtime.engine_child import (
    Answers,
    Call,
    Channel,
    Failed,
    Load,
    Loading,
    LogLine,
    Ready,
    WireError,
)
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
    """A `Recogniser` that is also `Restartable`. Thread-safe.

    One thread, which lives as long as this object, starts all processes. The reason is that the
    processes ask Linux to end them with their parent, and Linux does so already when the thread
    that started them ends.
    """

    info: Info
    trial: Trial
    """The result of the trial at the first start."""

    def __init__(self, choice: EngineChoice, progress: Progress) -> None:
        """Start the process and wait until the engine is loaded. If any exception interrupts the
        wait, for example SystemExit from a signal, the process is ended. Raises LoadError."""
        self._choice = choice
        self._progress = progress
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = threading.Event()
        self._decided = threading.Event()
        """Set when the first start has succeeded or failed."""
        self._failure = ""
        self._has_started = False
        self.is_up = False
        self.is_lost = False
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()
        try:
            self._decided.wait()
            if not self._has_started:
                raise LoadError(self._failure)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The id of the current process, if there is one."""
        child = self._child
        return child.process.pid if child else None

    def warm_up(self) -> None:
        """Do nothing: the process warms the engine up before it accepts calls."""

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order. Raises EngineLost if the process ends during the call,
        EngineUnavailable if it is not up, ValueError if there is too much audio for a message."""
        child = self._child
        if child is None or not self.is_up:
            raise EngineUnavailable("the engine is being started again")
        try:
            answers = child.call(list(requests))
        except EngineLost:
            self._retire(child)
            raise
        return [RecognitionError(each) if isinstance(each, str) else each for each in answers]

    def restart(self) -> None:
        """End the process. It is then started again."""
        if child := self._child:
            child.is_unwanted = True
            self._retire(child)

    def close(self) -> None:
        """End the process for good. If it is loading, it removes its temporary files first."""
        self._closed.set()
        with self._lock:
            child = self._child
            if child and self.is_up:
                child.process.kill()
            elif child:
                child.process.terminate()
        self._supervisor.join(STOP_LOADING_S)
        if child:
            child.process.kill()

    def _retire(self, child: _Child) -> None:
        """Kill the process if it has not ended, and prevent further calls of it."""
        with self._lock:
            child.process.kill()
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
            child = _Child(self._choice.usable_threads)
        except OSError as error:
            self._failure = f"its process cannot be started: {error}"
            return False
        with self._lock:
            self._child = child
            if self._closed.is_set():
                child.process.terminate()
        was_up = False
        self._failure = ""
        with suppress(WireError):
            level = logging.getLogger("oyez").getEffectiveLevel()
            trial = self.trial if self._has_started else None
            child.control.send(Load(self._choice, trial, level))
            while True:
                match child.control.receive():
                    case Ready() as ready:
                        self._come_up(child, ready)
                        was_up = True
                    case Loading(line):
                        self._progress(line)
                    case LogLine() as line:
                        record = logging.makeLogRecord(msgspec.structs.asdict(line))
                        logging.getLogger(line.name).handle(record)
                    case Failed(message):
                        self._failure = message
        with self._lock:
            self.is_up = False
            self._child = None
        ended = child.end()
        self._failure = self._failure or f"the process of engine {self._choice.engine} {ended}"
        if not self._closed.is_set() and self._decided.is_set():
            log.error("the engine ended", extra={"fields": {"why": self._failure}})
        return was_up

    def _come_up(self, child: _Child, ready: Ready) -> None:
        self.info, self.trial = ready.info, ready.trial
        for lane in child.lanes[: ready.info.parallel]:
            child.free.put(lane)
        self.is_up = self._has_started = True
        # the first start reports its progress to the operator, later ones write it into the log
        self._progress = lambda line: log.info("the engine starts again: %s", line)
        if self._decided.is_set():
            log.warning("the engine is up again")
        self._decided.set()


class _Child:
    """One process, with the server's ends of its connections. They are closed with the last
    reference to it, so that no thread can read from a descriptor that means something else by
    then."""

    def __init__(self, lanes: int) -> None:
        """Start the process. Raises OSError."""
        pairs = [Pipe() for _ in range(lanes + 1)]
        theirs = [end.fileno() for _, end in pairs]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM, *map(str, theirs)],
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__,
            env=child_environment(),
            pass_fds=theirs,
            start_new_session=True,
        )
        for _, end in pairs:
            end.close()
        self.control, *self.lanes = [Channel(mine) for mine, _ in pairs]
        self.free: queue.SimpleQueue[Channel] = queue.SimpleQueue()
        """Lanes without a call, once the engine is up: as many as it runs calls at a time."""
        self.is_unwanted = False
        """Whether the server ended the process because a call did not return."""

    def call(self, requests: list[Request]) -> list[Hypothesis | str]:
        """Wait for a free lane and make a call on it. Raises EngineLost."""
        lane = self.free.get()
        try:
            lane.send(Call(requests))
            reply = lane.receive()
        except WireError as error:
            raise EngineLost("the engine ended during the call") from error
        finally:
            self.free.put(lane)
        if isinstance(reply, Answers) and len(reply.answers) == len(requests):
            return reply.answers
        raise EngineLost("the engine's process answered something else")

    def end(self) -> str:
        """Wait until the process has ended, and kill it if that takes too long. Returns how it
        ended, for people."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_LOADING_S)
        self.process.kill()
        code = self.process.wait()
        if self.is_unwanted:
            return "was ended because a call did not return"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = " (the system does that when memory runs out)" if -code == signal.SIGKILL else ""
        return f"was ended by {name}{hint}"
