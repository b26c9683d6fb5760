"""One WebSocket: the peer of a session, with every queue bounded.

The socket hands over messages as they come. They wait, as they came, until the session has a slice
of the event loop's time; only then they are decoded, so that decoding counts for that session. The
outbox is a task that sends; `_tick` watches the time. All runs on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from oyez.audio.pcm import SAMPLE_RATE
from oyez.logs import SessionLog
from oyez.metrics import Metrics
from oyez.protocol.client_events import ClientEvent
from oyez.protocol.effects import Close, Count, Effect, Send
from oyez.protocol.server_events import SessionFinished
from oyez.protocol.session import Session
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.session_jobs import SessionJobs
from oyez.runtime.session_runner import Peer, SessionRunner
from oyez.runtime.vad_batcher import VadBatcher
from oyez.server.access.access import Termination
from oyez.server.access.callers import Caller
from oyez.server.session.buffers import ByteAccount, Outbox
from oyez.server.session.session_metrics import Figures, SessionMetrics
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.server.session.websocket import WebSocket
from oyez.settings import Settings

MESSAGE_OVERHEAD_BYTES = 200
"""Counted for each message besides its length, so that many small ones are bounded too."""
TICK_S = 0.5
DURABLE_S = 1.0
"""How long `session.finished` waits for the session's usage to be in the database."""
STUCK_S = 5.0
"""A session whose message cannot be completed, because it is over the budget, is closed then."""
GOODBYE_S = 1.0
"""At shutdown: how long a client may take to close by itself after its session has finished."""

log = logging.getLogger(__name__)


class Closure(NamedTuple):
    """How a socket is closed."""

    code: int
    reason: str


FINISHED = Closure(1000, "session finished")
LEAVING = Closure(1001, "The server is shutting down.")
TOO_MUCH = Closure(1009, "The message cannot be completed: too much waits on the server.")
FAULT = Closure(1011, "Internal service error.")


class State(Enum):
    """Where a connection is in its life."""

    SERVING = auto()
    """Events go both ways."""
    DRAINING = auto()
    """The server leaves: the session finishes, and the client may close for `GOODBYE_S`."""
    ENDING = auto()
    """The caller may not go on: the session finishes, and the socket closes then or in a while."""
    CLOSING = auto()
    """A Close frame is the last in the outbox, or the socket was dropped. Nothing is sent after."""
    CLOSED = auto()
    """The socket is gone."""


TRANSITIONS = {
    State.SERVING: {State.DRAINING, State.ENDING, State.CLOSING, State.CLOSED},
    State.DRAINING: {State.ENDING, State.CLOSING, State.CLOSED},
    State.ENDING: {State.CLOSING, State.CLOSED},
    State.CLOSING: {State.CLOSED},
    State.CLOSED: set[State](),
}


