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
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterator

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.engines.base import EmotionClassifier
from oyez.files.media import run_blocking
from oyez.files.results import Options, Partial, Progress, Result, Segment, TranscriptionError, Word
from oyez.protocol.client_events import AudioAppend, SessionFinish, SessionUpdate
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.effects import Completed, Effect, Send
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.server_events import ErrorEvent, InterimText, SessionFinished
from oyez.protocol.session import Session
from oyez.runtime.loader import Engines
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.session_jobs import SessionJobs
from oyez.runtime.session_runner import Peer, SessionRunner
from oyez.runtime.vad_batcher import VadBatcher

BACKLOG_S_PER_WORKER = 40.0
"""Audio that may wait for recognition: two long segments per worker, so that none is idle."""
STOP_S = 2.0
PROGRESS_S = 1.0
"""Progress is reported when this much more audio is done."""
MAX_RESULTS = 64
"""No more of the file is read while so many results wait to be taken."""

Blocks = Iterator[Samples] | AsyncIterator[Samples]
"""Audio, float32 [n] at 16 kHz. A plain iterator may block: it runs in a thread."""


class Observer:
    """Is called while a file is transcribed. What its methods raise ends the file; these do
    nothing."""

    def on_audio(self, samples: int) -> None:
        """Handle audio that is about to be taken in."""

    def on_completed(self, item: Completed) -> None:
        """Handle the end of a turn, with or without words."""


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
        options = options or Options()
        limits = SessionLimits(live=options.live, languages=options.languages)
        numbers = itertools.count(1)
        session = Session(
            model="",
            dialect=QwenDialect(limits),
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            limits=limits,
            emotions=self._emotion.new_tracker(),
            now_ms=0,
        )
        owner = f"file_{next(self._ids)}"
        jobs = SessionJobs(self._scheduler, owner, tenant=tenant, is_patient=True)
        observer = observer or Observer()
        file = _File(session, jobs, self._vad_batcher, self._max_backlog_s, observer)
        feeding = asyncio.create_task(file.feed(blocks, options))
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


class _File(Peer):
    """One file on its way through a session: it is fed as fast as there is room.

    Event loop only. `feed` it in a task, take its `results`, then `cancel` it.
    """

    def __init__(
        self,
        session: Session,
        jobs: SessionJobs,
        vad_batcher: VadBatcher,
        max_backlog_s: float,
        observer: Observer,
    ) -> None:
        self._session = session
        self._runner = SessionRunner(session, self, jobs, vad_batcher, max_backlog_s=max_backlog_s)
        self._observer = observer
        self._results: deque[Result] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._fed_samples = 0
        self._reported_s = 0.0

    async def feed(self, blocks: Blocks, options: Options) -> None:
        """Hand over all audio, as there is room. `results` raises what goes wrong."""
        update: dict[str, object] = {
            "input_audio_transcription": {
                "language": options.language,
                "corpus": {"text": options.context},
            },
            "turn_detection": {
                "type": "server_vad",
                "silence_duration_ms": options.silence_duration_ms,
            },
        }
        try:
            self._runner.receive(SessionUpdate(None, update))
            while (block := await _next(blocks)) is not None:
                await self._until(lambda: self._ended or self._has_room)
                self._observer.on_audio(len(block))
                self._fed_samples += len(block)
                self._runner.receive(AudioAppend(None, samples_to_pcm16(block).tobytes()))
            self._runner.receive(SessionFinish(None))
        except Exception as error:  # noqa: BLE001 - whatever it is, `results` raises it
            self.fail(error)

    async def results(self) -> AsyncIterator[Result]:
        """Yield everything that comes of the file, until all audio is done."""
        while True:
            await self._until(lambda: bool(self._results) or self._ended)
            while self._results:
                yield self._results.popleft()
                self._changed.set()
            if self._error:
                raise self._error
            if self._ended:
                return

    def cancel(self) -> None:
        """Stop all work on the file."""
        self._ended = True
        self._runner.release()
        self._changed.set()

    def take(self, effect: Effect) -> None:
        match effect:
            case Completed():
                self._observer.on_completed(effect)
                if effect.transcript or effect.failure is not None:
                    self._results.append(_segment(effect))
            case Send(InterimText() as interim):
                self._results.append(Partial(interim.text, interim.stash, interim.language))
            case Send(ErrorEvent() as event):
                raise TranscriptionError(event.error.message)
            case Send(SessionFinished()):
                self._ended = True

    def on_step(self) -> None:
        """Report progress: often enough while the file goes on, and at its end."""
        done_s = _s(self._fed_samples if self._ended else self._session.settled_samples)
        more_s = done_s - self._reported_s
        if more_s >= PROGRESS_S or (self._ended and more_s > 0):
            self._reported_s = done_s
            if self._results and isinstance(self._results[-1], Progress):
                self._results.pop()
            self._results.append(Progress(done_s))
        self._changed.set()

    def fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.cancel()

    @property
    def _has_room(self) -> bool:
        is_full = len(self._results) >= MAX_RESULTS
        return not (self._runner.is_behind or self._session.busy or is_full)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


async def _next(blocks: Blocks) -> Samples | None:
    if isinstance(blocks, AsyncIterator):
        return await anext(blocks, None)
    return await run_blocking(next, blocks, None)


def _segment(completed: Completed) -> Segment:
    words = tuple(
        Word(word.text, _s(word.start_samples), _s(word.end_samples), word.probability)
        for word in completed.words
    )
    return Segment(
        start_s=words[0].start_s if words else _s(completed.start_samples),
        end_s=words[-1].end_s if words else _s(completed.end_samples),
        text=completed.transcript,
        language=completed.language,
        emotion=completed.emotion,
        words=words,
        failure=str(completed.failure) if completed.failure else None,
    )


def _s(samples: int) -> float:
    return samples / SAMPLE_RATE
