"""`oyez bench languages`."""

from __future__ import annotations

from pathlib import Path

import click

from oyez.bench.options import MANIFEST, engine_options, needs, read_clips
from oyez.cli.engines import load_for_command


@click.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@click.option("--sessions", type=click.IntRange(1), default=2, show_default=True,
              help="Sessions of each kind, length and language.")  # fmt: skip
@engine_options
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
def languages(
    manifest: Path,
    languages: str,
    limit: int | None,
    sessions: int,
    engine: str,
    model: str,
    threads: int,
    vad: str,
) -> None:
    """How often utterances are given their own language, alone and in a session.

    No language is asked for. Sessions are put together from utterances of the clips: in one
    language, with a change of language, with two languages in turn.
    """
    measure = needs("oyez.bench.languages")
    import numpy as np

    clips = read_clips(manifest, languages, limit)
    engines = load_for_command(engine, model, threads, vad)
    shelves = measure.cut(clips, engines.detector, np.random.default_rng(measure.SEED))
    results = measure.run(
        shelves, recogniser=engines.recogniser, detector=engines.detector, sessions=sessions
    )
    click.echo(measure.report(results))
