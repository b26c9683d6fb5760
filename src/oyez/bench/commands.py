"""The commands of `oyez bench` and their options. Each imports what it measures with when it runs,
because that needs the packages of an extra."""

from __future__ import annotations

from typing import Any

import click

from oyez.bench.options import (
    JSON_FILE,
    MANIFEST,
    engine_options,
    run,
    server_options,
    speech_options,
)

ONLY_THESE = "Only these: codes with commas between."
SAMPLE = "The clips; without it, the shipped sample."
MODES = click.Choice(["conversational", "nonstop"])
HOURS = click.FloatRange(0, min_open=True)


@click.group(context_settings={"show_default": True})
def bench() -> None:
    """Measure accuracy, latency and load on recordings of your own.

    A manifest is a file of JSON lines, one a clip: path (relative to the file), lang,
    duration_s and, where known, reference and kind. lang "none": nobody speaks in it.
    """


@bench.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", help=ONLY_THESE)
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@engine_options
@click.option("--vad", default="silero", help="Voice activity detector.")
@click.option("--offline/--no-offline", default=True, help="Also faster-whisper on whole files.")
@click.option("--offline-from", type=JSON_FILE, help="An earlier --json with offline texts to use.")
@click.option(
    "--hint-language/--no-hint-language", default=True, help="Request the clip's language."
)
@click.option("--partials/--no-partials", default=False, help="Compute partials too: slower.")
@click.option("--detect/--no-detect", default=True, help="Also detect languages without a hint.")
@click.option("--json", "json_file", type=JSON_FILE, help="Every clip's result.")
def accuracy(**options: Any) -> None:
    """How much of the text is right, by language: words, writing, language.

    Word or character error rates; how often text ends in the language's own
    punctuation and is in its own script; which language is detected in the
    first seconds of speech; words written where nobody speaks.

    Streaming is the whole pipeline, as fast as the machine goes; offline is
    faster-whisper on the whole file, beam 5, with the same weights.
    """
    run("oyez.bench.accuracy", options)


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
    "--streams", "counts", callback=_counts, default="1,2,4,8,16,24,32,48", help="Levels."
)
@speech_options(ONLY_THESE)
@click.option(
    "--mode", type=MODES, default="conversational", help="Speech half of the time, or all."
)
@click.option("--seconds", type=click.FloatRange(1), default=60.0, help="Length of a level.")
@click.option("--until-fail", is_flag=True, help="Stop after a level that misses the objective.")
@click.option("--edge/--no-edge", default=True, help="With --engine fake: also the server's cost.")
@server_options
@click.option("--json", "json_file", type=JSON_FILE, help="Everything measured.")
def streams(**options: Any) -> None:
    """How many streams at once, at real-time pace, and what each of them waits for.

    Each stream is first sent alone, and at every level its finals are compared with those.
    """
    run("oyez.bench.streams", options)


@bench.command()
@click.option("--hours", type=HOURS, default=1.0, help="Length of the audio.")
@click.option("--speed", type=click.FloatRange(0), default=0.0, help="Times real time; 0: fastest.")
@speech_options("Only these; the one with most clips is spoken.")
@click.option("--monologue", is_flag=True, help="Clips back to back: nobody else speaks.")
@server_options
@click.option("--json", "json_file", type=JSON_FILE, help="Everything measured.")
def soak(**options: Any) -> None:
    """One long session: whether it costs the same at its end as at its beginning."""
    run("oyez.bench.soak", options)


@bench.command()
@click.option("--manifest", type=MANIFEST, help=SAMPLE)
@click.option("--languages", help=ONLY_THESE)
@click.option("--clips", "limit", type=click.IntRange(1), help="At most so many, spread evenly.")
@server_options
def latency(**options: Any) -> None:
    """Time to the first words and to the final, streamed at real-time pace."""
    run("oyez.bench.latency", options)
