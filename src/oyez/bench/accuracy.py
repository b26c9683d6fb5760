"""What is recognised in each clip: by oyez streaming, and by the same weights offline."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from faster_whisper import WhisperModel

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.clips import Clip
from oyez.bench.driver import PARTS, TURN, Transcript, detect_language, transcribe
from oyez.bench.options import load_engines, read_clips, write_json
from oyez.bench.report import NO_VALUE, format_table, machine_line, percent, progress
from oyez.bench.scoring import (
    BY_CHARACTER,
    LEFT_OUT_CHARACTERS,
    LEFT_OUT_WORDS,
    LONG_CHARACTERS,
    Quality,
    assess,
    count_words,
)
from oyez.engines.base import Recogniser, VoiceDetector
from oyez.engines.whisper.tokens import whisper_code
from oyez.engines.whisper.weights import WeightsError
from oyez.engines.whisper_ct2 import find_files
from oyez.files.media import MediaError, read_media

BEAM_SIZE = 5
MOST_TAKEN_FOR = 3
MOST_CONFUSED = 10
NOTHING = "nothing"
"""Shown as the language if the engine failed."""

Offline = Callable[[Samples, str | None], str]
"""Recognises a whole recording, in one of LANGUAGES or in the one that it detects."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is computed for every clip."""

    hint_language: bool
    """Whether the client requests the clip's language."""
    partials: bool
    detect: bool = False
    """Whether the language is also detected without a hint."""


@dataclass(frozen=True)
class ClipResult:
    """What was recognised in one clip. Times are of the processor."""

    clip: Clip
    seconds: float
    """The length of the audio."""
    streaming: Transcript
    streaming_s: float
    offline: str | None
    offline_s: float
    detected: Mapping[str, str | None]
    """What `detect_language` returned; empty also if it was not called."""

    @cached_property
    def streaming_quality(self) -> Quality:
        """How good the streamed text is. Its writing counts each final by itself."""
        finals = [text for text, _ in self.streaming.finals]
        return assess(self.clip.reference, self.streaming.text, finals, self.clip.language)

    @cached_property
    def offline_quality(self) -> Quality:
        """How good the offline text is. Its writing counts the whole text as one."""
        text = self.offline or ""
        return assess(self.clip.reference, text, [text], self.clip.language)

    def as_json(self) -> dict[str, Any]:
        """Return everything that was measured."""
        ours, theirs = asdict(self.streaming_quality), asdict(self.offline_quality)
        return {
            "path": str(self.clip.path),
            **{name: getattr(self.clip, name) for name in ("lang", "kind", "reference")},
            "seconds": round(self.seconds, 3),
            "streaming": asdict(self.streaming) | {"language": self.streaming.language},
            "streaming_s": round(self.streaming_s, 3),
            **{f"streaming_{name}": counts for name, counts in ours.items()},
            "offline": self.offline,
            "offline_s": round(self.offline_s, 3),
            **{f"offline_{name}": counts for name, counts in theirs.items()},
            "detected": dict(self.detected),
        }


def load_offline(model: str, threads: int) -> Offline:
    """Load what streaming is compared with: faster-whisper, beam 5, with the same weights.

    model: a name as for `find_files`, which says what is raised.
    """
    files = find_files(model)
    contents = {"files": dict(files.contents)} if files.contents else {}
    whisper = WhisperModel(
        files.location, device="cpu", compute_type="int8", cpu_threads=threads, **contents
    )
    known = whisper.hf_tokenizer.get_vocab()

    def transcribe_offline(samples: Samples, language: str | None) -> str:
        code = whisper_code(language) if language else None
        if code and f"<|{code}|>" not in known:
            code = "zh"
        segments, _ = whisper.transcribe(samples, language=code, beam_size=BEAM_SIZE)
        return "".join(segment.text for segment in segments)

    return transcribe_offline


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
    for number, clip in enumerate(clips, start=1):
        progress(f"{number}/{len(clips)} {clip.path.name}")
        try:
            samples = read_media(clip.path)
        except (OSError, MediaError) as error:
            click.echo(f"\r{clip.path}: {error}", err=True)
            continue
        language = clip.language if options.hint_language else None
        start_s = time.process_time()
        streaming = transcribe(
            samples,
            recogniser=recogniser,
            detector=detector,
            language=language,
            partials=options.partials,
        )
        streaming_s = time.process_time() - start_s
        text = (known or {}).get(str(clip.path))
        if text is None and offline:
            text = offline(samples, language)
        offline_s = time.process_time() - start_s - streaming_s
        detected: dict[str, str | None] = {}
        if options.detect and clip.language:
            detected = detect_language(samples, recogniser=recogniser, detector=detector)
        seconds = len(samples) / SAMPLE_RATE
        yield ClipResult(clip, seconds, streaming, streaming_s, text, offline_s, detected)
    progress("")


