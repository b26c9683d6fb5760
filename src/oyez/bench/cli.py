"""`oyez bench`: what is behind every figure in README and docs."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from oyez import settings
from oyez.bench.manifest import Clip, ManifestError, read_manifest

MANIFEST = click.Path(exists=True, dir_okay=False, path_type=Path)
MODEL = "qwen3-asr-flash-realtime"
SAMPLE_S = 20.0


@click.group()
def bench() -> None:
    """Measure accuracy and latency on recordings of your own.

    A manifest is a file of JSON lines, one a clip: path (relative to the file), lang,
    duration_s and, where known, reference and kind. lang "none": nobody speaks in it.
    """


def _engine_options(command: Any) -> Any:
    for option in (
        click.option("--threads", default=0, show_default=True, help="0: every core."),
        click.option("--model", default="base", show_default=True, help="The engine's model."),
        click.option("--engine", default="whisper-onnx", show_default=True),
    ):
        command = option(command)
    return command


@bench.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@_engine_options
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
@click.option("--offline/--no-offline", default=True, help="Also faster-whisper on whole files.")
@click.option(
    "--hint-language/--no-hint-language", default=True, help="Ask for the clip's own language."
)
@click.option("--partials/--no-partials", default=False, help="Compute partials too: slower.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Every clip's result.")
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
    measure = _accuracy()
    from oyez.bench.offline import Offline
    from oyez.inference.loader import LoadError, load_engines
    from oyez.recognisers.whisper_onnx.weights import WeightsError

    clips = _read(manifest, languages, limit)
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
        lines = json.dumps(measure.as_json(outcomes), ensure_ascii=False, indent=1)
        json_file.write_text(lines + "\n", encoding="utf-8")


@bench.command()
@click.option("--manifest", type=MANIFEST, help="The clips; without it, the shipped sample.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--clips", "limit", type=click.IntRange(1), help="At most so many, spread evenly.")
@click.option("--url", help="A running server; without it, one is started for the purpose.")
@click.option("--key", help="Its API key.")
@_engine_options
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
    import aiohttp

    from oyez.bench import latency as measure
    from oyez.bench.server_process import ServerError, running_server

    with as_file(files("oyez") / "assets" / "two_cities.wav") as sample:
        spoken = [clip for clip in _read(manifest, languages, None) if clip.has_speech] if (
            manifest) else [Clip(sample, "en", SAMPLE_S, None, "read", "")]  # fmt: skip
        clips = _spread(spoken, limit or len(spoken))
        flags = ["--engine", engine, "--model", model, "--threads", str(threads)]
        try:
            if url:
                waits = asyncio.run(measure.measure(url, key, clips))
            else:
                with running_server(flags) as own:
                    waits = asyncio.run(measure.measure(f"{own}?model={MODEL}", key, clips))
        except (ServerError, OSError, TimeoutError, RuntimeError, aiohttp.ClientError) as error:
            raise click.ClickException(str(error)) from error
    click.echo(measure.report(waits, clips))


def _accuracy() -> ModuleType:
    try:
        return import_module("oyez.bench.accuracy")
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'oyez[bench]'") from error


def _read(manifest: Path, languages: str, limit: int | None) -> list[Clip]:
    try:
        wanted = [code.strip() for code in languages.split(",") if code.strip()]
        clips = read_manifest(manifest, wanted, limit)
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    if not clips:
        raise click.ClickException(f"{manifest}: no clips are left to measure")
    return clips


def _spread(clips: list[Clip], count: int) -> list[Clip]:
    """`count` of the clips at even distances, so that every language has its share."""
    count = min(count, len(clips))
    return [clips[index * len(clips) // count] for index in range(count)]
