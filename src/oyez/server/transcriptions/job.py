"""The transcription of one uploaded file: its limits, and what is counted for usage, metrics and
the log.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import BinaryIO

from oyez.audio.pcm import SAMPLE_RATE
from oyez.files.decoder_process import DecoderCrash, DecoderError, DecoderLimits, decoded
from oyez.files.decoding import MediaError
from oyez.files.file_session import Observer
from oyez.files.results import Options, Segment, TranscriptionError
from oyez.files.transcriber import Transcriber
from oyez.logs import RateLimitedLogger, SessionLog
from oyez.metrics import Metrics
from oyez.protocol.effects import Completed
from oyez.runtime.job import Stopped
from oyez.server.access.access import Access
from oyez.server.access.callers import Caller
from oyez.server.access.refusals import DRAINING
from oyez.server.session.figures import Figures
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.server.transcriptions.errors import CLIENT_GONE, ApiError
from oyez.server.transcriptions.form import Parameters

NOT_CONFINED = (
    "this system does not filter the system calls of processes that decode files: they are held "
    "by limits only"
)
OUTCOMES = {200: "transcribed", CLIENT_GONE: "abandoned"}
"""The label of each status in metrics; other statuses are labelled `failed`."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class TranscriptionJob(Observer):
    """Use it as a context manager: its usage is recorded when the context ends."""

    job_id: str
    caller: Caller
    parameters: Parameters
    access: Access
    metrics: Metrics
    seldom: RateLimitedLogger
    max_audio_s: float
    figures: Figures = field(default_factory=Figures)

    def __enter__(self) -> TranscriptionJob:
        self._usage = UsageRecorder(
            self.access.ledger,
            self.access.quotas,
            self.caller,
            self.figures,
            session_id=self.job_id,
            endpoint="transcriptions",
            model=self.parameters.model,
        )
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case None:
                status, outcome = 200, "transcribed"
            case ApiError():
                status, outcome = error.status, error.body.error.code or "error"
            case Exception() if not isinstance(error, ConnectionError):
                status, outcome = 500, "internal error"
            case _:
                status, outcome = CLIENT_GONE, "the client did not wait"
        self._usage.end(status, outcome)
        self.metrics.transcriptions.labels(OUTCOMES.get(status, "failed")).inc()
        fields = {**self.figures.fields(), "status": status, "outcome": outcome}
        SessionLog(log, self.job_id).info("transcription ended", extra={"fields": fields})

    async def segments(
        self, file: BinaryIO, transcriber: Transcriber, limits: DecoderLimits
    ) -> AsyncGenerator[Segment]:
        """Decode and transcribe the file. Raises ApiError for whatever goes wrong, also if the
        recognition of a segment failed: an answer with a hole in it would look complete."""
        options = Options(
            language=self.parameters.language,
            languages=self.caller.limits.languages,
            context=self.parameters.prompt,
        )
        try:
            async with decoded(file, limits) as media, aclosing(media.blocks()) as blocks:
                if not media.is_confined:
                    self.seldom.warning(NOT_CONFINED)
                # A file that announces too much audio is refused before any of it is decoded.
                self._check_length(media.duration_s or 0.0)
                results = transcriber.transcribe(blocks, options, self, self.caller.key_id)
                async with aclosing(results):
                    async for result in results:
                        if isinstance(result, Segment):
                            _check_recognised(result)
                            yield result
        except DecoderError as error:
            self.seldom.warning("no process to decode a file could be started", reason=str(error))
            message = "The server cannot decode files at the moment: see its log; try again later."
            raise ApiError(503, message, code="decoder") from error
        except MediaError as error:
            if isinstance(error, DecoderCrash):
                self.seldom.warning("a file ended its decoder", how=error.detail)
            message = f"The file cannot be transcribed: {error}."
            raise ApiError(400, message, param="file", code="invalid_file") from error
        except TranscriptionError as error:
            raise ApiError(400, str(error), code="invalid_value") from error
        except Stopped as error:
            raise ApiError.from_refusal(DRAINING) from error

    def heard(self, samples: int) -> None:
        """Check before each block of audio that the caller may go on, and count the block."""
        access, audio_s = self.access, samples / SAMPLE_RATE
        if refusal := access.callers.check(self.caller) or access.quotas.check(self.caller):
            raise ApiError.from_refusal(refusal)
        self._check_length(self.figures.audio_s + audio_s)
        self._usage.add_audio(audio_s)
        self.figures.audio_samples += samples
        self.metrics.tally.audio_samples += samples

    def completed(self, item: Completed) -> None:
        """Count a turn."""
        self.figures.turns += 1
        self.figures.finals += item.failure is None
        self.figures.empty += item.failure is None and not item.transcript
        self.figures.failed += item.failure is not None
        self.figures.completed(item)
        self.metrics.speech_seconds.labels(item.language).inc(item.speech_s)

    def _check_length(self, audio_s: float) -> None:
        if audio_s > self.max_audio_s:
            longest = f"{self.max_audio_s:g} s, the most this server takes"
            message = f"The audio is longer than {longest}: send parts of it."
            raise ApiError(400, message, param="file", code="audio_too_long")


def _check_recognised(segment: Segment) -> None:
    if segment.failure:
        message = (
            f"The audio from {segment.start_s:.1f} to {segment.end_s:.1f} s could not be "
            "recognised: try again, or leave that part out."
        )
        raise ApiError(500, message, code="recognition_failed")
