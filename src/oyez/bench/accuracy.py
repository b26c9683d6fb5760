"""What is recognised in each clip: by oyez streaming, and by the same weights offline."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from faster_whisper import WhisperModel

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.driver import Transcript, transcribe
from oyez.bench.manifest import Clip
from oyez.bench.scoring import Faults, Score, Writing, find_faults, judge, score
from oyez.engines.base import (
    WINDOW_SAMPLES,
    Purpose,
    Recogniser,
    RecognitionError,
    Request,
    VoiceDetector,
)
from oyez.engines.whisper.tokens import whisper_code
from oyez.engines.whisper_ct2 import find_files
from oyez.files.media import MediaError, read_media
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart

BEAM_SIZE = 5
FIRST_S = (1, 2, 3)
TURN = "turn"
PARTS = (*(f"{seconds} s" for seconds in FIRST_S), TURN)
"""The parts of a turn whose language is detected: its first seconds of speech, or all of it."""
_EDGES = EndpointerSettings.from_wire(threshold=0.2, silence_duration_ms=800, prefix_padding_ms=300)
"""The settings of a session whose client sets nothing."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is computed for every clip."""

    hint_language: bool
    """Whether the client asks for the clip's language."""
    partials: bool
    detect: bool = False
    """Whether the language is also detected without a hint."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the text of a clip is."""

    score: Score
    faults: Faults
    writing: Writing


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What was recognised in one clip."""

    clip: Clip
    seconds: float
    """The length of the audio."""
    streaming: Transcript
    streaming_s: float
    """The processor time it took to compute."""
    offline: str | None
    offline_s: float
    detected: Mapping[str, str | None] = field(default_factory=dict)
    """What `detect` returned; empty also if it was not asked for."""

    @property
    def streaming_quality(self) -> Quality:
        """How good the streamed text is. Its writing counts each final by itself."""
        return self._quality(self.streaming.text, [text for text, _ in self.streaming.finals])

    @property
    def offline_quality(self) -> Quality:
        """How good the offline text is. Its writing counts the whole text as one."""
        return self._quality(self.offline or "", [self.offline or ""])

    def _quality(self, text: str, parts: Sequence[str]) -> Quality:
        reference, language = self.clip.reference or "", self.clip.language
        return Quality(
            score(reference, text, language or "en"),
            find_faults(reference, text, language or "en"),
            sum((judge(part, language) for part in parts if language), Writing()),
        )


class Offline:
    """The yardstick: faster-whisper on a whole file with the same weights, beam 5.

    model: a name as for `find_files`, which says what is raised.
    """

    def __init__(self, model: str, threads: int) -> None:
        files = find_files(model)
        contents = {"files": dict(files.contents)} if files.contents else {}
        self._model = WhisperModel(
            files.location, device="cpu", compute_type="int8", cpu_threads=threads, **contents
        )
        self._languages = set(self._model.hf_tokenizer.get_vocab())

    def transcribe(self, samples: Samples, language: str | None) -> str:
        """Return the text of a recording. language: one of LANGUAGES, or None to detect it."""
        segments, _ = self._model.transcribe(
            samples, language=self._code(language), beam_size=BEAM_SIZE
        )
        return "".join(segment.text for segment in segments)

    def _code(self, language: str | None) -> str | None:
        if language is None:
            return None
        code = whisper_code(language)
        return code if f"<|{code}|>" in self._languages else "zh"


def run(
    clips: Sequence[Clip],
    *,
    recogniser: Recogniser,
    detector: VoiceDetector,
    offline: Offline | None,
    options: Options,
    known: Mapping[str, str] | None = None,
) -> Iterator[ClipResult]:
    """Yield one result per clip, in order; progress goes to stderr.

    A clip that cannot be read is named on stderr and left out. known: offline texts by path, which
    are not computed again.
    """
    known = known or {}
    for number, clip in enumerate(clips, start=1):
        try:
            samples = read_media(clip.path)
        except (OSError, MediaError) as error:
            print(f"{clip.path}: {error}", file=sys.stderr)
            continue
        language = clip.language if options.hint_language else None
        start = time.process_time()
        streaming = transcribe(
            samples,
            recogniser=recogniser,
            detector=detector,
            language=language,
            partials=options.partials,
        )
        middle = time.process_time()
        text = known.get(str(clip.path))
        if text is None and offline:
            text = offline.transcribe(samples, language)
        end = time.process_time()
        asked = options.detect and clip.language is not None
        detected = detect(samples, recogniser=recogniser, detector=detector) if asked else {}
        print(f"\r{number}/{len(clips)} {clip.path.name:<60.60}", end="", file=sys.stderr)
        length_s = len(samples) / SAMPLE_RATE
        yield ClipResult(clip, length_s, streaming, middle - start, text, end - middle, detected)
    print(file=sys.stderr)


@dataclass(frozen=True, slots=True)
class FirstTurn:
    """A turn by its positions in a clip, in samples."""

    start: int
    """The beginning of the turn, a little before its speech."""
    onset: int
    """The beginning of the speech."""
    end: int
    """The end of the speech."""


def detect(
    samples: Samples, *, recogniser: Recogniser, detector: VoiceDetector
) -> dict[str, str | None]:
    """Return the language that the engine detects without a hint in the first turn, by PARTS.

    The engine is asked as for the first turn of a session. The language is one of LANGUAGES, or
    None if the engine failed. Parts that are longer than the turn are left out, and so are all if
    no turn has a second of speech. A turn longer than one request is cut.
    """
    turn = first_turn(samples, detector)
    if turn is None:
        return {}
    ends = {f"{seconds} s": turn.onset + seconds * SAMPLE_RATE for seconds in FIRST_S}
    ends = {part: end for part, end in ends.items() if end <= turn.end}
    ends[TURN] = min(turn.end, turn.start + recogniser.info.max_samples)
    return {part: _language(recogniser, samples[turn.start : end]) for part, end in ends.items()}


def first_turn(samples: Samples, detector: VoiceDetector) -> FirstTurn | None:
    """Return the first turn with a second from the beginning to the end of its speech."""
    whole = len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES
    probabilities, _ = detector.score(samples[:whole], detector.initial_state())
    edges = Endpointer(_EDGES)
    start = onset = 0
    found = [edge for probability in probabilities if (edge := edges.feed(float(probability)))]
    for edge in [*found, *edges.finish(len(samples))]:
        match edge:
            case TurnStart():
                start, onset = edge.at_samples, edge.onset_samples
            case TurnEnd() if edge.speech_end_samples - onset >= FIRST_S[0] * SAMPLE_RATE:
                return FirstTurn(start, onset, edge.speech_end_samples)
    return None


def _language(recogniser: Recogniser, samples: Samples) -> str | None:
    request = Request(np.ascontiguousarray(samples), Purpose.PARTIAL)
    (answer,) = recogniser.recognise([request])
    return None if isinstance(answer, RecognitionError) else answer.language
