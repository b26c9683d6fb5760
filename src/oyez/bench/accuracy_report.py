"""What `oyez bench accuracy` prints and saves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from oyez.bench.accuracy import PARTS, TURN, ClipResult, Options, Quality
from oyez.bench.report import format_table, machine_line, percent
from oyez.bench.scoring import (
    BY_CHARACTER,
    LEFT_OUT_CHARACTERS,
    LEFT_OUT_WORDS,
    LONG_CHARACTERS,
    Faults,
    Score,
    Writing,
    count_words,
)

MOST_TAKEN_FOR = 3
MOST_CONFUSED = 10
NOTHING = "nothing"
"""Shown as the language if the engine failed."""


def report(results: Sequence[ClipResult], options: Options) -> str:
    """Return the tables as Markdown."""
    spoken = [o for o in results if o.clip.has_speech]
    referenced = [o for o in spoken if o.clip.reference]
    silent = [o for o in results if not o.clip.has_speech]
    parts = [
        machine_line(),
        _rates(referenced, options),
        _notes(results, len(spoken) - len(referenced), options),
        _writing([o for o in spoken if o.clip.language]),
    ]
    if options.detect:
        parts.append(_detection([o for o in spoken if o.detected]))
    if silent:
        parts.append(_invented(silent))
    parts.append(_faults(spoken))
    return "\n\n".join(parts)


def as_json(results: Sequence[ClipResult]) -> list[dict[str, Any]]:
    """Return everything that was measured, clip by clip."""
    return [
        {
            "path": str(o.clip.path),
            "lang": o.clip.lang,
            "kind": o.clip.kind,
            "seconds": round(o.seconds, 3),
            "reference": o.clip.reference,
            "streaming": asdict(o.streaming) | {"language": o.streaming.language},
            "streaming_s": round(o.streaming_s, 3),
            **_named("streaming", o.streaming_quality),
            "offline": o.offline,
            "offline_s": round(o.offline_s, 3),
            **_named("offline", o.offline_quality),
            "detected": dict(o.detected),
        }
        for o in results
    ]


def _named(prefix: str, quality: Quality) -> dict[str, Any]:
    return {f"{prefix}_{name}": value for name, value in asdict(quality).items()}


def _groups(results: Sequence[ClipResult]) -> list[tuple[str, list[ClipResult]]]:
    """Group the results by `lang`, and add a group of all."""
    langs = sorted({o.clip.lang for o in results})
    groups = [(lang, [o for o in results if o.clip.lang == lang]) for lang in langs]
    return [*groups, ("all", list(results))]


def _measured(results: Sequence[ClipResult]) -> bool:
    return bool(results) and all(o.offline is not None for o in results)


def _rates(results: Sequence[ClipResult], options: Options) -> str:
    header = ["lang", "unit", "clips", "units", "streaming %", "sub/del/ins"]
    header += ["offline %", "sub/del/ins", "ratio"]
    rows = [_rate_row(lang, group) for lang, group in _groups(results)]
    if not options.hint_language:
        header.append("language found")
        rows = [
            [*row, _found(group)] for row, (_, group) in zip(rows, _groups(results), strict=True)
        ]
    return format_table(header, rows)


def _rate_row(name: str, results: Sequence[ClipResult]) -> list[object]:
    streaming = sum((o.streaming_quality.score for o in results), Score())
    measured = _measured(results)
    offline = sum((o.offline_quality.score for o in results), Score()) if measured else Score()
    units = {o.clip.language in BY_CHARACTER for o in results}
    unit = "both" if len(units) == 2 else "char" if True in units else "word"
    ratio = f"{streaming.rate / offline.rate:.2f}" if offline.errors else "–"
    rates = [*_rate(streaming), *(_rate(offline) if measured else ("–", "–"))]
    return [name, unit, len(results), streaming.units, *rates, ratio]


def _rate(score: Score) -> tuple[str, str]:
    return (
        percent(score.errors, score.units),
        f"{score.substitutions}/{score.deletions}/{score.insertions}",
    )


def _found(results: Sequence[ClipResult]) -> str:
    known = [o for o in results if o.clip.language]
    right = sum(o.streaming.language == o.clip.language for o in known)
    return f"{right}/{len(known)}"


def _notes(results: Sequence[ClipResult], skipped: int, options: Options) -> str:
    audio_s = sum(o.seconds for o in results)
    streaming_s = sum(o.streaming_s for o in results)
    offline_s = sum(o.offline_s for o in results)
    given = "given by the client" if options.hint_language else "detected"
    lines = [
        f"Language {given}. Clips without a reference, not scored: {skipped}. "
        f"Failed turns: {sum(len(o.streaming.failures) for o in results)}.",
        f"Computing {audio_s:.0f} s of audio took {streaming_s:.0f} CPU seconds streaming"
        + (" with partials" if options.partials else " (finals only)")
        + (f", {offline_s:.0f} s offline." if offline_s > 1 else "."),
    ]
    if options.partials:
        turns = sum(len(o.streaming.finals) for o in results)
        retracted = sum(o.streaming.retractions for o in results)
        reworded = sum(o.streaming.rewordings for o in results)
        lines.append(
            f"Finals that differ from confirmed text: {retracted} of {turns}, in words: {reworded}."
        )
    return "\n".join(lines)


def _faults(results: Sequence[ClipResult]) -> str:
    header = ["lang", "clips", "left out", "loops", "offline left out", "loops"]
    groups = [(lang, group, _fault_row(group)) for lang, group in _groups(results)]
    rows = [
        [lang, len(group), *row]
        for lang, group, row in groups
        if lang == "all" or any(count not in (0, "–") for count in row)
    ]
    return (
        f"{format_table(header, rows)}\n\n"
        f"Left out: stretches of {LEFT_OUT_WORDS} words or more ({LEFT_OUT_CHARACTERS} characters) "
        "that were said and\nnot written, where there is a reference. Loops: texts that say the "
        "same three times in a row.\nLanguages without either are not listed."
    )


def _fault_row(results: Sequence[ClipResult]) -> list[object]:
    ours = sum((o.streaming_quality.faults for o in results), Faults())
    theirs = sum((o.offline_quality.faults for o in results), Faults())
    offline = (theirs.left_out, theirs.loops) if _measured(results) else ("–", "–")
    return [ours.left_out, ours.loops, *offline]


def _writing(results: Sequence[ClipResult]) -> str:
    columns = ["end mark %", "inner mark %", "wrong script %"]
    header = ["lang", "finals", *columns, "offline texts", *columns]
    rows = [[lang, *_writing_row(group)] for lang, group in _groups(results)]
    return (
        f"{format_table(header, rows)}\n\n"
        "End mark: one of the language's own kind; Thai has none. Inner mark: of Chinese and\n"
        f"Japanese texts of {LONG_CHARACTERS} characters or more, those with a mark inside. "
        "Wrong script: most\nwords are of another script, or a Chinese character is simplified "
        "or traditional where\nit should not be."
    )


def _writing_row(results: Sequence[ClipResult]) -> list[object]:
    streaming = _shares(sum((o.streaming_quality.writing for o in results), Writing()))
    if not _measured(results):
        return [*streaming, *"––––"]
    return [*streaming, *_shares(sum((o.offline_quality.writing for o in results), Writing()))]


def _shares(writing: Writing) -> list[object]:
    return [
        writing.texts,
        percent(writing.closed, writing.closable),
        percent(writing.divided, writing.long),
        percent(writing.wrong_script, writing.texts),
    ]


def _detection(results: Sequence[ClipResult]) -> str:
    header = ["lang", *PARTS, f"{PARTS[0]} taken for", f"{TURN} taken for"]
    rows = [_detection_row(lang, group) for lang, group in _groups(results)]
    wrong = Counter(
        f"{o.clip.language} as {o.detected[TURN] or NOTHING}" for o in results if _is_wrong(o)
    )
    confused = ", ".join(f"{pair} {count}" for pair, count in wrong.most_common(MOST_CONFUSED))
    shares = (f"{part} {percent(*_right(results, part))} %" for part in PARTS)
    return (
        f"{format_table(header, rows)}\n\n"
        "Language heard without a hint in the first turn, where it is as long: right/all.\n"
        f"In all: {', '.join(shares)}.\n"
        f"Whole turns taken for another language: {confused or 'none'}."
    )


def _detection_row(name: str, results: Sequence[ClipResult]) -> list[object]:
    counts = ("{}/{}".format(*_right(results, part)) for part in PARTS)
    return [name, *counts, _taken_for(results, PARTS[0]), _taken_for(results, TURN)]


def _right(results: Sequence[ClipResult], part: str) -> tuple[int, int]:
    asked = [o for o in results if part in o.detected]
    return sum(o.detected[part] == o.clip.language for o in asked), len(asked)


def _is_wrong(result: ClipResult) -> bool:
    return result.detected[TURN] != result.clip.language


def _taken_for(results: Sequence[ClipResult], part: str) -> str:
    asked = [o for o in results if part in o.detected]
    found = [(o.detected[part] or NOTHING, o.clip.language) for o in asked]
    wrong = Counter(language for language, spoken in found if language != spoken)
    return ", ".join(f"{name} {count}" for name, count in wrong.most_common(MOST_TAKEN_FOR)) or "–"


def _invented(results: Sequence[ClipResult]) -> str:
    header = ["no speech", "clips", "seconds", "words streaming", "words offline"]
    rows: list[list[object]] = []
    for kind in sorted({o.clip.kind for o in results}):
        group = [o for o in results if o.clip.kind == kind]
        offline = sum(count_words(o.offline or "") for o in group) if _measured(group) else "–"
        streaming = sum(count_words(o.streaming.text) for o in group)
        rows.append([kind, len(group), round(sum(o.seconds for o in group)), streaming, offline])
    return format_table(header, rows)
