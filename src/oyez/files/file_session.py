"""One file on its way through a session: it is fed as fast as there is room."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.engines.base import EmotionTracker
from oyez.files.media import run_blocking
from oyez.files.results import Options, Partial, Progress, Result, Segment, TranscriptionError, Word
from oyez.protocol.client_events import AudioAppend, SessionFinish, SessionUpdate
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.effects import Completed, Effect, Send
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.server_events import ErrorEvent, InterimText, SessionFinished
from oyez.protocol.session import Session
from oyez.runtime.session_jobs import SessionJobs
from oyez.runtime.session_runner import Peer, SessionRunner
from oyez.runtime.vad_batcher import VadBatcher

PROGRESS_S = 1.0
"""Progress is reported when this much more audio is done."""
MAX_RESULTS = 64
"""No more of the file is read while so many results wait to be taken."""

Blocks = Iterator[Samples] | AsyncIterator[Samples]
"""Audio, float32 [n] at 16 kHz. A plain iterator may block: it runs in a thread."""


class Observer:
    """Is called while a file is transcribed. What its methods raise ends the file; these do
    nothing."""

    def heard(self, samples: int) -> None:
        """Handle audio that is about to be taken in."""

    def completed(self, item: Completed) -> None:
        """Handle the end of a turn, with or without words."""


class FileSession(Peer):
    """Event loop only. `feed` it in a task, take its `results`, then `cancel` it."""

    def __init__(
        self,
        options: Options,
        jobs: SessionJobs,
        vad_batcher: VadBatcher,
        emotions: EmotionTracker,
        max_backlog_s: float,
        observer: Observer,
    ) -> None:
        self._options = options
        self._observer = observer
        numbers = itertools.count(1)
        limits = SessionLimits(live=options.live, languages=options.languages)
        session = Session(
            model="",
            dialect=QwenDialect(limits),
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            limits=limits,
            emotions=emotions,
            now_ms=0,
        )
        self._session = session
        self._runner = SessionRunner(session, self, jobs, vad_batcher, max_backlog_s=max_backlog_s)
        self._results: deque[Result] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._fed_samples = 0
        self._reported_s = 0.0

    async def feed(self, blocks: Blocks) -> None:
        """Hand over all audio, as there is room. `results` raises what goes wrong."""
        try:
            self._runner.receive(SessionUpdate(None, self._update()))
            while (block := await self._next(blocks)) is not None:
                await self._until(lambda: self._ended or self._has_room)
                self._observer.heard(len(block))
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
                self._observer.completed(effect)
                self._add_segment(effect)
            case Send(InterimText() as interim):
                self._results.append(Partial(interim.text, interim.stash, interim.language))
            case Send(ErrorEvent() as event):
                raise TranscriptionError(event.error.message)
            case Send(SessionFinished()):
                self._ended = True

    def on_step(self) -> None:
        self._report_progress()
        self._changed.set()

    def fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.cancel()

    def _update(self) -> dict[str, object]:
        detection = {"silence_duration_ms": self._options.silence_duration_ms}
        transcription = {
            "language": self._options.language,
            "corpus": {"text": self._options.context},
        }
        return {
            "input_audio_transcription": transcription,
            "turn_detection": {"type": "server_vad", **detection},
        }

    @property
    def _has_room(self) -> bool:
        is_full = len(self._results) >= MAX_RESULTS
        return not (self._runner.is_behind or self._session.busy or is_full)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _next(self, blocks: Blocks) -> Samples | None:
        if isinstance(blocks, AsyncIterator):
            return await anext(blocks, None)
        return await run_blocking(next, blocks, None)

    def _add_segment(self, completed: Completed) -> None:
        if not completed.transcript and completed.failure is None:
            return
        words = tuple(
            Word(word.text, _s(word.start_samples), _s(word.end_samples), word.probability)
            for word in completed.words
        )
        self._results.append(
            Segment(
                start_s=words[0].start_s if words else _s(completed.start_samples),
                end_s=words[-1].end_s if words else _s(completed.end_samples),
                text=completed.transcript,
                language=completed.language,
                emotion=completed.emotion,
                words=words,
                failure=str(completed.failure) if completed.failure else None,
            )
        )

    def _report_progress(self) -> None:
        done_s = _s(self._fed_samples if self._ended else self._session.settled_samples)
        is_due = done_s >= self._reported_s + PROGRESS_S
        is_last = self._ended and done_s > self._reported_s
        if not is_due and not is_last:
            return
        self._reported_s = done_s
        if self._results and isinstance(self._results[-1], Progress):
            self._results.pop()
        self._results.append(Progress(done_s))


def _s(samples: int) -> float:
    return samples / SAMPLE_RATE
