"""One WebSocket: feeds the session, carries out its effects, keeps every queue bounded.

The socket hands messages to the feeder as they come; the outbox is a task that sends; `_tick`
watches the time. The session is called on the event loop only, one call at a time, and its effects
are carried out before the next call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oyez.audio.pcm import SAMPLE_RATE
from oyez.logs import SessionLog
from oyez.metrics import Metrics
from oyez.protocol import codec
from oyez.protocol.effects import Cancel, Close, Count, Effect, Recognise, Send
from oyez.protocol.errors import ServerFault
from oyez.protocol.server_events import ErrorEvent, SessionFinished
from oyez.protocol.session import Session
from oyez.runtime.job import MAX_FINALS, Outcome
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.vad_batcher import VadPool
from oyez.server.access.access import Termination
from oyez.server.access.callers import Caller
from oyez.server.session.byte_budget import ByteAccount
from oyez.server.session.feeder import Feeder
from oyez.server.session.figures import Figures
from oyez.server.session.jobs import Jobs
from oyez.server.session.outbox import Outbox
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.server.session.watch import SessionWatch
from oyez.server.session.websocket import WebSocket

TICK_S = 0.5
DURABLE_S = 1.0
"""How long `session.finished` waits for the session's usage to be in the database."""
LEAVING = (1001, "The server is shutting down.")
STUCK_S = 5.0
"""A session whose message cannot be completed, because it is over the budget, is closed then."""
TOO_MUCH = (1009, "The message cannot be completed: too much waits on the server.")
GOODBYE_S = 1.0
"""At shutdown: how long a client may take to close by itself after its session has finished."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    max_backlog_s: float
    """Audio that may wait for recognition before input is no longer read."""
    send_buffer_bytes: int
    """Events that may wait for the client before input is no longer read."""
    slow_reader_timeout_s: float
    ping_interval_s: float
    ping_timeout_s: float


class Connection:
    """From the accepted upgrade to the end of the socket. Create it on the event loop."""

    def __init__(
        self,
        socket: WebSocket,
        session: Session,
        *,
        new_id: Callable[[str], str],
        scheduler: Scheduler,
        vad_pool: VadPool,
        metrics: Metrics,
        watch: SessionWatch,
        limits: ConnectionLimits,
        memory: ByteAccount,
        client: str | None,
        caller: Caller,
        usage: UsageRecorder,
        check_session: Callable[[], Termination | None],
    ) -> None:
        """memory: the account of what waits here. client: its address, for the log. usage: of the
        figures of `watch`. check_session: asked often whether the caller may go on."""
        self._client = client
        self._caller = caller
        self._socket = socket
        self._memory = memory
        self._session = session
        self._new_id = new_id
        self._metrics = metrics
        self._limits = limits
        self._log = SessionLog(log, session.id)
        self._loop = asyncio.get_running_loop()
        self._watch = watch
        self._usage = usage
        self._check_session = check_session
        self._jobs = Jobs(
            scheduler,
            session.id,
            self._answered,
            lambda: watch.ahead_s,
            tenant=caller.key_id,
        )
        self._outbox = Outbox(
            socket, limits.send_buffer_bytes, lambda: self._feeder.wake(), metrics.send.observe
        )
        self._feeder = Feeder(
            session,
            vad_pool,
            call=self._call,
            fail=self._fail,
            held_back=self._held_back,
            heard=self._heard,
            tally=metrics.tally,
        )
        self._finished = asyncio.Event()
        self._ended = asyncio.Event()
        self._closing = False
        self._close_code: int | None = None
        self._close_reason = "the client left"
        self._parting = (1000, "session finished")
        """How the socket will be closed once the session has finished."""
        self._ending: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None
        self._blocked_since_s: float | None = None
        """Since when it may not be read because others hold too much."""
        self._pinged_s = 0.0

    async def run(self) -> None:
        """Serve the client until the socket is gone. Leaves no task and no job behind."""
        self._log.debug("session began")
        self._call(lambda now_ms: self._session.open())
        sender = self._sender = asyncio.create_task(self._send())
        self._socket.listen(self._feeder.put, self._regulate)
        self._tick_later()
        client_left = asyncio.create_task(self._socket.ended.wait())
        try:
            await asyncio.wait([sender, client_left], return_when=asyncio.FIRST_COMPLETED)
            if self._closing and self._socket.is_connected:
                await asyncio.wait([sender])  # the closing handshake; `_tick` limits it
        finally:
            self._closing = True
            self._next_tick.cancel()
            if self._ending:
                self._ending.cancel()
            self._jobs.cancel_all()
            self._finished.set()
            self._ended.set()
            for task in (sender, client_left):
                task.cancel()
            await asyncio.gather(sender, client_left, return_exceptions=True)
            self._report()
            self._release()
        await self._socket.finish()

    def _release(self) -> None:
        """Forget everything, so that memory is free at once: these objects refer to each other, and
        nobody knows when the garbage collector comes."""
        self._feeder.release()
        self._jobs.release()
        self._outbox.release()
        self._socket.release()
        self._memory.hold(0, 0)
        self._sender = None

    @property
    def figures(self) -> Figures:
        """What the session did so far."""
        return self._watch.figures

    @property
    def backlog_s(self) -> float:
        """Audio that waits for its final."""
        return self._session.backlog_samples / SAMPLE_RATE

    async def drain(self) -> None:
        """The server leaves: finish what was said, tell the client, close 1001."""
        if not self._ending:
            self._parting = LEAVING
        self._feeder.drain()
        await self._finished.wait()
        try:
            await asyncio.wait_for(self._ended.wait(), GOODBYE_S)
        except TimeoutError:
            self.close(*LEAVING)
            await self._ended.wait()

    def end(self, termination: Termination) -> None:
        """The session may not go on: say why, answer what was said, close 1008. Nothing happens
        the second time."""
        if self._ending or self._closing:
            return
        self._parting = (1008, termination.reason)
        self._ending = self._loop.call_later(termination.grace_s, self.close, *self._parting)
        self._call(self._session.end, termination.error)
        self._feeder.wake()

    def close(self, code: int, reason: str) -> None:
        """Close after everything sent so far; nothing is said after it."""
        if self._closing:
            return
        self._closing = True
        self._close_code, self._close_reason = code, reason
        self._jobs.cancel_all()
        self._outbox.close(code, reason)
        self._finished.set()

    def abort(self, code: int, reason: str) -> None:
        """Drop the socket at once: the client would take no part in closing it."""
        self._log.warning(reason)
        self._closing = True
        self._close_code, self._close_reason = code, reason
        if self._sender:
            # it may be waiting for a client that takes nothing any more
            self._sender.cancel()
        self._socket.abort()

    def _regulate(self) -> None:
        """Count what is held, and read on only while that is little enough."""
        waiting_bytes = self._socket.held_bytes + self._session.encoded_bytes
        waiting_bytes += self._feeder.waiting_bytes + self._outbox.waiting_bytes
        audio_bytes = self._session.audio_bytes + self._jobs.audio_bytes
        self._memory.hold(waiting_bytes, audio_bytes)
        self._socket.read_on(self._closing or self._memory.may_read)

    async def _send(self) -> None:
        try:
            await self._outbox.run()
        except Exception as error:  # noqa: BLE001 - our bug may be any
            self._fail(error)

    def _held_back(self) -> bool:
        """Back-pressure: recognition is behind, or the client with reading; or all is over."""
        most_samples = self._limits.max_backlog_s * SAMPLE_RATE
        much = self._session.backlog_samples > most_samples or not self._memory.may_feed
        many = self._jobs.finals_waiting >= MAX_FINALS
        behind = many or (much and bool(self._jobs))  # what ends a job feeds the session again
        return self._closing or behind or not self._outbox.has_room

    def _tick(self) -> None:
        self._regulate()
        if self._outbox.stalled_s > self._limits.slow_reader_timeout_s:
            return self.abort(1008, "the client does not read")
        if self._socket.silent_s > self._limits.ping_timeout_s:
            return self.abort(1006, "the client is gone")
        if self._socket.has_left:
            return self.abort(1006, "the client left")
        self._tick_later()
        self._ping_if_due()
        if self._is_stuck:
            self.close(*TOO_MUCH)
        if termination := self._check_session():
            self.end(termination)
        more_waits = self._feeder.has_input
        self._call(lambda now_ms: self._session.tick(now_ms, more_waits))
        self._feeder.wake()

    @property
    def _is_stuck(self) -> bool:
        """Whether it has been over the budget for long with nothing that could be worked off: only
        with parts of a message, which cannot be completed."""
        if self._memory.may_read or self._feeder.has_input:
            self._blocked_since_s = None
            return False
        now_s = self._loop.time()
        self._blocked_since_s = self._blocked_since_s or now_s
        return now_s - self._blocked_since_s > STUCK_S

    def _tick_later(self) -> None:
        # all sessions at the same instants: waking up once for each costs more than the ticks
        ticks = int(self._loop.time() / TICK_S) + 1
        self._next_tick = self._loop.call_at(ticks * TICK_S, self._tick)

    def _ping_if_due(self) -> None:
        interval_s = self._limits.ping_interval_s
        if self._socket.silent_s > interval_s and self._loop.time() - self._pinged_s > interval_s:
            self._pinged_s = self._loop.time()
            self._socket.ping()

    def _answered(self, job: int, outcome: Outcome) -> None:
        began_s = time.perf_counter()
        self._watch.answered(job)
        self._call(self._session.recognised, job, outcome)
        self._metrics.tally.answer_s += time.perf_counter() - began_s
        self._feeder.wake()

    def _call(self, method: Callable[..., list[Effect]], *arguments: Any) -> None:
        """Call the session with these arguments and the time, and do what it asks for."""
        if self._closing:
            return
        try:
            effects = method(*arguments, int(self._loop.time() * 1000))
        except Exception as error:  # noqa: BLE001 - our bug may be any
            self._fail(error)
            return
        for effect in effects:
            self._carry_out(effect)
        if self._session.finished:
            self._finished.set()
            if self._ending:
                self.close(*self._parting)

    def _heard(self, samples: int, arrived_s: float) -> None:
        self._usage.add_audio(samples / SAMPLE_RATE)
        self._watch.heard(samples, arrived_s)
        if termination := self._check_session():
            self._loop.call_soon(self.end, termination)

    def _carry_out(self, effect: Effect) -> None:
        self._watch.see(effect)
        match effect:
            case Send(event):
                if isinstance(event, SessionFinished):
                    self._hold_until_recorded()
                self._outbox.text(codec.encode(event))
            case Recognise():
                self._jobs.submit(effect)
            case Cancel(job):
                self._jobs.cancel(job)
            case Close(code, reason):
                self.close(code, reason)

    def _hold_until_recorded(self) -> None:
        """Who has seen `session.finished` can rely on the usage, whatever becomes of us then."""
        written = self._usage.end(*self._parting)
        if written and not written.done():
            self._outbox.hold(asyncio.wrap_future(written), DURABLE_S, self._recorded_late)

    def _recorded_late(self) -> None:
        self._metrics.occurrences.labels("usage_recorded_late").inc()

    def _fail(self, error: Exception) -> None:
        """Our bug: it ends this session and no other."""
        self._log.error("internal error", exc_info=error)
        self._carry_out(Count("internal_errors"))
        if not self._closing:
            detail = ServerFault().detail()
            self._carry_out(Send(ErrorEvent(event_id=self._new_id("event"), error=detail)))
            self.close(1011, "Internal service error.")

    def _report(self) -> None:
        code = self._close_code or self._socket.close_code
        self._watch.ended(code)
        self._usage.end(code, self._close_reason)
        fields = {
            **self.figures.fields(),
            "duration_s": round(self._watch.duration_s, 2),
            "close_code": code,
            "close_reason": self._close_reason,
            "client": self._client,
            "key_id": self._caller.key_id,
            "key_name": self._caller.name,
        }
        self._log.info("session ended", extra={"fields": fields})
