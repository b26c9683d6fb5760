"""`GET /api-ws/v1/realtime`: admission, the upgrade, and a session on the socket."""

from __future__ import annotations

import asyncio
import math
import secrets
import string
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from aiohttp import web

from oyez.metrics import Metrics
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.session import Session
from oyez.runtime.capacity import Capacity
from oyez.runtime.job import JobMetrics, Urgency
from oyez.runtime.loader import Engines
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.vad_batcher import VadBatcher
from oyez.server.access.access import SUBPROTOCOL, Access, query_parameters
from oyez.server.access.admission import Admission
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import Refusal, refuse
from oyez.server.process.resources import MEBIBYTE, resident_mb
from oyez.server.session.buffers import CLOSE_HANDSHAKE_S, ByteAccount, ByteBudget
from oyez.server.session.connection import LEAVING, Connection
from oyez.server.session.session_metrics import ServerMetrics
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.server.session.websocket import WebSocket
from oyez.settings import Settings

PATH = "/api-ws/v1/realtime"
ID_ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 21
CLOSING_S = 1.0
"""At shutdown: how long clients may take to answer the Close frame."""

NO_UPGRADE = Refusal(
    426,
    "UpgradeRequired",
    f"This is a WebSocket endpoint: connect with ws://HOST:PORT{PATH}?model=MODEL.",
)


_AS_ID = bytes(ord(ID_ALPHABET[byte % len(ID_ALPHABET)]) for byte in range(256))
"""For `bytes.translate`: one call makes an id, because a session makes many."""


def new_id(kind: str) -> str:
    """Return a new `event_…`, `sess_…` or `item_…`."""
    return f"{kind}_" + secrets.token_bytes(ID_LENGTH).translate(_AS_ID).decode()


