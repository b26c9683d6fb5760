"""One file being transcribed: what bounds it, and what it counts for usage, metrics and the log."""

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
from oyez.files.file_session import Observer
from oyez.files.options import Options, TranscriptionError
from oyez.files.results import Result, Segment
from oyez.files.transcriber import Transcriber
from oyez.logs import RateLimitedLogger, SessionLog
from oyez.metrics import Metrics
from oyez.protocol.effects import Completed
from oyez.runtime.job import Stopped
from oyez.server.access.access import Access
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import DRAINING
from oyez.server.session.figures import Figures
from oyez.server.transcriptions.errors import SERVER, ApiError, bad_file, no_decoder, too_long
from oyez.server.transcriptions.parameters import Parameters

NOT_CONFINED = (
    "this system does not filter the system calls of processes that decode files: they are held "
    "by limits only"
)
GONE = 499
"""The status, in usage and log, of a request whose client did not wait for the answer."""

log = logging.getLogger(__name__)


class FileWork(Observer):
    """Use it as a context manager: its usage ends with it."""

    def __init__(
        self,
        work_id: str,
        caller: Caller,
        asked: Parameters,
        *,
        access: Access,
        metrics: Metrics,
        seldom: RateLimitedLogger,
        max_audio_s: float,
    ) -> None:
        self.figures = Figures()
        self._caller = caller
        self._asked = asked
        self._access = access
        self._metrics = metrics
        self._seldom = seldom
        self._max_audio_s = max_audio_s
        self._log = SessionLog(log, work_id)
        self._status, self._outcome = GONE, "the client did not wait"
        self._usage = access.recorder(
            caller,
            self.figures,
            session_id=work_id,
            endpoint="transcriptions",
            model=asked.model,
        )

    def __enter__(self) -> FileWork:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ApiError):
            self._status, self._outcome = error.status, error.body.error.code or "error"
        elif isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self._status, self._outcome = 500, "internal error"
        elif error is None:
            self._status, self._outcome = 200, "transcribed"
        self._usage.end(self._status, self._outcome)
        self._metrics.transcriptions.labels(_shown(self._status)).inc()
        fields = {**self.figures.fields(), "status": self._status, "outcome": self._outcome}
        self._log.info("transcription ended", extra={"fields": fields})

    async def results(
        self, file: BinaryIO, transcriber: Transcriber, limits: DecoderLimits
    ) -> AsyncGenerator[Result]:
        """Everything that comes of it. Raises ApiError for whatever goes wrong."""
        options = Options(
            language=self._asked.language,
            languages=self._caller.limits.languages,
            context=self._asked.prompt,
        )
        try:
            async with decoded(file, limits) as media, aclosing(media.blocks()) as blocks:
                self._look_at(media)
                tenant = self._caller.key_id
                async with aclosing(
                    transcriber.transcribe(blocks, options, self, tenant=tenant)
                ) as found:
                    async for result in found:
                        _check_heard(result)
                        yield result
        except DecoderError as error:
            self._seldom.warning("no process to decode a file could be started", reason=str(error))
            raise no_decoder() from error
        except MediaError as error:
            if isinstance(error, DecoderCrash):
                self._seldom.warning("a file ended its decoder", how=error.detail)
            raise bad_file(str(error)) from error
        except TranscriptionError as error:
            raise ApiError(400, str(error), code="invalid_value") from error
        except Stopped as error:
            raise ApiError.of(DRAINING) from error
        if media.notes:
            self._log.info("the file was not whole", extra={"fields": {"notes": media.notes}})

    def heard(self, samples: int) -> None:
        access, caller = self._access, self._caller
        if refusal := access.callers.objection(caller) or access.quotas.refusal(caller):
            raise ApiError.of(refusal)
        if self.figures.audio_s + samples / SAMPLE_RATE > self._max_audio_s:
            raise too_long(self._max_audio_s)
        self._usage.heard(samples / SAMPLE_RATE)
        self.figures.audio_samples += samples
        self._metrics.tally.audio_samples += samples

    def completed(self, item: Completed) -> None:
        self.figures.turns += 1
        self.figures.finals += item.failure is None
        self.figures.empty += item.failure is None and not item.transcript
        self.figures.failed += item.failure is not None
        self.figures.completed(item)
        self._metrics.speech_seconds.labels(item.language).inc(item.speech_s)

    def _look_at(self, media: DecodedFile) -> None:
        if not media.is_confined:
            self._seldom.warning(NOT_CONFINED)
        if media.duration_s is not None and media.duration_s > self._max_audio_s:
            raise too_long(self._max_audio_s)  # it is not even begun


def _check_heard(result: Result) -> None:
    """An answer with a hole in it would pass for a whole one."""
    if isinstance(result, Segment) and result.failure:
        raise ApiError(
            500,
            f"The audio from {result.start_s:.1f} to {result.end_s:.1f} s could not be recognised: "
            "try again, or leave that part out.",
            type=SERVER,
            code="recognition_failed",
        )


def _shown(status: int) -> str:
    return {200: "transcribed", GONE: "abandoned"}.get(status, "failed")