@dataclass(frozen=True)
class _Group:
    """The results that one line of a table shows."""

    name: str
    results: Sequence[ClipResult]

    @cached_property
    def ours(self) -> Quality:
        return sum((each.streaming_quality for each in self.results), Quality())

    @cached_property
    def theirs(self) -> Quality | None:
        """The quality offline; None if it was not computed for every clip."""
        if not self.results or any(each.offline is None for each in self.results):
            return None
        return sum((each.offline_quality for each in self.results), Quality())

    def cells(self, shown: Callable[[Quality], Sequence[object]]) -> list[object]:
        """Return the cells of streaming and offline; dashes for what is missing."""
        own = shown(self.ours)
        return [*own, *(shown(self.theirs) if self.theirs else [NO_VALUE] * len(own))]


def _groups(results: Sequence[ClipResult], by: str = "lang") -> list[_Group]:
    names = sorted({getattr(each.clip, by) for each in results})
    return [
        _Group(name, [each for each in results if getattr(each.clip, by) == name]) for name in names
    ]


def _with_all(results: Sequence[ClipResult]) -> list[_Group]:
    return [*_groups(results), _Group("all", results)]


def report(results: Sequence[ClipResult], options: Options) -> str:
    """Return the tables as Markdown."""
    spoken = [each for each in results if each.clip.has_speech]
    referenced = [each for each in spoken if each.clip.reference]
    silent = [each for each in results if not each.clip.has_speech]
    parts = [
        machine_line(),
        _rates(referenced, options),
        _notes(results, len(spoken) - len(referenced), options),
        _writing([each for each in spoken if each.clip.language]),
    ]
    if options.detect:
        parts.append(_detection([each for each in spoken if each.detected]))
    if silent:
        parts.append(_invented(silent))
    parts.append(_faults(spoken))
    return "\n\n".join(parts)


def _rates(results: Sequence[ClipResult], options: Options) -> str:
    def shown(quality: Quality) -> list[object]:
        found = quality.score
        kinds = f"{found.substitutions}/{found.deletions}/{found.insertions}"
        return [percent(found.errors, found.units), kinds]

    rows = []
    for group in _with_all(results):
        ours, theirs = group.ours.score, group.theirs and group.theirs.score
        ratio = f"{ours.rate / theirs.rate:.2f}" if theirs and theirs.errors else NO_VALUE
        units = {each.clip.language in BY_CHARACTER for each in group.results}
        unit = "both" if len(units) == 2 else "char" if True in units else "word"
        row = [group.name, unit, len(group.results), ours.units, *group.cells(shown), ratio]
        if not options.hint_language:
            found = [
                each.streaming.language == each.clip.language
                for each in group.results
                if each.clip.language
            ]
            row.append(f"{sum(found)}/{len(found)}")
        rows.append(row)
    header = ["lang", "unit", "clips", "units", "streaming %", "sub/del/ins", "offline %"]
    header += ["sub/del/ins", "ratio", *([] if options.hint_language else ["language found"])]
    return format_table(header, rows)


def _notes(results: Sequence[ClipResult], skipped: int, options: Options) -> str:
    audio_s = sum(each.seconds for each in results)
    offline_s = sum(each.offline_s for each in results)
    lines = [
        f"Language {'given by the client' if options.hint_language else 'detected'}. "
        f"Clips without a reference, not scored: {skipped}. "
        f"Failed turns: {sum(len(each.streaming.failures) for each in results)}.",
        f"Computing {audio_s:.0f} s of audio took "
        f"{sum(each.streaming_s for each in results):.0f} CPU seconds streaming"
        + (" with partials" if options.partials else " (finals only)")
        + (f", {offline_s:.0f} s offline." if offline_s > 1 else "."),
    ]
    if options.partials:
        turns = sum(len(each.streaming.finals) for each in results)
        retracted = sum(each.streaming.retractions for each in results)
        reworded = sum(each.streaming.rewordings for each in results)
        lines.append(
            f"Finals that differ from confirmed text: {retracted} of {turns}, in words: {reworded}."
        )
    return "\n".join(lines)


def _writing(results: Sequence[ClipResult]) -> str:
    def shown(quality: Quality) -> list[object]:
        found = quality.writing
        closed, divided = percent(found.closed, found.closable), percent(found.divided, found.long)
        return [found.texts, closed, divided, percent(found.wrong_script, found.texts)]

    columns = ["end mark %", "inner mark %", "wrong script %"]
    rows = [[group.name, *group.cells(shown)] for group in _with_all(results)]
    return (
        f"{format_table(['lang', 'finals', *columns, 'offline texts', *columns], rows)}\n\n"
        "End mark: one of the language's own kind; Thai has none. Inner mark: of Chinese and\n"
        f"Japanese texts of {LONG_CHARACTERS} characters or more, those with a mark inside. "
        "Wrong script: most\nwords are of another script, or a Chinese character is simplified "
        "or traditional where\nit should not be."
    )


