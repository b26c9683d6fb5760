"""`POST /v1/audio/transcriptions`: admission, the upload, the work and its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec
from aiohttp import web

from oyez.files.decoder_process import DecoderLimits
from oyez.files.documents import joined, plain_text
from oyez.files.results import Partial, Result, Segment
from oyez.files.transcriber import Transcriber
from oyez.logs import RateLimitedLogger
from oyez.metrics import Metrics
from oyez.server.access.access import Access
from oyez.server.access.admission import Admission
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import DRAINING, Refusal
from oyez.server.transcriptions.answers import answer, usage
from oyez.server.transcriptions.bodies import TextDelta, TextDone
from oyez.server.transcriptions.errors import ApiError, internal_error
from oyez.server.transcriptions.form import read_form
from oyez.server.transcriptions.parameters import Parameters, parameters
from oyez.server.transcriptions.places import Places
from oyez.server.transcriptions.work import GONE, FileWork
from oyez.settings import Settings, library_paths

WATCH_S = 0.25
"""How often it is looked whether a client still waits."""
ENDING_S = 1.0
"""What a file that is broken off may take to end."""
EVENTS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Request:
    """One file, from its first byte to its answer."""

    http: web.Request
    caller: Caller
    response: web.StreamResponse = field(default_factory=lambda: web.StreamResponse(headers=EVENTS))
    """Of a stream; `prepared` once its first event has been sent."""
    working: bool = False
    """Its turn has come."""
    unwanted: asyncio.Event = field(default_factory=asyncio.Event)
    """The server leaves, and cannot finish it."""


class Transcriptions:
    """The endpoint, and every file on it. Event loop only."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        access: Access,
        admission: Admission,
        transcriber: Transcriber,
        new_id: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._access = access
        self._admission = admission
        self._transcriber = transcriber
        self._new_id = new_id
        self._seldom = RateLimitedLogger(log)
        self._places = Places(
            settings.max_transcriptions,
            settings.max_waiting_transcriptions,
            max_disk_bytes=settings.upload_disk_bytes or 10 * settings.max_upload_bytes,
            max_file_bytes=settings.max_upload_bytes,
            has_several_keys=lambda: access.callers.has_several_keys,
        )
        self._limits = DecoderLimits(
            cpu_s=round(60 + settings.max_file_audio_s / 10), environment=library_paths()
        )
        self._requests: set[_Request] = set()
        metrics.transcriptions_open.set_function(lambda: len(self._places))

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Transcribe one file. Raises ApiError: see `routes`."""
        request = _Request(http, self._admit(http))
        with self._places.request(request.caller):
            self._requests.add(request)
            try:
                return await self._serve_while_wanted(request)
            finally:
                self._requests.discard(request)

    async def drain(self, timeout_s: float) -> None:
        """Finish what is being transcribed, for so long; the rest is answered 503. Whatever
        happens, it takes at most ENDING_S longer."""
        for request in self._requests:
            if not request.working:
                request.unwanted.set()
        clock = asyncio.get_running_loop().time
        give_up_s = clock() + timeout_s
        while self._requests and clock() < give_up_s + ENDING_S:
            if clock() >= give_up_s:
                for request in self._requests:
                    request.unwanted.set()
            await asyncio.sleep(WATCH_S / 5)
        if self._requests:
            log.warning("%d files did not end in time: they are left", len(self._requests))

    def _admit(self, http: web.Request) -> Caller:
        caller = self._access.gate.identify(http)
        if isinstance(caller, Refusal):
            raise ApiError.of(caller)
        if refusal := self._admission.refuse_request(caller):
            raise ApiError.of(refusal)
        return caller

    async def _serve_while_wanted(self, request: _Request) -> web.StreamResponse:
        work = asyncio.create_task(self._serve(request))
        ends = [
            asyncio.create_task(each) for each in (_gone(request.http), request.unwanted.wait())
        ]
        try:
            await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, *ends):
                task.cancel()
            await asyncio.gather(work, *ends, return_exceptions=True)
        fault = asyncio.CancelledError() if work.cancelled() else work.exception()
        if fault is None:
            return work.result()
        if ends[0].done() and not ends[0].cancelled():
            return web.Response(status=GONE)
        if isinstance(fault, asyncio.CancelledError):
            fault = ApiError.of(DRAINING)
        if not request.response.prepared:
            raise fault
        return await self._end_stream(request, fault)

    async def _end_stream(self, request: _Request, fault: BaseException) -> web.StreamResponse:
        """An answer that has begun cannot become another one."""
        if isinstance(fault, ConnectionError):
            return request.response
        if not isinstance(fault, ApiError):
            log.error("internal error", exc_info=fault)
            fault = internal_error()
        await self._send(request, fault.body)
        return request.response

    async def _serve(self, request: _Request) -> web.StreamResponse:
        with self._places.upload(request.caller) as upload:
            form = await read_form(request.http, self._settings.max_upload_bytes, upload)
            try:
                upload.complete()
                asked = parameters(form, request.caller.limits.languages)
                async with self._places.turn(request.caller):
                    request.working = True
                    return await self._answer(request, asked, form.file)
            finally:
                form.file.close()

    async def _answer(
        self, request: _Request, asked: Parameters, file: BinaryIO
    ) -> web.StreamResponse:
        work = FileWork(
            self._new_id("file"),
            request.caller,
            asked,
            access=self._access,
            metrics=self._metrics,
            seldom=self._seldom,
            max_audio_s=self._settings.max_file_audio_s,
        )
        with work:
            found = work.results(file, self._transcriber, self._limits)
            async with aclosing(found) as results:
                if asked.stream:
                    return await self._stream(request, results, work)
                return await _whole(asked, results, work)

    async def _stream(
        self, request: _Request, results: AsyncIterator[Result], work: FileWork
    ) -> web.StreamResponse:
        """Server-sent events. What goes wrong before the first is an HTTP error, later an event."""
        told = _Told()
        async for result in results:
            if delta := told.delta(result):
                await self._send(request, TextDelta(delta=delta))
        await self._send(request, TextDone(text=told.text, usage=usage(work.figures.audio_s)))
        await request.response.write_eof()
        return request.response

    async def _send(self, request: _Request, event: msgspec.Struct) -> None:
        """Raises ConnectionError if the client is gone, or does not read."""
        response = request.response
        try:
            async with asyncio.timeout(self._settings.slow_reader_timeout_s):
                if not response.prepared:
                    await response.prepare(request.http)
                await response.write(b"data: " + msgspec.json.encode(event) + b"\n\n")
        except TimeoutError:
            if request.http.transport is not None:
                request.http.transport.abort()
            raise ConnectionResetError("the client does not read") from None


class _Told:
    """What of the text a client has been told."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._told = ""

    @property
    def text(self) -> str:
        """All of it, as far as it is final."""
        return plain_text(self._segments)

    def delta(self, result: Result) -> str:
        """What comes next; empty if there is nothing new."""
        if not isinstance(result, Partial | Segment):
            return ""
        whole = self._whole(result)
        if not whole.startswith(self._told):
            return ""
        self._told, delta = whole, whole[len(self._told) :]
        return delta

    def _whole(self, result: Result) -> str:
        if isinstance(result, Segment):
            self._segments.append(result)
        if isinstance(result, Partial):
            return joined(self.text, result.confirmed)
        return self.text


async def _whole(asked: Parameters, results: AsyncIterator[Result], work: FileWork) -> web.Response:
    segments = [result async for result in results if isinstance(result, Segment)]
    # subtitles of hours are milliseconds of work, but not for this thread
    return await asyncio.to_thread(answer, asked, segments, work.figures.audio_s)


async def _gone(http: web.Request) -> None:
    """Returns when the client has closed the connection."""
    while http.transport is not None and not http.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(WATCH_S)
