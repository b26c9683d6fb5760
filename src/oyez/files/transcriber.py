"""Audio of any length → typed results, as they come.

In a program of its own, with every core:

    engines = load_engines(...)
    async with own_transcriber(engines) as transcriber:
        with open_media(file) as media:
            async with aclosing(transcriber.transcribe(media.blocks())) as results:
                async for result in results: ...

The audio goes through the same session as live speech, so the text is the same. No interim results
are needed, so several finals are decoded at a time. A file takes as much memory as a minute or two
of audio, however long it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Hashable

from oyez.engines.base import EmotionClassifier
from oyez.files.file_session import Blocks, FileSession, Observer
from oyez.files.results import Options, Result
from oyez.runtime.loader import Engines
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.session_jobs import SessionJobs
from oyez.runtime.vad_batcher import VadBatcher

BACKLOG_S_PER_WORKER = 40.0
"""Audio that may wait for recognition: two long segments per worker, so that none is idle."""
STOP_S = 2.0


class Transcriber:
    """Transcribes files in the background of whatever else the scheduler does. Event loop only."""

    def __init__(
        self,
        scheduler: Scheduler,
        vad_batcher: VadBatcher,
        emotion: EmotionClassifier,
        workers: int,
    ) -> None:
        """workers: the number of calls that the engine takes at once."""
        self._scheduler = scheduler
        self._vad_batcher = vad_batcher
        self._emotion = emotion
        self._max_backlog_s = BACKLOG_S_PER_WORKER * workers
        self._ids = itertools.count(1)

    async def transcribe(
        self,
        blocks: Blocks,
        options: Options | None = None,
        observer: Observer | None = None,
        tenant: Hashable = None,
    ) -> AsyncGenerator[Result]:
        """Yield every segment of the audio in order, with progress and partial text between them.

        blocks: float32 [n] at 16 kHz; taken when there is room for more, in a thread if the
        iterator is not an asynchronous one. What they raise is raised here, and so is
        TranscriptionError for bad options. Close the generator
        (`contextlib.aclosing`) to cancel all work on it. tenant: as in `Job`.
        """
        owner = f"file_{next(self._ids)}"
        file = FileSession(
            options or Options(),
            SessionJobs(self._scheduler, owner, tenant=tenant, is_patient=True),
            self._vad_batcher,
            self._emotion.new_tracker(),
            self._max_backlog_s,
            observer or Observer(),
        )
        feeding = asyncio.create_task(file.feed(blocks))
        try:
            async for result in file.results():
                yield result
            await feeding
        finally:
            feeding.cancel()
            file.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


@contextlib.asynccontextmanager
async def own_transcriber(engines: Engines) -> AsyncIterator[Transcriber]:
    """Provide a transcriber with threads of its own, for a program that is no server."""
    scheduler = Scheduler(engines.recogniser)
    vad_batcher = VadBatcher(engines.detector)
    workers = engines.recogniser.info.parallel
    try:
        yield Transcriber(scheduler, vad_batcher, engines.emotion, workers)
    finally:
        vad_batcher.stop()
        await asyncio.to_thread(scheduler.stop, STOP_S)