class Realtime:
    """The endpoint, and every connection open on it."""

    def __init__(
        self, settings: Settings, engines: Engines, metrics: Metrics, access: Access
    ) -> None:
        self._settings = settings
        self._engines = engines
        self._metrics = metrics
        self._access = access
        self.load = Capacity(
            workers=engines.recogniser.info.parallel,
            assumed_cost=engines.session_cost,
            limit=settings.max_load,
            clock=time.monotonic,
        )
        self.buffers = ByteBudget(settings.max_buffered_mb * MEBIBYTE)
        self.scheduler = Scheduler(
            engines.recogniser,
            JobMetrics(metrics),
            self.load,
            max_waiting=settings.max_waiting_jobs,
            call_s=engines.call_s,
            weight=self.load.weight,
        )
        self.vad_batcher = VadBatcher(engines.detector, metrics.tally)
        self.watch = ServerMetrics(metrics, settings.models)
        self.admission = Admission(settings, access.callers, access.quotas, self._load_room)
        self.connections: set[Connection] = set()
        self._emptied = asyncio.Event()
        for urgency in Urgency:
            waiting = metrics.jobs_waiting.labels(urgency.label)
            waiting.set_function(partial(self.scheduler.waiting_with, urgency))
        metrics.sessions_open.set_function(lambda: self.admission.open_sessions)
        metrics.sessions_room.set_function(lambda: self.admission.room)
        metrics.load_busy.set_function(lambda: self.load.busy)
        metrics.load_demand.set_function(lambda: self.load.demand)
        metrics.load_needed.set_function(lambda: self.load.needed)
        metrics.load_limit.set(settings.max_load)
        metrics.backlog.set_function(
            lambda: max((each.backlog_s for each in self.connections), default=0.0)
        )
        if engines.process:
            metrics.watch_engine(lambda: engines.pid)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one upgrade, or refuse it over HTTP with the reason."""
        caller = self._access.authenticate(request)
        if isinstance(caller, Refusal):
            return self._refuse(caller)
        upgrade = web.WebSocketResponse(protocols=(SUBPROTOCOL,)).can_prepare(request)
        if not upgrade.ok:
            # a browser does not learn why an upgrade failed, so it asks again without one
            if refusal := self.admission.check(caller):
                return self._refuse(refusal)
            return refuse(NO_UPGRADE, {"Upgrade": "websocket"})
        if refusal := self.admission.enter(caller):
            return self._refuse(refusal)
        self.load.session_opened(caller.key_id)
        socket = WebSocket(self._settings.ws_max_message_bytes)
        try:
            with suppress(ConnectionError):  # the client left before the upgrade was answered
                await socket.accept(request, upgrade.protocol)
            if socket.is_connected:
                await self._serve(request, socket, caller)
        finally:
            self.admission.leave(caller)
            self.load.session_closed(caller.key_id)
        return socket.response

    async def drain(self, timeout_s: float) -> None:
        """Refuse new sessions; finish every session; close what is left after `timeout_s`."""
        self.admission.draining = True
        for connection in set(self.connections):
            connection.drain()
        await self._all_closed(timeout_s)
        for connection in set(self.connections):
            connection.close(*LEAVING)
        await self._all_closed(CLOSING_S)
        for connection in set(self.connections):
            connection.abort(1001, "the client did not take part in closing")

    async def _all_closed(self, timeout_s: float) -> None:
        """Wait until no connection is open, at most so long."""
        if self.connections:
            self._emptied.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), timeout_s)

    def stop(self, timeout_s: float) -> None:
        """End all threads."""
        self.vad_batcher.stop()
        self.scheduler.stop(timeout_s)

    async def _serve(self, request: web.Request, socket: WebSocket, caller: Caller) -> None:
        model = dict(query_parameters(request.query_string)).get("model")
        if model is None or not serves_model(model, self._settings.models):
            self.watch.refused("model")
            await socket.close(1007, "Model not found", CLOSE_HANDSHAKE_S)
            return
        if self.admission.draining:  # since the upgrade was let in
            await socket.close(*LEAVING, CLOSE_HANDSHAKE_S)
            return
        session = self._session(model, caller)
        watch = self.watch.session(model, time.monotonic)
        connection = Connection(
            socket,
            session,
            scheduler=self.scheduler,
            vad_batcher=self.vad_batcher,
            metrics=self._metrics,
            watch=watch,
            settings=self._settings,
            memory=ByteAccount(self.buffers, caller.key_id),
            client=request.remote,
            caller=caller,
            usage=UsageRecorder(
                self._access.ledger,
                self._access.quotas,
                caller,
                watch.figures,
                session_id=session.id,
                endpoint="realtime",
                model=model,
            ),
            check_session=partial(self._access.check_session, caller),
        )
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._emptied.set()

    def _refuse(self, refusal: Refusal) -> web.Response:
        self.watch.refused(refusal.reason)
        return refuse(refusal)

    def _load_room(self) -> float:
        max_mb = self._settings.max_memory_mb
        # The kernel, not a disk, is asked how much memory is in use: it takes microseconds.
        if max_mb and self.admission.open_sessions and resident_mb(self._engines.pid) >= max_mb:
            self.watch.seldom.warning("memory above max_memory_mb: new sessions are refused")
            return 0.0
        if not self._settings.max_load:
            return math.inf
        return self.load.room(self.scheduler.overdue_s)

    def _session(self, model: str, caller: Caller) -> Session:
        limits = session_limits(self._settings, caller.limits.languages)
        return Session(
            model=model,
            dialect=QwenDialect(limits),
            new_id=new_id,
            limits=limits,
            emotions=self._engines.emotion.new_tracker(),
            now_ms=int(asyncio.get_running_loop().time() * 1000),
        )


def serves_model(name: str, models: Sequence[str]) -> bool:
    """True if clients may ask for this model: a configured name, or one of the hosted family."""
    return name in models or name.startswith("qwen3-asr-flash-realtime")


def session_limits(settings: Settings, languages: tuple[str, ...] = ()) -> SessionLimits:
    """Return the settings that concern a session. languages: those that the key allows; empty:
    all."""
    return SessionLimits(
        languages=languages,
        max_append_bytes=settings.max_append_bytes,
        manual_max_ms=round(settings.manual_max_s * 1000),
        manual_interim=settings.manual_interim,
        idle_timeout_ms=round(settings.idle_timeout_s * 1000),
        stalled_turn_ms=round(settings.stalled_turn_s * 1000),
        max_session_ms=round(settings.max_session_s * 1000),
        close_after_finish_ms=round(settings.close_after_finish_s * 1000),
    )
