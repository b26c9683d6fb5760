"""`oyez bench`: what is behind every figure in README and docs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from oyez import settings
from oyez.bench.cli_soak import soak
from oyez.bench.cli_streams import streams
from oyez.bench.manifest import Clip
from oyez.bench.options import (
    JSON_FILE,
    MANIFEST,
    engine_options,
    measured_server,
    needs,
    read_clips,
    serve_flags,
    spoken_clips,
    told,
    write_json,
)


@click.group()
def bench() -> None:
    """Measure accuracy, latency and load on recordings of your own.

    A manifest is a file of JSON lines, one a clip: path (relative to the file), lang,
    duration_s and, where known, reference and kind. lang "none": nobody speaks in it.
    """


bench.add_command(streams)
bench.add_command(soak)


@bench.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@engine_options
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
@click.option("--offline/--no-offline", default=True, help="Also faster-whisper on whole files.")
@click.option(
    "--hint-language/--no-hint-language", default=True, help="Ask for the clip's own language."
)
@click.option("--partials/--no-partials", default=False, help="Compute partials too: slower.")
@click.option("--json", "json_file", type=JSON_FILE, help="Every clip's result.")
def accuracy(
    manifest: Path,
    languages: str,
    limit: int | None,
    engine: str,
    model: str,
    threads: int,
    vad: str,
    offline: bool,
    hint_language: bool,
    partials: bool,
    json_file: Path | None,
) -> None:
    """Word or character error rates, streaming and offline, side by side.

    Streaming is the whole pipeline, driven as fast as the machine goes; offline is
    faster-whisper on the whole file, beam 5, with the same weights.
    """
    measure = needs("oyez.bench.accuracy")
    from oyez.bench.offline import Offline
    from oyez.inference.loader import LoadError, load_engines
    from oyez.recognisers.whisper_onnx.weights import WeightsError

    clips = read_clips(manifest, languages, limit)
    options = measure.Options(hint_language=hint_language, partials=partials)
    try:
        engines = load_engines(
            engine=engine,
            model=model,
            device="cpu",
            threads=threads,
            cache_dir=settings.load({}).cache_dir,
            vad=vad,
            progress=lambda line: click.echo(line, err=True),
        )
        yardstick = Offline(model, threads) if offline else None
    except (LoadError, WeightsError, settings.SettingsError) as error:
        raise click.ClickException(str(error)) from error
    outcomes = list(
        measure.run(
            clips,
            recogniser=engines.recogniser,
            detector=engines.detector,
            offline=yardstick,
            options=options,
        )
    )
    click.echo(measure.report(outcomes, options))
    if json_file:
        write_json(json_file, measure.as_json(outcomes))


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
