"""The commands of `oyez bench`. Each imports what it measures with when it runs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oyez.bench import target as servers
from oyez.bench.manifest import Clip
from oyez.bench.options import (
    JSON_FILE,
    MANIFEST,
    engine_options,
    errors_as_messages,
    load_engines,
    needs,
    read_clips,
    server_options,
    speech_options,
    spoken_clips,
    write_json,
)
from oyez.bench.report import machine_line
from oyez.bench.target import Target, measured_server

if TYPE_CHECKING:
    from oyez.bench.levels import Level
    from oyez.bench.soak import Slice


@click.group()
def bench() -> None:
    """Measure accuracy, latency and load on recordings of your own.

    A manifest is a file of JSON lines, one a clip: path (relative to the file), lang,
    duration_s and, where known, reference and kind. lang "none": nobody speaks in it.
    """


@bench.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@engine_options
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
@click.option("--offline/--no-offline", default=True, help="Also faster-whisper on whole files.")
@click.option(
    "--offline-from",
    type=JSON_FILE,
    help="An earlier --json: its offline texts are not computed again.",
)
@click.option(
    "--hint-language/--no-hint-language", default=True, help="Ask for the clip's own language."
)
@click.option("--partials/--no-partials", default=False, help="Compute partials too: slower.")
@click.option(
    "--detect/--no-detect", default=True, help="Also which language is heard without a hint."
)
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
    offline_from: Path | None,
    hint_language: bool,
    partials: bool,
    detect: bool,
    json_file: Path | None,
) -> None:
    """What one can trust, by language: words, writing, language detection.

    Word or character error rates; how often text ends in the language's own
    punctuation and is in its own script; which language is heard in the first
    seconds of speech; words written where nobody speaks.

    Streaming is the whole pipeline, driven as fast as the machine goes;
    offline is faster-whisper on the whole file, beam 5, with the same weights.
    """
    measure, report = needs("oyez.bench.accuracy"), needs("oyez.bench.accuracy_report")
    from oyez.engines.whisper.weights import WeightsError

    clips = read_clips(manifest, languages, limit)
    known = _offline_texts(offline_from) if offline_from else {}
    options = measure.Options(hint_language=hint_language, partials=partials, detect=detect)
    engines = load_engines(engine, model, threads, vad)
    try:
        yardstick = measure.Offline(model, threads) if offline else None
    except WeightsError as error:
        raise click.ClickException(str(error)) from error
    results = []
    try:
        for result in measure.run(
            clips,
            recogniser=engines.recogniser,
            detector=engines.detector,
            offline=yardstick,
            options=options,
            known=known,
        ):
            results.append(result)
    finally:  # an interrupted run reports what it has
        click.echo(report.report(results, options))
        if json_file:
            write_json(json_file, report.as_json(results))


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


def _counts(ctx: click.Context, param: click.Parameter, value: str) -> list[int]:
    try:
        counts = [int(word) for word in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not like 1,2,4") from None
    if min(counts) < 1:
        raise click.BadParameter("fewer than one stream")
    return counts


@bench.command()
@click.option(
    "--streams",
    "counts",
    callback=_counts,
    default="1,2,4,8,16,24,32,48",
    show_default=True,
    help="The levels.",
)
@speech_options("Only these: codes with commas between.")
@click.option(
    "--mode",
    type=click.Choice(["conversational", "nonstop"]),
    show_default=True,
    default="conversational",
    help="Speech half of the time, or all of it.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=60.0,
    show_default=True,
    help="Length of a level.",
)
@click.option("--until-fail", is_flag=True, help="Stop after a level that misses the objective.")
@click.option(
    "--edge/--no-edge",
    default=True,
    show_default=True,
    help="With --engine fake: also what the server costs without it.",
)
@server_options
@click.option("--json", "json_file", type=JSON_FILE, help="Everything measured.")
def streams(
    counts: list[int],
    manifest: Path | None,
    languages: str,
    mode: str,
    seconds: float,
    until_fail: bool,
    edge: bool,
    url: str | None,
    key: str | None,
    serve_flags: tuple[str, ...],
    engine: str,
    model: str,
    threads: int,
    json_file: Path | None,
) -> None:
    """How many streams at once, at real-time pace, and what each of them waits for.

    Each stream is first heard alone; at every level its finals are held against those.
    """
    measure, report = needs("oyez.bench.streams"), needs("oyez.bench.levels")
    from oyez.bench.voices import choose

    flags = servers.serve_flags(engine, model, threads, serve_flags)
    with ExitStack() as stack, errors_as_messages():
        clips = stack.enter_context(spoken_clips(manifest, languages))
        target = stack.enter_context(measured_server(url, flags))
        options = measure.Options(mode, seconds, until_fail)
        load = measure.Bench(target, key, choose(clips), options)
        what = " ".join(flags) if url is None else url
        click.echo(f"{machine_line()}\n{mode}, {seconds:g} s, {what}\n\n{report.head()}")
        levels: list[Level] = []
        for level in load.run(counts):
            levels.append(level)
            click.echo(report.row(level))
            if json_file:
                write_json(json_file, measure.as_json(load, levels))
    click.echo(f"\n{report.summary(levels)}")
    _show_warnings(target)
    if edge and engine == "fake" and url is None:
        click.echo(f"\n{_edge_cost(flags)}")


def _edge_cost(flags: Sequence[str]) -> str:
    """Measure what the server itself costs, which shows only without a model."""
    from oyez.bench.edge import measure, report
    from oyez.bench.meter import Meter

    with errors_as_messages(), measured_server(None, flags) as target:
        assert target.pid
        meter = Meter(target.pid, children=True)
        return report(asyncio.run(measure(target.url, None, meter)))


def _show_warnings(target: Target) -> None:
    click.echo("".join(f"server: {line}" for line in target.warnings), err=True, nl=False)


@bench.command()
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Length of the audio.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Times real time; 0: as fast as the server takes it.",
)
@speech_options("Only these; the one with most clips is spoken.")
@click.option("--monologue", is_flag=True, help="Clips back to back: nobody else speaks.")
@server_options
@click.option("--json", "json_file", type=JSON_FILE, help="Everything measured.")
def soak(
    hours: float,
    speed: float,
    manifest: Path | None,
    languages: str,
    monologue: bool,
    url: str | None,
    key: str | None,
    serve_flags: tuple[str, ...],
    engine: str,
    model: str,
    threads: int,
    json_file: Path | None,
) -> None:
    """One long session: whether it costs the same at its end as at its beginning."""
    measure = needs("oyez.bench.soak")
    from oyez.bench.meter import Meter
    from oyez.bench.voices import NO_CLIPS, choose

    flags = servers.serve_flags(engine, model, threads, serve_flags)
    options = measure.Options(hours * 3600, speed, "nonstop" if monologue else "conversational")
    with ExitStack() as stack, errors_as_messages():
        clips = choose(stack.enter_context(spoken_clips(manifest, languages)))
        if not clips:
            raise click.ClickException(NO_CLIPS)
        target = stack.enter_context(measured_server(url, flags))
        meter = Meter(target.pid, children=True) if target.pid else None
        run = measure.Soak(options, meter, Meter(os.getpid(), children=False))
        what = " ".join(flags) if url is None else url
        click.echo(f"{machine_line()}\n{options.mode}, {hours:g} h, {what}\n\n{measure.head()}")

        def show(one: Slice) -> None:
            click.echo(measure.row(one, options.slice_s))
            if json_file:  # written every time, in case the rest never comes
                write_json(json_file, measure.as_json(options, run.slices))

        asyncio.run(run.run(target.url, key, next(iter(clips.values())), show))
    click.echo(f"\n{measure.summary(run.slices)}")
    _show_warnings(target)


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
    flags = servers.serve_flags(engine, model, threads, ())
    with spoken_clips(manifest, languages) as spoken, errors_as_messages():
        clips = _spread(spoken, limit or len(spoken))
        with measured_server(url, flags) as target:
            waits = asyncio.run(measure.measure(target.url, key, clips))
    click.echo(measure.report(waits, clips))


def _spread(clips: list[Clip], count: int) -> list[Clip]:
    """Choose `count` clips at even distances, so that every language has its share."""
    count = min(count, len(clips))
    return [clips[index * len(clips) // count] for index in range(count)]
