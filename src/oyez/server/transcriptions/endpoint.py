"""`/v1/…`: `POST /v1/audio/transcriptions` (admission, upload, transcription, answer) and the list
of models that OpenAI's clients ask for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import msgspec
from aiohttp import web

from oyez.files.decoder_process import DecoderLimits
from oyez.files.results import Segment, join_text
from oyez.files.transcriber import Transcriber
from oyez.logs import RateLimitedLogger
from oyez.metrics import Metrics
from oyez.server.access.access import Access
from oyez.server.access.admission import Admission
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import DRAINING, Refusal
from oyez.server.operations import json_response
from oyez.server.transcriptions.answers import (
    GET_MODEL,
    LIST_MODELS,
    Model,
    ModelList,
    TextDelta,
    TextDone,
    answer,
    transcribe_operation,
    usage,
)
from oyez.server.transcriptions.errors import CLIENT_GONE, ApiError
from oyez.server.transcriptions.form import Parameters, check_parameters, read_form
from oyez.server.transcriptions.job import TranscriptionJob
from oyez.server.transcriptions.upload_slots import UploadSlots
from oyez.settings import Settings, library_paths

ALIASES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""Names of models that programs written for OpenAI ask for."""
CLIENT_CHECK_S = 0.25
"""Time between two checks whether a client still waits."""
ABORT_S = 1.0
"""How long a file that is aborted by a shutdown may take to end."""
EVENT_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
"""Headers of an answer that is a stream of events. The last keeps nginx from holding it back."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Request:
    """One file, from its first byte to its answer."""

    http: web.Request
    caller: Caller
    stream: web.StreamResponse = field(
        default_factory=lambda: web.StreamResponse(headers=EVENT_STREAM)
    )
    """The answer if it is a stream of events. It is `prepared` once the first has been sent."""
    is_working: bool = False
    """Whether the file has a slot to be transcribed."""


class Transcriptions:
    """The endpoint with all its files. Use it on the event loop only."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        access: Access,
        admission: Admission,
        transcriber: Transcriber,
        new_id: Callable[[str], str],
    ) -> None:
        """Begin without files. new_id: makes an id that begins with the given kind."""
        self._settings = settings
        self._metrics = metrics
        self._access = access
        self._admission = admission
        self._transcriber = transcriber
        self._new_id = new_id
        self._seldom = RateLimitedLogger(log)
        self._slots = UploadSlots(
            settings.max_transcriptions,
            settings.max_waiting_transcriptions,
            max_disk_bytes=settings.upload_disk_bytes or 10 * settings.max_upload_bytes,
            max_file_bytes=settings.max_upload_bytes,
            callers=access.callers,
        )
        self._limits = DecoderLimits(
            cpu_s=round(60 + settings.max_file_audio_s / 10), environment=library_paths()
        )
        self._tasks: dict[asyncio.Task[web.StreamResponse], _Request] = {}
        """The tasks that serve files."""
        metrics.transcriptions_open.set_function(lambda: len(self._slots.files))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of `/v1/…`. The names of the model are those of the settings, and
        ALIASES. What the handlers raise has to be answered by `errors.answer_errors`."""
        known = {name: Model(id=name) for name in (*self._settings.models, *ALIASES)}

        async def all_models(http: web.Request) -> web.Response:
            self._identify(http)
            return json_response(ModelList(data=list(known.values())))

        async def one_model(http: web.Request) -> web.Response:
            self._identify(http)
            name = http.match_info["name"]
            if name not in known:
                message = f"The model {name[:80]!r} does not exist; see /v1/models."
                raise ApiError(404, message, param="model", code="model_not_found")
            return json_response(known[name])

        return [
            transcribe_operation(self._settings).route(self.transcribe),
            LIST_MODELS.route(all_models),
            GET_MODEL.route(one_model),
        ]

    async def transcribe(self, http: web.Request) -> web.StreamResponse:
        """Transcribe one file, until it is answered, its client leaves, or a shutdown cancels it.
        Raises ApiError if it is not answered otherwise."""
        caller = self._identify(http)
        if refusal := self._admission.enter_request(caller):
            raise ApiError.from_refusal(refusal)
        request = _Request(http, caller)
        serving = asyncio.create_task(self._serve(request))
        self._tasks[serving] = request
        is_gone = False
        try:
            while not (serving.done() or is_gone):
                await asyncio.wait((serving,), timeout=CLIENT_CHECK_S)
                is_gone = http.transport is None or http.transport.is_closing()
        finally:
            _cancel(serving)
            (ended,) = await asyncio.gather(serving, return_exceptions=True)
            del self._tasks[serving]
        if not isinstance(ended, BaseException):
            return ended
        if is_gone:
            return web.Response(status=CLIENT_GONE)
        error = ApiError.from_refusal(DRAINING) if serving.cancelled() else ended
        if not request.stream.prepared:
            raise error
        # A stream that has begun cannot become an HTTP error: its last event is the error.
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            await self._send(request, ApiError.of(error).body)
        return request.stream

    async def drain(self, timeout_s: float) -> None:
        """Finish the files that are being transcribed, for at most `timeout_s`. The others are
        answered 503. Returns ABORT_S later at the latest, whatever a file does."""
        for task, request in self._tasks.items():
            if not request.is_working:
                _cancel(task)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        if self._tasks:
            for task in self._tasks:
                _cancel(task)
            _, left = await asyncio.wait(self._tasks, timeout=ABORT_S)
            if left:
                log.warning("%d files did not end in time: they are left", len(left))

    def _identify(self, http: web.Request) -> Caller:
        caller = self._access.authenticate(http)
        if isinstance(caller, Refusal):
            raise ApiError.from_refusal(caller)
        return caller

    async def _serve(self, request: _Request) -> web.StreamResponse:
        with self._slots.upload(request.caller) as upload:
            grow = partial(self._slots.grow, upload)
            form = await read_form(request.http, self._settings.max_upload_bytes, grow)
            with form.file:
                parameters = check_parameters(form, request.caller.limits.languages)
                async with self._slots.work(upload):
                    request.is_working = True
                    return await self._answer(request, parameters, form.file)

    async def _answer(
        self, request: _Request, parameters: Parameters, file: BinaryIO
    ) -> web.StreamResponse:
        job = TranscriptionJob(
            self._new_id("file"),
            request.caller,
            parameters,
            self._access,
            self._metrics,
            self._seldom,
            self._settings.max_file_audio_s,
        )
        with job:
            async with aclosing(job.segments(file, self._transcriber, self._limits)) as segments:
                if parameters.stream:
                    return await self._stream(request, segments, job)
                found = [segment async for segment in segments]
                # Subtitles of hours take milliseconds, which would hold up the event loop.
                return await asyncio.to_thread(answer, parameters, found, job.figures.audio_s)

    async def _stream(
        self, request: _Request, segments: AsyncIterator[Segment], job: TranscriptionJob
    ) -> web.StreamResponse:
        """Answer with server-sent events."""
        text = ""
        async for segment in segments:
            before, text = text, join_text(text, segment.text)
            await self._send(request, TextDelta(text[len(before) :]))
        await self._send(request, TextDone(text, usage(job.figures.audio_s)))
        await request.stream.write_eof()
        return request.stream

    async def _send(self, request: _Request, event: msgspec.Struct) -> None:
        """Send one event. Raises ConnectionError if the client is gone or does not read."""
        try:
            async with asyncio.timeout(self._settings.slow_reader_timeout_s):
                if not request.stream.prepared:
                    await request.stream.prepare(request.http)
                await request.stream.write(b"data: " + msgspec.json.encode(event) + b"\n\n")
        except TimeoutError:
            if request.http.transport is not None:
                request.http.transport.abort()
            raise ConnectionResetError("the client does not read") from None


def _cancel(task: asyncio.Task[web.StreamResponse]) -> None:
    """Cancel a task unless that was done: to cancel it twice would cut short how it ends."""
    if not task.cancelling():
        task.cancel()
