"""Error rates per language: oyez streaming, and the same weights offline."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oyez.bench.driver import Transcript, transcribe
from oyez.bench.manifest import Clip
from oyez.bench.offline import Offline, read_audio
from oyez.bench.report import format_table, machine_line
from oyez.bench.scoring import BY_CHARACTER, Score, count_words, score
from oyez.recognisers.base import SAMPLE_RATE, Recogniser
from oyez.vad.base import VoiceDetector


@dataclass(frozen=True, slots=True)
class Options:
    hint_language: bool
    """Whether the client asks for the clip's language."""
    partials: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was heard in one clip."""

    clip: Clip
    seconds: float
    """Length of the audio."""
    streaming: Transcript
    streaming_s: float
    """Time it took to compute."""
    offline: str | None
    offline_s: float

    @property
    def streaming_score(self) -> Score:
        return self._score(self.streaming.text)

    @property
    def offline_score(self) -> Score:
        return self._score(self.offline or "")

    def _score(self, text: str) -> Score:
        return score(self.clip.reference or "", text, self.clip.language or "en")


def run(
    clips: Sequence[Clip],
    *,
    recogniser: Recogniser,
    detector: VoiceDetector,
    offline: Offline | None,
    options: Options,
) -> Iterator[Outcome]:
    """One outcome per clip, in order; progress goes to stderr. Clips that cannot be read are
    named there and left out."""
    for number, clip in enumerate(clips, start=1):
        try:
            samples = read_audio(clip.path)
        except (OSError, ValueError) as error:
            print(f"{clip.path}: {error}", file=sys.stderr)
            continue
        language = clip.language if options.hint_language else None
        start = time.perf_counter()
        streaming = transcribe(
            samples,
            recogniser=recogniser,
            detector=detector,
            language=language,
            partials=options.partials,
        )
        middle = time.perf_counter()
        text = offline.transcribe(samples, language) if offline else None
        end = time.perf_counter()
        print(f"\r{number}/{len(clips)} {clip.path.name:<60.60}", end="", file=sys.stderr)
        yield Outcome(
            clip, len(samples) / SAMPLE_RATE, streaming, middle - start, text, end - middle
        )
    print(file=sys.stderr)


def report(outcomes: Sequence[Outcome], options: Options) -> str:
    """The tables, as Markdown."""
    referenced = [o for o in outcomes if o.clip.has_speech and o.clip.reference]
    silent = [o for o in outcomes if not o.clip.has_speech]
    skipped = len(outcomes) - len(referenced) - len(silent)
    parts = [
        machine_line(),
        "",
        _rates(referenced, options),
        "",
        _notes(outcomes, skipped, options),
    ]
    if silent:
        parts += ["", _invented(silent)]
    return "\n".join(parts)


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Everything that was measured, clip by clip."""
    return [
        {
            "path": str(o.clip.path),
            "lang": o.clip.lang,
            "kind": o.clip.kind,
            "seconds": round(o.seconds, 3),
            "reference": o.clip.reference,
            "streaming": asdict(o.streaming) | {"language": o.streaming.language},
            "streaming_s": round(o.streaming_s, 3),
            "streaming_score": asdict(o.streaming_score),
            "offline": o.offline,
            "offline_s": round(o.offline_s, 3),
            "offline_score": asdict(o.offline_score),
        }
        for o in outcomes
    ]


def _rates(outcomes: Sequence[Outcome], options: Options) -> str:
    langs = sorted({o.clip.lang for o in outcomes})
    rows = [
        _rate_row(lang, [o for o in outcomes if o.clip.lang == lang], options) for lang in langs
    ]
    rows.append(_rate_row("all", outcomes, options))
    header = ["lang", "unit", "clips", "units", "streaming %", "sub", "del", "ins"]
    return format_table([*header, "offline %", "ratio", "language found"], rows)


def _rate_row(name: str, outcomes: Sequence[Outcome], options: Options) -> list[object]:
    streaming = sum((o.streaming_score for o in outcomes), Score())
    measured = all(o.offline is not None for o in outcomes)
    offline = sum((o.offline_score for o in outcomes), Score()) if measured else Score()
    units = {o.clip.language in BY_CHARACTER for o in outcomes}
    unit = "both" if len(units) == 2 else "char" if True in units else "word"
    counts = [streaming.substitutions, streaming.deletions, streaming.insertions]
    return [name, unit, len(outcomes), streaming.units, f"{100 * streaming.rate:.1f}", *counts,
            f"{100 * offline.rate:.1f}" if measured else "–",
            f"{streaming.rate / offline.rate:.2f}" if offline.errors else "–",
            "–" if options.hint_language else _found(outcomes)]  # fmt: skip


def _found(outcomes: Sequence[Outcome]) -> str:
    known = [o for o in outcomes if o.clip.language]
    right = sum(o.streaming.language == o.clip.language for o in known)
    return f"{right}/{len(known)}"


def _notes(outcomes: Sequence[Outcome], skipped: int, options: Options) -> str:
    audio_s = sum(o.seconds for o in outcomes)
    streaming_s = sum(o.streaming_s for o in outcomes)
    offline_s = sum(o.offline_s for o in outcomes)
    given = "given by the client" if options.hint_language else "detected"
    lines = [
        f"Language {given}. Clips without a reference, not scored: {skipped}. "
        f"Failed turns: {sum(len(o.streaming.failures) for o in outcomes)}.",
        f"Computing {audio_s:.0f} s of audio took {streaming_s:.0f} s streaming"
        + (" with partials" if options.partials else " (finals only)")
        + (f", {offline_s:.0f} s offline." if offline_s > 1 else "."),
    ]
    if options.partials:
        turns = sum(len(o.streaming.finals) for o in outcomes)
        retracted = sum(o.streaming.retractions for o in outcomes)
        reworded = sum(o.streaming.rewordings for o in outcomes)
        lines.append(
            f"Finals that differ from confirmed text: {retracted} of {turns}, in words: {reworded}."
        )
    return "\n".join(lines)


def _invented(outcomes: Sequence[Outcome]) -> str:
    header = ["no speech", "clips", "seconds", "words streaming", "words offline"]
    rows: list[list[object]] = []
    for kind in sorted({o.clip.kind for o in outcomes}):
        group = [o for o in outcomes if o.clip.kind == kind]
        measured = all(o.offline is not None for o in group)
        offline = sum(count_words(o.offline or "") for o in group) if measured else "–"
        streaming = sum(count_words(o.streaming.text) for o in group)
        rows.append([kind, len(group), round(sum(o.seconds for o in group)), streaming, offline])
    return format_table(header, rows)
