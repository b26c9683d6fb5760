"""One file on its way: feeds a session as fast as there is room, and carries out its effects."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from typing import Any

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.engines.base import AudioChunk, EmotionTracker, Purpose, Scores
from oyez.files.media import run_blocking
from oyez.files.results import Options, Partial, Progress, Result, Segment, TranscriptionError, Word
from oyez.protocol.effects import Cancel, Completed, Effect, Recognise, Send
from oyez.protocol.limits import SessionLimits
from oyez.protocol.server_events import ErrorEvent, InterimText, SessionFinished
from oyez.protocol.session import Session
from oyez.runtime.job import MAX_FINALS, Job, Outcome, Overloaded, Stopped, Urgency
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.vad_batcher import MAX_WINDOWS, VadPool

PATIENCE_S = 10.0
"""When an answer is wanted: files among themselves are served in the order they came."""
RETRY_S = 0.5
"""A final that found the queue full, or was pushed out of it, waits so long and tries again: a file
is in no hurry."""
PROGRESS_S = 1.0
MAX_RESULTS = 64
"""Results nobody has taken yet, before the file is read on."""

Blocks = Iterator[Samples] | AsyncIterator[Samples]
"""Audio, float32 [n] at 16 kHz. A plain iterator may block: it is asked in a thread."""


class Observer:
    """Is told of what a run does; this one does not care. What it raises ends the run."""

    def heard(self, samples: int) -> None:
        """So much audio is about to be taken in."""

    def completed(self, item: Completed) -> None:
        """A turn is over, whether or not anything was said in it."""


class Run:
    """A `Hearer`. Event loop only. `feed` it in a task, take its `results`, then `cancel`."""

    def __init__(
        self,
        owner: str,
        options: Options,
        scheduler: Scheduler,
        vad_pool: VadPool,
        emotions: EmotionTracker,
        max_backlog_s: float,
        observer: Observer,
        tenant: Hashable = None,
    ) -> None:
        """tenant: as in `Job`."""
        self._owner = owner
        self._tenant = tenant
        self._options = options
        self._scheduler = scheduler
        self._vad_pool = vad_pool
        self._vad_state = vad_pool.initial_state()
        self._observer = observer
        self._max_backlog_samples = max_backlog_s * SAMPLE_RATE
        self._loop = asyncio.get_running_loop()
        numbers = itertools.count(1)
        self._session = Session(
            model="",
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            limits=SessionLimits(live=options.live, languages=options.languages),
            emotions=emotions,
            now_ms=0,
        )
        self._jobs: dict[int, Job] = {}
        self._results: deque[Result] = deque()
        self._changed = asyncio.Event()
        self._asked = False
        self._ended = False
        self._error: BaseException | None = None
        self._fed_samples = 0
        self._told_s = 0.0

    async def feed(self, blocks: Blocks) -> None:
        """Hand over all audio, as there is room. What goes wrong is raised by `results`."""
        try:
            self._receive({"type": "session.update", "session": self._update()})
            while (block := await self._next(blocks)) is not None:
                await self._until(lambda: self._ended or self._has_room)
                self._observer.heard(len(block))
                self._fed_samples += len(block)
                audio = base64.b64encode(_pcm(block)).decode()
                self._receive({"type": "input_audio_buffer.append", "audio": audio})
            self._receive({"type": "session.finish"})
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is to know
            self._fail(error)

    async def results(self) -> AsyncIterator[Result]:
        """Everything that comes of it, until all audio is done."""
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
        """Nothing more of it is wanted."""
        self._ended = True
        for job in self._jobs.values():
            self._scheduler.cancel(job)
        self._jobs.clear()
        self._changed.set()

    def next_stretch(self) -> AudioChunk | None:
        self._asked = False
        try:
            while not self._ended:
                windows = self._session.next_windows(MAX_WINDOWS)
                if windows is None or len(windows):
                    return None if windows is None else (windows, self._vad_state)
                self._do(self._session.scored, windows)
        except Exception as error:  # noqa: BLE001 - our bug ends this file and nothing else
            self._fail(error)
        return None

    def scored(self, outcome: Scores | Exception) -> None:
        if isinstance(outcome, Exception):
            return self._fail(outcome)
        probabilities, self._vad_state = outcome
        self._do(self._session.scored, probabilities)

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
        behind = self._session.backlog_samples > self._max_backlog_samples and bool(self._jobs)
        many = sum(not job.is_partial for job in self._jobs.values()) >= MAX_FINALS
        return not (behind or many or self._session.busy or len(self._results) >= MAX_RESULTS)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _next(self, blocks: Blocks) -> Samples | None:
        if isinstance(blocks, AsyncIterator):
            return await anext(blocks, None)
        return await run_blocking(next, blocks, None)

    def _receive(self, event: dict[str, object]) -> None:
        self._do(self._session.receive, json.dumps(event))

    def _do(self, method: Callable[..., list[Effect]], *arguments: Any) -> None:
        """Call the session with these arguments, and do what it asks for. No time passes for it:
        nothing of a file is late."""
        if self._ended:
            return
        try:
            self._carry_out(method(*arguments, 0))
        except Exception as error:  # noqa: BLE001 - our bug ends this file and nothing else
            return self._fail(error)
        self._tell_progress()
        self._changed.set()
        if self._session.busy and not self._asked and not self._ended:
            self._asked = True
            self._vad_pool.ask_turn(self, behind=True)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Recognise():
                    self._submit(effect)
                case Cancel(number):
                    if job := self._jobs.pop(number, None):
                        self._scheduler.cancel(job)
                case Completed():
                    self._observer.completed(effect)
                    self._tell_segment(effect)
                case Send(InterimText() as interim):
                    self._results.append(Partial(interim.text, interim.stash, interim.language))
                case Send(ErrorEvent() as event):
                    raise TranscriptionError(event.error.message)
                case Send(SessionFinished()):
                    self._ended = True

    def _submit(self, effect: Recognise) -> None:
        number = effect.job
        is_partial = effect.request.purpose is Purpose.PARTIAL
        job = Job(
            owner=self._owner,
            item=effect.item_id,
            segment=effect.window,
            request=effect.request,
            urgency=Urgency.BACKGROUND,
            deadline_s=time.monotonic() + PATIENCE_S,
            callback=lambda outcome: self._hand_over(number, outcome),
            is_replaceable=is_partial or effect.speculative,
            interval_s=effect.due_s,
            is_realtime=False,
            tenant=self._tenant,
        )
        self._jobs[number] = job
        self._try(number)

    def _try(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is None:
            return
        if job.is_replaceable and any(
            later > number and other.key == job.key for later, other in self._jobs.items()
        ):
            del self._jobs[number]  # what came later has taken its place
            return
        try:
            replaced = self._scheduler.submit(job)
        except Overloaded:
            self._loop.call_later(RETRY_S, self._try, number)
        except Stopped as error:
            self._fail(error)
        else:
            for other in [n for n, job in self._jobs.items() if job is replaced]:
                del self._jobs[other]

    def _hand_over(self, number: int, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._answered, number, outcome)

    def _answered(self, number: int, outcome: Outcome) -> None:
        if isinstance(outcome, Overloaded):
            self._loop.call_later(RETRY_S, self._try, number)
            return
        if self._jobs.pop(number, None) is None:
            return
        if isinstance(outcome, Stopped):
            return self._fail(outcome)
        self._do(self._session.recognised, number, outcome)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.cancel()

    def _tell_segment(self, completed: Completed) -> None:
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

    def _tell_progress(self) -> None:
        done_s = _s(self._fed_samples if self._ended else self._session.settled_samples)
        if done_s < self._told_s + PROGRESS_S and not (self._ended and done_s > self._told_s):
            return
        self._told_s = done_s
        if self._results and isinstance(self._results[-1], Progress):
            self._results.pop()
        self._results.append(Progress(done_s))


def _s(samples: int) -> float:
    return samples / SAMPLE_RATE


def _pcm(block: Samples) -> bytes:
    return samples_to_pcm16(block).tobytes()
