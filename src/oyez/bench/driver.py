"""Runs the real pipeline in-process, as fast as the machine goes: session, voice activity
detector and engine, with every recognition answered at once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.clips import PACKET_S, packets
from oyez.bench.scoring import same_words
from oyez.engines.base import (
    WINDOW_SAMPLES,
    EmotionTracker,
    Purpose,
    Recogniser,
    RecognitionError,
    Request,
    VoiceDetector,
)
from oyez.engines.emotion import Neutral
from oyez.protocol.client_events import AudioAppend, AudioCommit, SessionFinish, SessionUpdate
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.effects import Effect, Recognise, Send
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.server_events import (
    ErrorEvent,
    InterimText,
    SessionFinished,
    TranscriptionCompleted,
    TranscriptionFailed,
)
from oyez.protocol.session import Session
from oyez.runtime.session_runner import InlineDriver, SessionRunner
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart

FIRST_S = (1, 2, 3)
TURN = "turn"
PARTS = (*(f"{seconds} s" for seconds in FIRST_S), TURN)
"""The parts of a turn whose language is detected: its first seconds of speech, or all of it."""
_EDGES = EndpointerSettings.from_wire(threshold=0.2, silence_duration_ms=800, prefix_padding_ms=300)
"""The settings of a session whose client sets nothing."""


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
        lengths: Counter[str] = Counter()
        for text, language in self.finals:
            lengths[language] += len(text)
        return max(lengths, key=lengths.__getitem__) if lengths.total() else None


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

    samples: float32 [n], 16 kHz. language: what the client requests, or None. partials: whether
    partial results are computed; finals are the same either way. context: names and terms that the
    client gives. Raises RuntimeError if the session refuses what it is sent.
    """
    stream = _Stream(recogniser, detector, partials, emotions)
    if language or context:
        options = {"language": language, "corpus": {"text": context}}
        stream.receive(SessionUpdate(None, {"input_audio_transcription": options}))
    stream.append(samples)
    stream.receive(SessionFinish(None))
    return stream.transcript


def transcribe_utterances(
    utterances: Sequence[Samples], *, recogniser: Recogniser, detector: VoiceDetector
) -> Transcript:
    """Stream utterances through one session and commit each, so that each has a final. No
    language is requested. Raises RuntimeError as `transcribe` does."""
    stream = _Stream(recogniser, detector)
    stream.receive(SessionUpdate(None, {"turn_detection": None}))
    for samples in utterances:
        stream.append(samples)
        stream.receive(AudioCommit(None))
    stream.receive(SessionFinish(None))
    return stream.transcript


def detect_language(
    samples: Samples, *, recogniser: Recogniser, detector: VoiceDetector
) -> dict[str, str | None]:
    """Return the language that the engine detects without a hint in the first turn, by PARTS.

    The engine is called as for the first turn of a session. The language is one of LANGUAGES, or
    None if the engine failed. Parts that are longer than the turn are left out, and so are all if
    no turn has a second of speech. A turn longer than one request is cut.
    """
    turn = first_turn(samples, detector)
    if turn is None:
        return {}
    start, speech_end = turn[0].at_samples, turn[1].speech_end_samples
    ends = {f"{each} s": turn[0].onset_samples + each * SAMPLE_RATE for each in FIRST_S}
    ends = {part: end for part, end in ends.items() if end <= speech_end}
    ends[TURN] = min(speech_end, start + recogniser.info.max_samples)
    found: dict[str, str | None] = {}
    for part, end in ends.items():
        (answer,) = recogniser.recognise([Request(samples[start:end], Purpose.PARTIAL)])
        found[part] = None if isinstance(answer, RecognitionError) else answer.language
    return found


def first_turn(samples: Samples, detector: VoiceDetector) -> tuple[TurnStart, TurnEnd] | None:
    """Return the edges of the first turn with a second from the beginning to the end of its
    speech."""
    whole = len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES
    probabilities, _ = detector.score(samples[:whole], detector.initial_state())
    edges = Endpointer(_EDGES)
    found = [edge for probability in probabilities if (edge := edges.feed(float(probability)))]
    start: TurnStart | None = None
    for edge in [*found, *edges.finish(len(samples))]:
        if isinstance(edge, TurnStart):
            start = edge
        elif start and edge.speech_end_samples - start.onset_samples >= FIRST_S[0] * SAMPLE_RATE:
            return start, edge
    return None


class _Stream(InlineDriver):
    """One recording on its way through a session; every job is answered at once."""

    def __init__(
        self,
        recogniser: Recogniser,
        detector: VoiceDetector,
        partials: bool = False,
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
        self.transcript = Transcript()
        self._recogniser = recogniser
        self._partials = partials
        self._shown: dict[str, str] = {}
        self._now_ms = 0
        self.runner.open()

    def append(self, samples: Samples) -> None:
        for packet in packets(samples):
            self._now_ms += round(1000 * PACKET_S)
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
                self.transcript.interims += 1
                self._shown[event.item_id] = event.text
            case Send(TranscriptionCompleted() as event):
                shown = self._shown.pop(event.item_id, "")
                self.transcript.retractions += not event.transcript.startswith(shown)
                self.transcript.rewordings += not same_words(shown, event.transcript)
                self.transcript.finals.append((event.transcript, event.language))
                self.transcript.emotions.append(event.emotion)
            case Send(TranscriptionFailed() as event):
                self.transcript.failures.append(event.error.message)
            case Send(SessionFinished() as event):
                self.transcript.text = event.transcript
            case Send(ErrorEvent() as event):
                raise RuntimeError(event.error.message)
