"""Runs the real pipeline in-process, as fast as the machine goes: session, voice activity
detector and engine, with every recognition answered at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.scoring import same_words
from oyez.engines.base import EmotionTracker, Purpose, Recogniser, VoiceDetector
from oyez.engines.emotion import Neutral
from oyez.protocol.client_events import (
    AudioAppend,
    AudioCommit,
    SessionFinish,
    SessionUpdate,
)
from oyez.protocol.effects import Effect, Recognise, Send
from oyez.protocol.limits import SessionLimits
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.server_events import (
    ErrorEvent,
    InterimText,
    SessionFinished,
    TranscriptionCompleted,
    TranscriptionFailed,
)
from oyez.protocol.session import Session
from oyez.runtime.inline_driver import InlineDriver
from oyez.runtime.session_runner import SessionRunner

PACKET_SAMPLES = SAMPLE_RATE // 10


@dataclass(slots=True)
class Transcript:
    """What a client receives for one recording."""

    text: str = ""
    """All finals joined."""
    finals: list[tuple[str, str]] = field(default_factory=list)
    """(text, language) of every turn, in order."""
    emotions: list[str] = field(default_factory=list)
    """One for every turn, in order."""
    failures: list[str] = field(default_factory=list)
    interims: int = 0
    retractions: int = 0
    """Finals that do not begin with the last confirmed text that was shown."""
    rewordings: int = 0
    """Finals that do not begin with the words of that text either."""

    @property
    def language(self) -> str | None:
        """The language that most of the text is in; None without text."""
        lengths: dict[str, int] = {}
        for text, language in self.finals:
            lengths[language] = lengths.get(language, 0) + len(text)
        spoken = {language: length for language, length in lengths.items() if length}
        return max(spoken, key=spoken.__getitem__) if spoken else None


def transcribe(
    samples: Samples,
    *,
    recogniser: Recogniser,
    detector: VoiceDetector,
    language: str | None = None,
    partials: bool = False,
    context: str = "",
    emotions: EmotionTracker | None = None,
) -> Transcript:
    """Stream a recording in packets of 100 ms through a session of its own.

    samples: float32 [n], 16 kHz. language: what the client asks for, if anything.
    partials: whether partial results are computed; finals are the same either way. context: names
    and terms the client gives.

    Raises RuntimeError if the session refuses what it is sent.
    """
    return _Stream(recogniser, detector, partials, emotions).transcribe(samples, language, context)


def transcribe_utterances(
    utterances: Sequence[Samples], *, recogniser: Recogniser, detector: VoiceDetector
) -> Transcript:
    """Stream utterances through one session and commit each, so that each has a final. No
    language is asked for. Raises RuntimeError as `transcribe` does."""
    return _Stream(recogniser, detector, partials=False).transcribe_committed(utterances)


class _Stream(InlineDriver):
    """One recording on its way through a session; every job is answered at once."""

    def __init__(
        self,
        recogniser: Recogniser,
        detector: VoiceDetector,
        partials: bool,
        emotions: EmotionTracker | None = None,
    ) -> None:
        numbers = itertools.count(1)
        limits = SessionLimits()
        session = Session(
            model="bench",
            dialect=QwenDialect(limits),
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            limits=limits,
            emotions=emotions or Neutral(),
            now_ms=0,
        )
        super().__init__(session, detector)
        self._recogniser = recogniser
        self._partials = partials
        self._shown: dict[str, str] = {}
        self._now_ms = 0
        self._transcript = Transcript()
        self.runner.open()

    def transcribe(self, samples: Samples, language: str | None, context: str) -> Transcript:
        if language or context:
            asked = {"language": language, "corpus": {"text": context}}
            self.receive(SessionUpdate(None, {"input_audio_transcription": asked}))
        self._append(samples)
        self.receive(SessionFinish(None))
        return self._transcript

    def transcribe_committed(self, utterances: Sequence[Samples]) -> Transcript:
        self.receive(SessionUpdate(None, {"turn_detection": None}))
        for samples in utterances:
            self._append(samples)
            self.receive(AudioCommit(None))
        self.receive(SessionFinish(None))
        return self._transcript

    def _append(self, samples: Samples) -> None:
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
        for start in range(0, len(pcm), PACKET_SAMPLES):
            self._now_ms += 100
            packet = pcm[start : start + PACKET_SAMPLES].tobytes()
            self.receive(AudioAppend(None, packet))

    def clock_ms(self) -> int:
        return self._now_ms

    def submit(self, effect: Recognise, runner: SessionRunner) -> None:
        if self._partials or effect.request.purpose is Purpose.FINAL:
            super().submit(effect, runner)

    def answer_jobs(self) -> None:
        while self.jobs:
            job = self.jobs.popleft()
            (answer,) = self._recogniser.recognise([job.request])
            self.runner.answered(job.job, answer)

    def take(self, effect: Effect) -> None:
        match effect:
            case Send(InterimText() as event):
                self._transcript.interims += 1
                self._shown[event.item_id] = event.text
            case Send(TranscriptionCompleted() as event):
                shown = self._shown.pop(event.item_id, "")
                self._transcript.retractions += not event.transcript.startswith(shown)
                self._transcript.rewordings += not same_words(shown, event.transcript)
                self._transcript.finals.append((event.transcript, event.language))
                self._transcript.emotions.append(event.emotion)
            case Send(TranscriptionFailed() as event):
                self._transcript.failures.append(event.error.message)
            case Send(SessionFinished() as event):
                self._transcript.text = event.transcript
            case Send(ErrorEvent() as event):
                raise RuntimeError(event.error.message)
