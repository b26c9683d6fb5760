"""Runs the real pipeline in-process, as fast as the machine goes: session, voice activity
detector and engine, with every recognition answered at once."""

from __future__ import annotations

import base64
import itertools
import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.scoring import same_words
from oyez.engines.base import EmotionTracker, Purpose, Recogniser, VoiceDetector
from oyez.engines.emotion.linear import Neutral
from oyez.protocol.effects import Cancel, Effect, Recognise, Send
from oyez.protocol.limits import SessionLimits
from oyez.protocol.server_events import (
    ErrorEvent,
    InterimText,
    ServerEvent,
    SessionFinished,
    TranscriptionCompleted,
    TranscriptionFailed,
)
from oyez.protocol.session import Session

PACKET_SAMPLES = SAMPLE_RATE // 10
MAX_WINDOWS = 64


@dataclass(slots=True)
class Transcript:
    """What a client was told about one recording."""

    text: str = ""
    """All finals joined."""
    finals: list[tuple[str, str]] = field(default_factory=list)
    """(text, language) of every turn, in order."""
    emotions: list[str] = field(default_factory=list)
    """Of every turn, in order."""
    failures: list[str] = field(default_factory=list)
    interims: int = 0
    retractions: int = 0
    """Finals that do not begin with the last confirmed text shown …"""
    rewordings: int = 0
    """… nor with its words."""

    @property
    def language(self) -> str | None:
        """The language most of the text is in; None without text."""
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
    return _Stream(recogniser, detector, partials, emotions).run(samples, language, context)


def transcribe_utterances(
    utterances: Sequence[Samples], *, recogniser: Recogniser, detector: VoiceDetector
) -> Transcript:
    """Stream utterances through one session and commit each, so that each has a final. No
    language is asked for. Raises RuntimeError as `transcribe` does."""
    return _Stream(recogniser, detector, partials=False).run_committed(utterances)


class _Stream:
    def __init__(
        self,
        recogniser: Recogniser,
        detector: VoiceDetector,
        partials: bool,
        emotions: EmotionTracker | None = None,
    ) -> None:
        numbers = itertools.count(1)
        self._recogniser = recogniser
        self._detector = detector
        self._detector_state = detector.initial_state()
        self._partials = partials
        self._jobs: deque[Recognise] = deque()
        self._shown: dict[str, str] = {}
        self._now_ms = 0
        self._transcript = Transcript()
        self._session = Session(
            model="bench",
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            limits=SessionLimits(),
            emotions=emotions or Neutral(),
            now_ms=0,
        )

    def run(self, samples: Samples, language: str | None, context: str) -> Transcript:
        self._run(self._session.open())
        if language or context:
            asked = {"language": language, "corpus": {"text": context}}
            self._send("session.update", session={"input_audio_transcription": asked})
        self._append(samples)
        self._send("session.finish")
        return self._transcript

    def run_committed(self, utterances: Sequence[Samples]) -> Transcript:
        self._run(self._session.open())
        self._send("session.update", session={"turn_detection": None})
        for samples in utterances:
            self._append(samples)
            self._send("input_audio_buffer.commit")
        self._send("session.finish")
        return self._transcript

    def _append(self, samples: Samples) -> None:
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
        for start in range(0, len(pcm), PACKET_SAMPLES):
            packet = pcm[start : start + PACKET_SAMPLES].tobytes()
            self._now_ms += 100
            self._send("input_audio_buffer.append", audio=base64.b64encode(packet).decode())

    def _send(self, event_type: str, **fields: object) -> None:
        message = json.dumps({"event_id": "bench", "type": event_type, **fields})
        self._run(self._session.receive(message, self._now_ms))
        while (windows := self._session.next_windows(MAX_WINDOWS)) is not None:
            probabilities, self._detector_state = self._detector.score(
                windows, self._detector_state
            )
            self._run(self._session.scored(probabilities, self._now_ms))

    def _run(self, effects: Iterable[Effect]) -> None:
        self._carry_out(effects)
        while self._jobs:
            effect = self._jobs.popleft()
            (answer,) = self._recogniser.recognise([effect.request])
            self._carry_out(self._session.recognised(effect.job, answer, self._now_ms))

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(event):
                    self._take_note(event)
                case Recognise(request=request):
                    if self._partials or request.purpose is Purpose.FINAL:
                        self._jobs.append(effect)
                case Cancel(job):
                    self._jobs = deque(waiting for waiting in self._jobs if waiting.job != job)
                case _:
                    pass

    def _take_note(self, event: ServerEvent) -> None:
        match event:
            case InterimText():
                self._transcript.interims += 1
                self._shown[event.item_id] = event.text
            case TranscriptionCompleted():
                shown = self._shown.pop(event.item_id, "")
                self._transcript.retractions += not event.transcript.startswith(shown)
                self._transcript.rewordings += not same_words(shown, event.transcript)
                self._transcript.finals.append((event.transcript, event.language))
                self._transcript.emotions.append(event.emotion)
            case TranscriptionFailed():
                self._transcript.failures.append(event.error.message)
            case SessionFinished():
                self._transcript.text = event.transcript
            case ErrorEvent():
                raise RuntimeError(event.error.message)
            case _:
                pass
