"""`oyez bench`: what is behind every figure in README and docs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from oyez.bench.cli_accuracy import accuracy
from oyez.bench.cli_context import context
from oyez.bench.cli_emotion import emotion
from oyez.bench.cli_endpoints import endpoints
from oyez.bench.cli_languages import languages
from oyez.bench.cli_soak import soak
from oyez.bench.cli_streams import streams
from oyez.bench.manifest import Clip
from oyez.bench.options import (
    MANIFEST,
    engine_options,
    measured_server,
    needs,
    serve_flags,
    spoken_clips,
    told,
)


@click.group()
def bench() -> None:
    """Measure accuracy, latency and load on recordings of your own.

    A manifest is a file of JSON lines, one a clip: path (relative to the file), lang,
    duration_s and, where known, reference and kind. lang "none": nobody speaks in it.
    """


bench.add_command(accuracy)
bench.add_command(emotion)
bench.add_command(endpoints)
bench.add_command(context)
bench.add_command(streams)
bench.add_command(soak)
bench.add_command(languages)


@bench.command()
@click.option("--manifest", type=MANIFEST, help="The clips; without it, the shipped sample.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--clips", "limit", type=click.IntRange(1), help="At most so many, spread evenly.")
@click.option("--url", help="A running server; without it, one is started for the purpose.")
@click.option("--key", help="Its API key.")
@engine_options
def latency(
    manifest: Path | None,
    languages: str,
    limit: int | None,
    url: str | None,
    key: str | None,
    engine: str,
    model: str,
    threads: int,
) -> None:
    """Time to the first words and to the final, streamed at real-time pace."""
    measure = needs("oyez.bench.latency")
    flags = serve_flags(engine, model, threads, ())
    with spoken_clips(manifest, languages) as spoken, told():
        clips = _spread(spoken, limit or len(spoken))
        with measured_server(url, flags) as target:
            waits = asyncio.run(measure.measure(target.url, key, clips))
    click.echo(measure.report(waits, clips))


def _spread(clips: list[Clip], count: int) -> list[Clip]:
    """`count` of the clips at even distances, so that every language has its share."""
    count = min(count, len(clips))
    return [clips[index * len(clips) // count] for index in range(count)]