def _detection(results: Sequence[ClipResult]) -> str:
    def right(results: Sequence[ClipResult], part: str) -> tuple[int, int]:
        found = [each for each in results if part in each.detected]
        return sum(each.detected[part] == each.clip.language for each in found), len(found)

    def wrong(results: Sequence[ClipResult], part: str) -> list[tuple[str | None, str]]:
        found = [(each.clip.language, each.detected.get(part, "")) for each in results]
        return [(spoken, each or NOTHING) for spoken, each in found if each not in ("", spoken)]

    rows: list[list[object]] = []
    for group in _with_all(results):
        counts = ["{}/{}".format(*right(group.results, part)) for part in PARTS]
        for part in (PARTS[0], TURN):
            others = Counter(found for _, found in wrong(group.results, part))
            common = (f"{found} {count}" for found, count in others.most_common(MOST_TAKEN_FOR))
            counts.append(", ".join(common) or NO_VALUE)
        rows.append([group.name, *counts])
    pairs = Counter(f"{spoken} as {found}" for spoken, found in wrong(results, TURN))
    confused = ", ".join(f"{pair} {count}" for pair, count in pairs.most_common(MOST_CONFUSED))
    shares = (f"{part} {percent(*right(results, part))} %" for part in PARTS)
    header = ["lang", *PARTS, f"{PARTS[0]} taken for", f"{TURN} taken for"]
    return (
        f"{format_table(header, rows)}\n\n"
        "Language detected without a hint in the first turn, where it is as long: right/all.\n"
        f"In all: {', '.join(shares)}.\n"
        f"Whole turns taken for another language: {confused or 'none'}."
    )


def _invented(results: Sequence[ClipResult]) -> str:
    rows: list[list[object]] = []
    for group in _groups(results, by="kind"):
        seconds = round(sum(each.seconds for each in group.results))
        ours = sum(count_words(each.streaming.text) for each in group.results)
        theirs = sum(count_words(each.offline or "") for each in group.results)
        offline = theirs if group.theirs else NO_VALUE
        rows.append([group.name, len(group.results), seconds, ours, offline])
    header = ["no speech", "clips", "seconds", "words streaming", "words offline"]
    return format_table(header, rows)


def _faults(results: Sequence[ClipResult]) -> str:
    rows: list[list[object]] = []
    for group in _with_all(results):
        cells = group.cells(lambda quality: astuple(quality.faults))
        if group.name == "all" or set(cells) - {0, NO_VALUE}:
            rows.append([group.name, len(group.results), *cells])
    header = ["lang", "clips", "left out", "loops", "offline left out", "loops"]
    return (
        f"{format_table(header, rows)}\n\n"
        f"Left out: stretches of {LEFT_OUT_WORDS} words or more ({LEFT_OUT_CHARACTERS} characters) "
        "that were spoken and\nnot written, where there is a reference. Loops: texts that say the "
        "same three times in a row.\nLanguages without either are not listed."
    )


def main(
    manifest: Path,
    languages: str | None,
    limit: int | None,
    offline: bool,
    offline_from: Path | None,
    hint_language: bool,
    partials: bool,
    detect: bool,
    json_file: Path | None,
    **chosen: Any,
) -> None:
    """Measure and print; `commands` has the options."""
    clips = read_clips(manifest, languages, limit)
    known = _offline_texts(offline_from) if offline_from else {}
    options = Options(hint_language, partials, detect)
    engines = load_engines(**chosen)
    try:
        whole_files = load_offline(chosen["model"], chosen["threads"]) if offline else None
    except WeightsError as error:
        raise click.ClickException(str(error)) from error
    results: list[ClipResult] = []
    try:
        for result in run(
            clips,
            recogniser=engines.recogniser,
            detector=engines.detector,
            offline=whole_files,
            options=options,
            known=known,
        ):
            results.append(result)
    finally:  # an interrupted run reports what it has
        click.echo(report(results, options))
        if json_file:
            write_json(json_file, [each.as_json() for each in results])


def _offline_texts(file: Path) -> dict[str, str]:
    """Read the offline texts, by path, of a file that `--json` wrote. Raises ClickException."""
    try:
        clips = json.loads(file.read_text(encoding="utf-8"))
        return {clip["path"]: clip["offline"] for clip in clips if clip["offline"] is not None}
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"--offline-from {file}: not a file that --json of this command wrote"
        raise click.ClickException(message) from error
