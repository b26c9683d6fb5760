"""What is heard in each clip: by oyez streaming, and by the same weights offline."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.detection import detect
from oyez.bench.driver import Transcript, transcribe
from oyez.bench.faults import Faults, find_faults
from oyez.bench.manifest import Clip
from oyez.bench.offline import Offline
from oyez.bench.scoring import Score, score
from oyez.bench.writing import Writing, judge
from oyez.engines.base import Recogniser, VoiceDetector
from oyez.files.media import MediaError, read_media


@dataclass(frozen=True, slots=True)
class Options:
    hint_language: bool
    """Whether the client asks for the clip's language."""
    partials: bool
    detect: bool = False
    """Whether the language is also to be found without a hint."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was heard in one clip."""

    clip: Clip
    seconds: float
    """Length of the audio."""
    streaming: Transcript
    streaming_s: float
    """Processor time it took to compute."""
    offline: str | None
    offline_s: float
    detected: Mapping[str, str | None] = field(default_factory=dict)
    """See `detect`; empty also where it was not asked for."""

    @property
    def streaming_score(self) -> Score:
        return self._score(self.streaming.text)

    @property
    def offline_score(self) -> Score:
        return self._score(self.offline or "")

    @property
    def streaming_faults(self) -> Faults:
        return self._find_faults(self.streaming.text)

    @property
    def offline_faults(self) -> Faults:
        return self._find_faults(self.offline or "")

    @property
    def streaming_writing(self) -> Writing:
        """Of all finals, each by itself."""
        return sum((self._judge(text) for text, _ in self.streaming.finals), Writing())

    @property
    def offline_writing(self) -> Writing:
        """Of the whole text as one."""
        return self._judge(self.offline or "")

    def _score(self, text: str) -> Score:
        return score(self.clip.reference or "", text, self.clip.language or "en")

    def _find_faults(self, text: str) -> Faults:
        return find_faults(self.clip.reference or "", text, self.clip.language or "en")

    def _judge(self, text: str) -> Writing:
        return judge(text, self.clip.language) if self.clip.language else Writing()


def run(
    clips: Sequence[Clip],
    *,
    recogniser: Recogniser,
    detector: VoiceDetector,
    offline: Offline | None,
    options: Options,
    known: Mapping[str, str] | None = None,
) -> Iterator[Outcome]:
    """One outcome per clip, in order; progress goes to stderr. Clips that cannot be read are
    named there and left out.

    known: offline texts by path, which are not computed again.
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
        yield Outcome(clip, length_s, streaming, middle - start, text, end - middle, detected)
    print(file=sys.stderr)
