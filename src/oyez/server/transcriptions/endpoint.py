"""`/v1/…`: `POST /v1/audio/transcriptions` (admission, upload, transcription, answer) and the list
of models that OpenAI's clients ask for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import BinaryIO

import msgspec
from aiohttp import web

from oyez.audio.pcm import SAMPLE_RATE
from oyez.files.decoder_process import DecoderCrash, DecoderError, DecoderLimits, decoded
from oyez.files.decoding import MediaError
from oyez.files.results import Options, Segment, TranscriptionError, join_text
from oyez.files.transcriber import Observer, Transcriber
from oyez.logs import RateLimitedLogger, SessionLog
from oyez.metrics import Metrics
from oyez.protocol.effects import Completed
from oyez.runtime.job import Stopped
from oyez.server.access.access import Access
from oyez.server.access.admission import Admission
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import DRAINING, Refusal
from oyez.server.operations import json_response
from oyez.server.session.session_metrics import Figures
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.server.transcriptions import answers
from oyez.server.transcriptions.answers import Model, ModelList, TextDelta, TextDone, Usage
from oyez.server.transcriptions.errors import CLIENT_GONE, ApiError
from oyez.server.transcriptions.form import Parameters, check_parameters, read_form
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
NOT_CONFINED = (
    "this system does not filter the system calls of processes that decode files: they are held "
    "by limits only"
)
OUTCOMES = {200: "transcribed", CLIENT_GONE: "abandoned"}
"""The label of each status in metrics; other statuses are labelled `failed`."""

log = logging.getLogger(__name__)


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
        self.settings = settings
        self.metrics = metrics
        self.access = access
        self.transcriber = transcriber
        self.new_id = new_id
        self.seldom = RateLimitedLogger(log)
        self.slots = UploadSlots(settings, access.callers)
        cpu_s = round(60 + settings.max_file_audio_s / 10)
        self.limits = DecoderLimits(cpu_s=cpu_s, environment=library_paths())
        self.files: dict[asyncio.Task[web.StreamResponse], _File] = {}
        """The files that are served, by the task that does it."""
        self._admission = admission
        metrics.transcriptions_open.set_function(lambda: len(self.slots.files))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of `/v1/…`. The names of the model are those of the settings, and
        ALIASES. What the handlers raise has to be answered by `errors.answer_errors`."""
        known = {name: Model(id=name) for name in (*self.settings.models, *ALIASES)}

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
            answers.transcribe_operation(self.settings).route(self.transcribe),
            answers.LIST_MODELS.route(all_models),
            answers.GET_MODEL.route(one_model),
        ]

    async def transcribe(self, http: web.Request) -> web.StreamResponse:
        """Transcribe one file, until it is answered, its client leaves, or a shutdown cancels it.
        Raises ApiError if it is not answered otherwise."""
        caller = self._identify(http)
        if refusal := self._admission.enter_request(caller):
            raise ApiError.from_refusal(refusal)
        file = _File(self, http, caller)
        serving = asyncio.create_task(file.serve())
        self.files[serving] = file
        serving.add_done_callback(self.files.pop)
        is_gone = False
        try:
            while not (serving.done() or is_gone):
                await asyncio.wait((serving,), timeout=CLIENT_CHECK_S)
                is_gone = http.transport is None or http.transport.is_closing()
        finally:
            _cancel(serving)
            (ended,) = await asyncio.gather(serving, return_exceptions=True)
        if not isinstance(ended, BaseException):
            return ended
        if is_gone:
            return web.Response(status=CLIENT_GONE)
        error = ApiError.from_refusal(DRAINING) if serving.cancelled() else ended
        if not file.stream.prepared:
            raise error
        # A stream that has begun cannot become an HTTP error: its last event is the error.
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            await file.send(ApiError.of(error).body)
        return file.stream

    async def drain(self, timeout_s: float) -> None:
        """Finish the files that are being transcribed, for at most `timeout_s`. The others are
        answered 503. Returns ABORT_S later at the latest, whatever a file does."""
        for finish_working, wait_s in ((True, timeout_s), (False, ABORT_S)):
            for task, file in self.files.items():
                if not (finish_working and file.is_working):
                    _cancel(task)
            if self.files:
                await asyncio.wait(self.files, timeout=wait_s)
        if self.files:
            log.warning("%d files did not end in time: they are left", len(self.files))

    def _identify(self, http: web.Request) -> Caller:
        caller = self.access.authenticate(http)
        if isinstance(caller, Refusal):
            raise ApiError.from_refusal(caller)
        return caller