class Connection(Peer):
    """From the accepted upgrade to the end of the socket. Create it on the event loop."""

    def __init__(
        self,
        socket: WebSocket,
        session: Session,
        *,
        scheduler: Scheduler,
        vad_batcher: VadBatcher,
        metrics: Metrics,
        watch: SessionMetrics,
        settings: Settings,
        memory: ByteAccount,
        client: str | None,
        caller: Caller,
        usage: UsageRecorder,
        check_session: Callable[[], Termination | None],
    ) -> None:
        """memory: the account of what waits here. client: its address, for the log. usage: records
        the figures of `watch`. check_session: returns why the caller may not go on."""
        self._client = client
        self._caller = caller
        self._socket = socket
        self._memory = memory
        self._session = session
        self._metrics = metrics
        self._settings = settings
        self._log = SessionLog(log, session.id)
        self._loop = asyncio.get_running_loop()
        self._watch = watch
        self._usage = usage
        self._check_session = check_session
        self._inbox: deque[tuple[bytes, float]] = deque()
        """Messages that the session has not taken in, and when each came, on time.monotonic."""
        self._inbox_bytes = 0
        self._arrived_s = 0.0
        """When the message came that the session took in last."""
        self._jobs = SessionJobs(scheduler, session.id, tenant=caller.key_id)
        self._runner = SessionRunner(
            session,
            self,
            self._jobs,
            vad_batcher,
            max_backlog_s=settings.max_backlog_s,
            tally=metrics.tally,
        )
        self._outbox = Outbox(
            socket, settings.send_buffer_bytes, self._runner.wake, metrics.send.observe
        )
        self._state = State.SERVING
        self._closure = FINISHED
        """How the socket will be closed once the session has finished, or how it was closed."""
        self._deadline: asyncio.TimerHandle | None = None
        """Closes the socket however far the session is then."""
        self._sender: asyncio.Task[None] | None = None
        self._blocked_since_s: float | None = None
        """Since when nothing may be read because other sessions hold too much."""

    async def run(self) -> None:
        """Serve the client until the socket is gone. Leaves no task and no job behind."""
        self._log.debug("session began")
        self._runner.open()
        sender = self._sender = asyncio.create_task(self._send())
        self._socket.listen(self._put, self._regulate)
        self._tick_later()
        client_left = asyncio.create_task(self._socket.ended.wait())
        try:
            await asyncio.wait([sender, client_left], return_when=asyncio.FIRST_COMPLETED)
            if self._state is State.CLOSING and self._socket.is_connected:
                await asyncio.wait([sender])  # the closing handshake; `_tick` limits it
        finally:
            closed_by_client = self._state is not State.CLOSING
            self._enter(State.CLOSED)
            self._next_tick.cancel()
            for task in (sender, client_left):
                task.cancel()
            await asyncio.gather(sender, client_left, return_exceptions=True)
            if closed_by_client:
                self._closure = Closure(self._socket.close_code, "the client left")
            self._report()
            self._release()
        await self._socket.finish()

    def _release(self) -> None:
        """Drop everything, so that memory is free at once: these objects refer to each other, and
        the garbage collector may come late."""
        self._runner.release()
        self._inbox.clear()
        self._inbox_bytes = 0
        self._outbox.release()
        self._socket.release()
        self._memory.hold(0, 0)
        self._sender = None

    def _enter(self, state: State) -> bool:
        """Go to another state if the table of transitions allows it, and return whether it does."""
        if state not in TRANSITIONS[self._state]:
            return False
        self._state = state
        if state in (State.CLOSING, State.CLOSED):
            self._runner.stop()
            self._set_deadline(None)
        return True

    def _set_deadline(self, after_s: float | None) -> None:
        """Close in so many seconds, as `_closure` says; None: not by time."""
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None
        if after_s is not None:
            self._deadline = self._loop.call_later(after_s, self.close, *self._closure)

    @property
    def figures(self) -> Figures:
        """What the session did so far."""
        return self._watch.figures

    @property
    def backlog_s(self) -> float:
        """Audio that waits for its final."""
        return self._session.backlog_samples / SAMPLE_RATE

    def drain(self) -> None:
        """Finish the session because the server leaves, and close 1001 soon after."""
        if self._enter(State.DRAINING):
            self._closure = LEAVING
        self._runner.drain()
        if self._state is State.DRAINING and self._session.finished and not self._deadline:
            self._set_deadline(GOODBYE_S)

    def end(self, termination: Termination) -> None:
        """End the session because its caller may not go on: send the error, answer what was taken
        in, close 1008. A second call has no effect."""
        if not self._enter(State.ENDING):
            return
        self._closure = Closure(1008, termination.reason)
        self._set_deadline(termination.grace_s)
        self._runner.end(termination.error)

    def close(self, code: int, reason: str) -> None:
        """Close after everything sent so far; nothing is sent after it."""
        if self._enter(State.CLOSING):
            self._closure = Closure(code, reason)
            self._outbox.close(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Drop the socket at once: the client would take no part in closing it."""
        self._log.warning(reason)
        self._enter(State.CLOSING)
        self._closure = Closure(code, reason)
        if self._sender:
            self._sender.cancel()  # it may wait for a client that reads nothing any more
        self._socket.abort()

    # the session's side: see `Peer`

    def clock_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def may_feed(self) -> bool:
        has_memory = self._memory.may_feed or not self._jobs.count
        return has_memory and self._outbox.has_room

    def has_events(self) -> bool:
        return bool(self._inbox)

    def next_event(self) -> ClientEvent | None:
        if not self._inbox:
            return None
        message, self._arrived_s = self._inbox.popleft()
        self._inbox_bytes -= len(message) + MESSAGE_OVERHEAD_BYTES
        return self._session.dialect.decode(message)

    def on_audio(self, samples: int) -> None:
        self._usage.add_audio(samples / SAMPLE_RATE)
        self._watch.add_audio(samples, self._arrived_s)
        if termination := self._check_session():
            self._loop.call_soon(self.end, termination)

    def on_answer(self, job: int) -> None:
        self._watch.answered(job)

    def take(self, effect: Effect) -> None:
        self._watch.observe(effect)
        match effect:
            case Send(SessionFinished()):
                self._finish(effect)
            case Close(code, reason):
                self.close(code, reason)
            case _:
                self._write(effect)

    def _write(self, effect: Effect) -> None:
        for text in self._session.dialect.encode(effect):
            self._outbox.text(text)

    def _finish(self, effect: Effect) -> None:
        """Send `session.finished` only when the session's usage is in the database: a client that
        has seen it can rely on the usage, whatever becomes of the server then. Close now, soon, or
        when the client or the session does."""
        written = self._usage.end(*self._closure)
        if written and not written.done():
            late = self._metrics.occurrences.labels("usage_recorded_late").inc
            self._outbox.hold(asyncio.wrap_future(written), DURABLE_S, late)
        self._write(effect)
        if self._state is State.ENDING:
            self.close(*self._closure)
        elif self._state is State.DRAINING:
            self._set_deadline(GOODBYE_S)

    def fail(self, error: Exception) -> None:
        """End this session, and no other, because of a bug."""
        self._log.error("internal error", exc_info=error)
        self.take(Count("internal_errors"))
        if self._state not in (State.CLOSING, State.CLOSED):
            self.take(self._session.fault())
            self.close(*FAULT)

    # the socket's side

    def _put(self, message: bytes) -> None:
        """Take the client's next message."""
        self._inbox.append((message, time.monotonic()))
        self._inbox_bytes += len(message) + MESSAGE_OVERHEAD_BYTES
        self._runner.wake()

    def _regulate(self) -> None:
        """Count what is held, and read on only while that is little enough."""
        waiting_bytes = self._socket.held_bytes + self._session.encoded_bytes
        waiting_bytes += self._inbox_bytes + self._outbox.waiting_bytes
        audio_bytes = self._session.audio_bytes + self._jobs.audio_bytes
        self._memory.hold(waiting_bytes, audio_bytes)
        self._socket.read_on(self._state is State.CLOSING or self._memory.may_read)

    async def _send(self) -> None:
        try:
            await self._outbox.run()
        except Exception as error:  # noqa: BLE001 - a bug may be any
            self.fail(error)

    def _tick(self) -> None:
        self._regulate()
        settings = self._settings
        if self._outbox.stalled_s > settings.slow_reader_timeout_s:
            return self.abort(1008, "the client does not read")
        if loss := self._socket.loss(settings.ping_interval_s, settings.ping_timeout_s):
            return self.abort(1006, loss)
        self._tick_later()
        if self._is_stuck:
            self.close(*TOO_MUCH)
        if termination := self._check_session():
            self.end(termination)
        self._jobs.expire()
        self._runner.tick()

    @property
    def _is_stuck(self) -> bool:
        """Whether the session is over the budget for long, with nothing that could be worked off:
        it holds only parts of a message, which cannot be completed."""
        if self._memory.may_read or self._runner.has_input:
            self._blocked_since_s = None
            return False
        now_s = self._loop.time()
        self._blocked_since_s = self._blocked_since_s or now_s
        return now_s - self._blocked_since_s > STUCK_S

    def _tick_later(self) -> None:
        # all sessions at the same instants: waking up once for each costs more than the ticks
        ticks = int(self._loop.time() / TICK_S) + 1
        self._next_tick = self._loop.call_at(ticks * TICK_S, self._tick)

    def _report(self) -> None:
        code, reason = self._closure
        self._watch.ended(code)
        self._usage.end(code, reason)
        fields = {
            **self.figures.fields(),
            "duration_s": round(self._watch.duration_s, 2),
            "close_code": code,
            "close_reason": reason,
            "client": self._client,
            "key_id": self._caller.key_id,
            "key_name": self._caller.name,
        }
        self._log.info("session ended", extra={"fields": fields})
