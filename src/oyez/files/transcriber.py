"""Audio of any length → typed results, as they come.

In a program of its own, with every core:

    engines = load_engines(...)
    async with own_transcriber(engines) as transcriber:
        with open_media(file) as media:
            async with aclosing(transcriber.transcribe(media.blocks())) as results:
                async for result in results: ...

The audio goes through the same session as live speech does, so the text is the same; only that
nobody waits for interim results, so that several finals are decoded at a time. Memory is that of a
minute or two of audio, however long the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Hashable

from oyez.engines.base import EmotionClassifier
from oyez.files.file_session import Blocks, Observer, Run
from oyez.files.results import Options, Result
from oyez.runtime.loader import Engines
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.vad_batcher import VadPool

BACKLOG_S_PER_WORKER = 40.0
"""Audio that waits for recognition: two long windows for each worker, so that none is idle."""
STOP_S = 2.0


class Transcriber:
    """Transcribes files beside whatever else the scheduler does, never in front of it. Event loop
    only."""

    def __init__(
        self, scheduler: Scheduler, vad_pool: VadPool, emotion: EmotionClassifier, workers: int
    ) -> None:
        """workers: how many calls the engine takes at once."""
        self._scheduler = scheduler
        self._vad_pool = vad_pool
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
        """Every segment of the audio, in order, between them progress and partial text.

        blocks: float32 [n] at 16 kHz; taken when there is room for more, in a thread if the
        iterator is not an asynchronous one. What they raise is raised here, and so is
        TranscriptionError for bad options. Close the generator
        (`contextlib.aclosing`) to cancel: nothing of it runs on. tenant: as in `Job`.
        """
        run = Run(
            f"file_{next(self._ids)}",
            options or Options(),
            self._scheduler,
            self._vad_pool,
            self._emotion.new_tracker(),
            self._max_backlog_s,
            observer or Observer(),
            tenant,
        )
        feeding = asyncio.create_task(run.feed(blocks))
        try:
            async for result in run.results():
                yield result
            await feeding
        finally:
            feeding.cancel()
            run.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


@contextlib.asynccontextmanager
async def own_transcriber(engines: Engines) -> AsyncIterator[Transcriber]:
    """A transcriber with threads of its own, for a program that serves nobody else."""
    scheduler = Scheduler(engines.recogniser)
    vad_pool = VadPool(engines.detector)
    workers = engines.recogniser.info.parallel
    try:
        yield Transcriber(scheduler, vad_pool, engines.emotion, workers)
    finally:
        vad_pool.stop()
        await asyncio.to_thread(scheduler.stop, STOP_S)