class _File(Observer):
    """One file, from its first byte to its answer."""

    def __init__(self, endpoint: Transcriptions, http: web.Request, caller: Caller) -> None:
        self._endpoint = endpoint
        self._http = http
        self._caller = caller
        self._figures = Figures()
        self.stream = web.StreamResponse(headers=EVENT_STREAM)
        """The answer if it is a stream of events. It is `prepared` once the first has been sent."""
        self.is_working = False
        """Whether the file has a slot to be transcribed."""

    async def serve(self) -> web.StreamResponse:
        """Read, transcribe and answer the file. Raises ApiError for whatever is wrong with it."""
        settings, slots = self._endpoint.settings, self._endpoint.slots
        with slots.upload(self._caller) as upload:
            grow = partial(slots.grow, upload)
            file, values = await read_form(self._http, settings.max_upload_bytes, grow)
            with file:
                parameters = check_parameters(values, self._caller.limits.languages)
                async with slots.work(upload):
                    self.is_working = True
                    with self._recorded(parameters.model):
                        return await self._answer(parameters, file)

    @contextmanager
    def _recorded(self, model: str) -> Iterator[None]:
        """Record usage, metrics and a log line of what the context does."""
        file_id = self._endpoint.new_id("file")
        self._usage = UsageRecorder(
            self._endpoint.access.ledger,
            self._endpoint.access.quotas,
            self._caller,
            self._figures,
            session_id=file_id,
            endpoint="transcriptions",
            model=model,
        )
        status, outcome = CLIENT_GONE, "the client did not wait"
        try:
            yield
            status, outcome = 200, "transcribed"
        except ApiError as error:
            status, outcome = error.status, error.body.error.code or "error"
            raise
        except Exception as error:
            if not isinstance(error, ConnectionError):
                status, outcome = 500, "internal error"
            raise
        finally:
            self._usage.end(status, outcome)
            self._endpoint.metrics.transcriptions.labels(OUTCOMES.get(status, "failed")).inc()
            fields = {**self._figures.fields(), "status": status, "outcome": outcome}
            SessionLog(log, file_id).info("transcription ended", extra={"fields": fields})

    async def _answer(self, parameters: Parameters, file: BinaryIO) -> web.StreamResponse:
        async with aclosing(self._segments(parameters, file)) as segments:
            if parameters.stream:
                return await self._stream(segments)
            found = [segment async for segment in segments]
            # Subtitles of hours take milliseconds, which would hold up the event loop.
            usage = Usage(round(self._figures.audio_s, 3))
            return await asyncio.to_thread(answers.answer, parameters, found, usage)

    async def _segments(self, parameters: Parameters, file: BinaryIO) -> AsyncGenerator[Segment]:
        """Decode and transcribe the file. Raises ApiError for whatever goes wrong, also if the
        recognition of a segment failed: an answer with a hole in it would look complete."""
        seldom, caller = self._endpoint.seldom, self._caller
        options = Options(parameters.language or None, caller.limits.languages, parameters.prompt)
        try:
            async with (
                decoded(file, self._endpoint.limits) as media,
                aclosing(media.blocks()) as blocks,
            ):
                if not media.is_confined:
                    seldom.warning(NOT_CONFINED)
                # A file that announces too much audio is refused before any of it is decoded.
                self._check_length(media.duration_s or 0.0)
                results = self._endpoint.transcriber.transcribe(
                    blocks, options, self, tenant=caller.key_id
                )
                async with aclosing(results):
                    async for result in results:
                        if isinstance(result, Segment):
                            _check_recognised(result)
                            yield result
        except DecoderError as error:
            seldom.warning("no process to decode a file could be started", reason=str(error))
            message = "The server cannot decode files at the moment: see its log; try again later."
            raise ApiError(503, message, code="decoder") from error
        except MediaError as error:
            if isinstance(error, DecoderCrash):
                seldom.warning("a file ended its decoder", how=error.detail)
            message = f"The file cannot be transcribed: {error}."
            raise ApiError(400, message, param="file", code="invalid_file") from error
        except TranscriptionError as error:
            raise ApiError(400, str(error), code="invalid_value") from error
        except Stopped as error:
            raise ApiError.from_refusal(DRAINING) from error

    def on_audio(self, samples: int) -> None:
        """Check before each block of audio that the caller may go on, and count the block."""
        access, audio_s = self._endpoint.access, samples / SAMPLE_RATE
        if refusal := access.callers.check(self._caller) or access.quotas.check(self._caller):
            raise ApiError.from_refusal(refusal)
        self._check_length(self._figures.audio_s + audio_s)
        self._usage.add_audio(audio_s)
        self._figures.audio_samples += samples
        self._endpoint.metrics.tally.audio_samples += samples

    def on_completed(self, item: Completed) -> None:
        """Count a turn."""
        self._figures.turns += 1
        self._figures.completed(item)
        self._endpoint.metrics.speech_seconds.labels(item.language).inc(item.speech_s)

    def _check_length(self, audio_s: float) -> None:
        max_s = self._endpoint.settings.max_file_audio_s
        if audio_s > max_s:
            longest = f"{max_s:g} s, the most this server takes"
            message = f"The audio is longer than {longest}: send parts of it."
            raise ApiError(400, message, param="file", code="audio_too_long")

    async def _stream(self, segments: AsyncIterator[Segment]) -> web.StreamResponse:
        """Answer with server-sent events."""
        text = ""
        async for segment in segments:
            before, text = text, join_text(text, segment.text)
            await self.send(TextDelta(text[len(before) :]))
        await self.send(TextDone(text, Usage(round(self._figures.audio_s, 3))))
        await self.stream.write_eof()
        return self.stream

    async def send(self, event: msgspec.Struct) -> None:
        """Send one event. Raises ConnectionError if the client is gone or does not read."""
        try:
            async with asyncio.timeout(self._endpoint.settings.slow_reader_timeout_s):
                if not self.stream.prepared:
                    await self.stream.prepare(self._http)
                await self.stream.write(b"data: " + msgspec.json.encode(event) + b"\n\n")
        except TimeoutError:
            if self._http.transport is not None:
                self._http.transport.abort()
            raise ConnectionResetError("the client does not read") from None


def _check_recognised(segment: Segment) -> None:
    if segment.failure:
        message = (
            f"The audio from {segment.start_s:.1f} to {segment.end_s:.1f} s could not be "
            "recognised: try again, or leave that part out."
        )
        raise ApiError(500, message, code="recognition_failed")


def _cancel(task: asyncio.Task[web.StreamResponse]) -> None:
    """Cancel a task unless that was done: to cancel it twice would cut short how it ends."""
    if not task.cancelling():
        task.cancel()
