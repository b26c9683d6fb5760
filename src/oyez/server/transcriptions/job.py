"""The transcription of one uploaded file: its limits, and what is counted for usage, metrics and
the log.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import BinaryIO

from oyez.audio.pcm import SAMPLE_RATE
from oyez.files.decoder_process import (
    DecodedFile,
    DecoderCrash,
    DecoderError,
    DecoderLimits,
    decoded,
)
from oyez.files.decoding import MediaError
from oyez.files.results import Options, Result, Segment, TranscriptionError
from oyez.files.transcriber import Observer, Transcriber
from oyez.logs import RateLimitedLogger, SessionLog
from oyez.metrics import Metrics
from oyez.protocol.effects import Completed
from oyez.runtime.job import Stopped
from oyez.server.access.access import Access
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import DRAINING
from oyez.server.session.session_metrics import Figures
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.server.transcriptions.errors import (
    CLIENT_GONE,
    SERVER,
    ApiError,
    audio_too_long,
    invalid_file,
    no_decoder,
)
from oyez.server.transcriptions.form import Parameters

NOT_CONFINED = (
    "this system does not filter the system calls of processes that decode files: they are held "
    "by limits only"
)
OUTCOMES = {200: "transcribed", CLIENT_GONE: "abandoned"}
"""The label of each status in metrics; other statuses are labelled `failed`."""

log = logging.getLogger(__name__)


class TranscriptionJob(Observer):
    """Use it as a context manager: its usage is recorded when the context ends."""

    def __init__(
        self,
        job_id: str,
        caller: Caller,
        parameters: Parameters,
        *,
        access: Access,
        metrics: Metrics,
        seldom: RateLimitedLogger,
        max_audio_s: float,
    ) -> None:
        self.figures = Figures()
        self._caller = caller
        self._parameters = parameters
        self._access = access
        self._metrics = metrics
        self._seldom = seldom
        self._max_audio_s = max_audio_s
        self._log = SessionLog(log, job_id)
        self._usage = UsageRecorder(
            access.ledger,
            access.quotas,
            caller,
            self.figures,
            session_id=job_id,
            endpoint="transcriptions",
            model=parameters.model,
        )

    def __enter__(self) -> TranscriptionJob:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        status, outcome = _outcome(error)
        self._usage.end(status, outcome)
        self._metrics.transcriptions.labels(OUTCOMES.get(status, "failed")).inc()
        fields = {**self.figures.fields(), "status": status, "outcome": outcome}
        self._log.info("transcription ended", extra={"fields": fields})

    async def results(
        self, file: BinaryIO, transcriber: Transcriber, limits: DecoderLimits
    ) -> AsyncGenerator[Result]:
        """Decode and transcribe the file; yields every result. Raises ApiError for whatever goes
        wrong."""
        options = Options(
            language=self._parameters.language,
            languages=self._caller.limits.languages,
            context=self._parameters.prompt,
        )
        try:
            async with decoded(file, limits) as media, aclosing(media.blocks()) as blocks:
                self._check_media(media)
                tenant = self._caller.key_id
                async with aclosing(
                    transcriber.transcribe(blocks, options, self, tenant=tenant)
                ) as results:
                    async for result in results:
                        _check_recognised(result)
                        yield result
        except DecoderError as error:
            self._seldom.warning("no process to decode a file could be started", reason=str(error))
            raise no_decoder() from error
        except MediaError as error:
            if isinstance(error, DecoderCrash):
                self._seldom.warning("a file ended its decoder", how=error.detail)
            raise invalid_file(str(error)) from error
        except TranscriptionError as error:
            raise ApiError(400, str(error), code="invalid_value") from error
        except Stopped as error:
            raise ApiError.from_refusal(DRAINING) from error
        if media.notes:
            self._log.info("the file was not whole", extra={"fields": {"notes": media.notes}})

    def on_audio(self, samples: int) -> None:
        """Check before each block of audio that the caller may go on, and count the block."""
        access, caller = self._access, self._caller
        if refusal := access.callers.check(caller) or access.quotas.check(caller):
            raise ApiError.from_refusal(refusal)
        if self.figures.audio_s + samples / SAMPLE_RATE > self._max_audio_s:
            raise audio_too_long(self._max_audio_s)
        self._usage.add_audio(samples / SAMPLE_RATE)
        self.figures.audio_samples += samples
        self._metrics.tally.audio_samples += samples

    def on_completed(self, item: Completed) -> None:
        """Count a turn."""
        self.figures.turns += 1
        self.figures.completed(item)
        self._metrics.speech_seconds.labels(item.language).inc(item.speech_s)

    def _check_media(self, media: DecodedFile) -> None:
        if not media.is_confined:
            self._seldom.warning(NOT_CONFINED)
        # A file that announces too much audio is refused before any of it is decoded.
        if media.duration_s is not None and media.duration_s > self._max_audio_s:
            raise audio_too_long(self._max_audio_s)


def _outcome(error: BaseException | None) -> tuple[int, str]:
    """Return the status and the outcome of a job that ended with this error, for usage and log."""
    if error is None:
        return 200, "transcribed"
    if isinstance(error, ApiError):
        return error.status, error.body.error.code or "error"
    if isinstance(error, Exception) and not isinstance(error, ConnectionError):
        return 500, "internal error"
    return CLIENT_GONE, "the client did not wait"


def _check_recognised(result: Result) -> None:
    """Raise ApiError if a segment has no text because recognition failed: an answer with a hole in
    it would be taken for a complete one."""
    if isinstance(result, Segment) and result.failure:
        raise ApiError(
            500,
            f"The audio from {result.start_s:.1f} to {result.end_s:.1f} s could not be recognised: "
            "try again, or leave that part out.",
            type=SERVER,
            code="recognition_failed",
        )
