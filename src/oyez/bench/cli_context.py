"""`oyez bench context`."""

from __future__ import annotations

from pathlib import Path

import click

from oyez.bench.options import JSON_FILE, MANIFEST, engine_options, needs, read_clips, write_json
from oyez.cli.engines import load_for_command


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
    those of other clips are. A leak is a term that is written with a context
    though it is neither in the reference nor written without one. Other clips are
    all of the manifest, whatever is measured.
    """
    measure = needs("oyez.bench.context")

    material = measure.gather(read_clips(manifest, ""))
    clips = [c for c in read_clips(manifest, languages, limit) if c.duration_s <= max_seconds]
    engines = load_for_command(engine, model, threads, vad)
    outcomes = list(
        measure.run(
            clips,
            material,
            recogniser=engines.recogniser,
            detector=engines.detector,
            partials=partials,
        )
    )
    click.echo(measure.report(outcomes))
    if json_file:
        write_json(json_file, measure.as_json(outcomes))
