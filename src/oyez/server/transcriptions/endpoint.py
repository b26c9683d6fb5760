"""`/v1/…`: `POST /v1/audio/transcriptions` (admission, upload, transcription, answer) and the list
of models that OpenAI's clients ask for.
"""

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
from oyez.files.results import Result, Segment
from oyez.files.transcriber import Transcriber
from oyez.logs import RateLimitedLogger
from oyez.metrics import Metrics
from oyez.server.access.access import Access
from oyez.server.access.admission import Admission
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import DRAINING, Refusal
from oyez.server.operations import Handler, json_response
from oyez.server.session.session_metrics import ServerMetrics
from oyez.server.transcriptions.answers import (
    Model,
    ModelList,
    StreamedText,
    TextDelta,
    TextDone,
    answer,
    usage,
)
from oyez.server.transcriptions.errors import CLIENT_GONE, ApiError, internal_error
from oyez.server.transcriptions.form import Parameters, check_parameters, read_form
from oyez.server.transcriptions.job import TranscriptionJob
from oyez.server.transcriptions.operations import GET_MODEL, LIST_MODELS, transcribe
from oyez.server.transcriptions.upload_slots import UploadSlots
from oyez.settings import Settings, library_paths

ALIASES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""Names of models that programs written for OpenAI ask for."""
CLIENT_CHECK_S = 0.25
"""Time between two checks whether a client still waits."""
DRAIN_CHECK_S = 0.05
"""Time between two checks whether all files have ended, during a shutdown."""
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
    response: web.StreamResponse = field(
        default_factory=lambda: web.StreamResponse(headers=EVENT_STREAM)
    )
    """The answer if it is a stream of events. It is `prepared` once the first has been sent."""
    is_working: bool = False
    """Whether the file has a slot to be transcribed."""
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server shuts down and cannot finish the file."""


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
        self._requests: set[_Request] = set()
        metrics.transcriptions_open.set_function(lambda: len(self._slots))

    def routes(self, watch: ServerMetrics) -> list[web.RouteDef]:
        """Return the routes of `/v1/…`. `watch` counts refused requests. The names of the model are
        those of the settings, and ALIASES."""
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
            transcribe(self._settings).route(_answering_errors(self.transcribe, watch)),
            LIST_MODELS.route(_answering_errors(all_models, watch)),
            GET_MODEL.route(_answering_errors(one_model, watch)),
        ]

    async def transcribe(self, http: web.Request) -> web.StreamResponse:
        """Transcribe one file. Raises ApiError if it is not answered otherwise."""
        caller = self._identify(http)
        if refusal := self._admission.enter_request(caller):
            raise ApiError.from_refusal(refusal)
        request = _Request(http, caller)
        with self._slots.request(caller):
            self._requests.add(request)
            try:
                return await self._run(request)
            finally:
                self._requests.discard(request)

    async def drain(self, timeout_s: float) -> None:
        """Finish the files that are being transcribed, for at most `timeout_s`. The others are
        answered 503. Returns ABORT_S later at the latest, whatever a file does."""
        for request in self._requests:
            if not request.is_working:
                request.aborted.set()
        clock = asyncio.get_running_loop().time
        abort_at_s = clock() + timeout_s
        while self._requests and clock() < abort_at_s + ABORT_S:
            if clock() >= abort_at_s:
                for request in self._requests:
                    request.aborted.set()
            await asyncio.sleep(DRAIN_CHECK_S)
        if self._requests:
            log.warning("%d files did not end in time: they are left", len(self._requests))

    def _identify(self, http: web.Request) -> Caller:
        caller = self._access.authenticate(http)
        if isinstance(caller, Refusal):
            raise ApiError.from_refusal(caller)
        return caller

    async def _run(self, request: _Request) -> web.StreamResponse:
        """Serve the file until it is answered, its client leaves, or a shutdown aborts it."""
        serving = asyncio.create_task(self._serve(request))
        leaving = asyncio.create_task(_client_gone(request.http))
        aborting = asyncio.create_task(request.aborted.wait())
        tasks: tuple[asyncio.Task[object], ...] = (serving, leaving, aborting)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        error = asyncio.CancelledError() if serving.cancelled() else serving.exception()
        if error is None:
            return serving.result()
        if leaving.done() and not leaving.cancelled():
            return web.Response(status=CLIENT_GONE)
        if isinstance(error, asyncio.CancelledError):
            error = ApiError.from_refusal(DRAINING)
        if not request.response.prepared:
            raise error
        return await self._end_stream(request, error)

    async def _end_stream(self, request: _Request, error: BaseException) -> web.StreamResponse:
        """Send an error as the last event: a stream that has begun cannot become an HTTP error."""
        if isinstance(error, ConnectionError):
            return request.response
        if not isinstance(error, ApiError):
            log.error("internal error", exc_info=error)
            error = internal_error()
        await self._send(request, error.body)
        return request.response

    async def _serve(self, request: _Request) -> web.StreamResponse:
        with self._slots.upload(request.caller) as upload:
            form = await read_form(request.http, self._settings.max_upload_bytes, upload)
            try:
                upload.complete()
                parameters = check_parameters(form, request.caller.limits.languages)
                async with self._slots.work(request.caller):
                    request.is_working = True
                    return await self._answer(request, parameters, form.file)
            finally:
                form.file.close()

    async def _answer(
        self, request: _Request, parameters: Parameters, file: BinaryIO
    ) -> web.StreamResponse:
        job = TranscriptionJob(
            self._new_id("file"),
            request.caller,
            parameters,
            access=self._access,
            metrics=self._metrics,
            seldom=self._seldom,
            max_audio_s=self._settings.max_file_audio_s,
        )
        with job:
            async with aclosing(job.results(file, self._transcriber, self._limits)) as results:
                if parameters.stream:
                    return await self._stream(request, results, job)
                segments = [result async for result in results if isinstance(result, Segment)]
                # Subtitles of hours take milliseconds, which would hold up the event loop.
                return await asyncio.to_thread(answer, parameters, segments, job.figures.audio_s)

    async def _stream(
        self, request: _Request, results: AsyncIterator[Result], job: TranscriptionJob
    ) -> web.StreamResponse:
        """Answer with server-sent events. An error before the first event is an HTTP error; a later
        one is an event."""
        text = StreamedText()
        async for result in results:
            if delta := text.delta(result):
                await self._send(request, TextDelta(delta=delta))
        await self._send(request, TextDone(text=text.text, usage=usage(job.figures.audio_s)))
        await request.response.write_eof()
        return request.response

    async def _send(self, request: _Request, event: msgspec.Struct) -> None:
        """Send one event. Raises ConnectionError if the client is gone or does not read."""
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


def _answering_errors(handler: Handler, watch: ServerMetrics) -> Handler:
    """Return a handler that answers the errors of another in OpenAI's form, and counts refusals."""

    async def handle(http: web.Request) -> web.StreamResponse:
        try:
            return await handler(http)
        except ApiError as error:
            if error.reason:
                watch.refused(error.reason)
            return error.response()
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("internal error")
            return internal_error().response()

    return handle


async def _client_gone(http: web.Request) -> None:
    """Return when the client has closed the connection."""
    while http.transport is not None and not http.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(CLIENT_CHECK_S)
