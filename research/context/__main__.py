"""Terms recalled with and without a context, and what happens to the other words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from oyez.bench.options import (
    JSON_FILE,
    MANIFEST,
    engine_options,
    load_engines,
    read_clips,
    write_json,
)
from oyez.bench.report import format_table, machine_line, percent
from oyez.bench.scoring import count_words
from research.context.measure import CONDITIONS, TermResult, gather, run
from research.context.terms import TermScore


@click.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@click.option("--max-seconds", default=70.0, show_default=True, help="Longest clip.")
@click.option("--partials/--no-partials", default=False, help="Compute partials too: slower.")
@engine_options
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
@click.option("--json", "json_file", type=JSON_FILE, help="Every clip's result.")
def context(
    manifest: Path,
    languages: str,
    limit: int | None,
    max_seconds: float,
    partials: bool,
    engine: str,
    model: str,
    threads: int,
    vad: str,
    json_file: Path | None,
) -> None:
    """Terms recalled with and without a context, and what happens to the other words.

    Terms are the longer and rarer words of each clip's reference. They are given
    alone, among 100 and 1,000 terms of other clips, and within prose; or only
    those of other clips are given. A leak is a term that is written with a
    context, but is not in the reference and not written without a context. The
    other clips are all of the manifest, whatever is measured.
    """
    material = gather(read_clips(manifest, ""))
    clips = [c for c in read_clips(manifest, languages, limit) if c.duration_s <= max_seconds]
    engines = load_engines(engine, model, threads, vad)
    results = list(
        run(
            clips,
            material,
            recogniser=engines.recogniser,
            detector=engines.detector,
            partials=partials,
        )
    )
    click.echo(report(results))
    if json_file:
        write_json(json_file, as_json(results))


def report(results: Sequence[TermResult]) -> str:
    """Return the tables as Markdown."""
    spoken = [o for o in results if o.clip.has_speech]
    conditions = [c for c in CONDITIONS if any(o.condition == c for o in results)]
    parts = [machine_line()]
    if spoken:
        parts += [_by_condition(results, conditions), _by_language(spoken, conditions)]
    else:
        parts.append(_by_condition(results, conditions))
    return "\n\n".join(parts)


def _by_condition(results: Sequence[TermResult], conditions: Sequence[str]) -> str:
    header = ["context", "terms said", "recalled %", "other units", "wrong %", "leaks"]
    header += ["words in no speech", "CPU s"]
    rows: list[list[object]] = []
    for condition in conditions:
        group = [o for o in results if o.condition == condition]
        total = sum((o.score for o in group), TermScore())
        invented = sum(count_words(o.text) for o in group if not o.clip.has_speech)
        leaks = sum(len(o.leaks) for o in group)
        recalled = percent(total.recalled, total.terms)
        wrong = percent(total.other_errors, total.others)
        cpu_s = round(sum(o.cpu_s for o in group))
        rows.append([condition, total.terms, recalled, total.others, wrong, leaks, invented, cpu_s])
    return format_table(header, rows)


def _by_language(results: Sequence[TermResult], conditions: Sequence[str]) -> str:
    header = ["lang", "clips", "terms", *(f"{c} %" for c in conditions)]
    rows: list[list[object]] = []
    for lang in sorted({o.clip.lang for o in results}):
        scores = [
            [o.score for o in results if o.clip.lang == lang and o.condition == condition]
            for condition in conditions
        ]
        totals = [sum(each, TermScore()) for each in scores]
        recalled = [percent(total.recalled, total.terms) for total in totals]
        rows.append([lang, len(scores[0]), totals[0].terms, *recalled])
    return format_table(header, rows)


def as_json(results: Sequence[TermResult]) -> list[dict[str, Any]]:
    """Return everything that was measured, clip by clip."""
    return [
        {
            "path": str(o.clip.path),
            "lang": o.clip.lang,
            "context": o.condition,
            "reference": o.clip.reference,
            "text": o.text,
            "terms": o.score.terms,
            "recalled": o.score.recalled,
            "others": o.score.others,
            "other_errors": o.score.other_errors,
            "leaks": sorted(o.leaks),
            "cpu_s": round(o.cpu_s, 3),
        }
        for o in results
    ]


if __name__ == "__main__":
    context(prog_name="python -m research.context")
