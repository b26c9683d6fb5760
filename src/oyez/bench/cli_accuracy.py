"""`oyez bench accuracy`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from oyez.bench.options import JSON_FILE, MANIFEST, engine_options, needs, read_clips, write_json
from oyez.cli.engines import load_for_command


@click.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@engine_options
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
@click.option("--offline/--no-offline", default=True, help="Also faster-whisper on whole files.")
@click.option("--offline-from", type=JSON_FILE,
              help="An earlier --json: its offline texts are not computed again.")  # fmt: skip
@click.option(
    "--hint-language/--no-hint-language", default=True, help="Ask for the clip's own language."
)
@click.option("--partials/--no-partials", default=False, help="Compute partials too: slower.")
@click.option("--detect/--no-detect", default=True,
              help="Also which language is heard without a hint.")  # fmt: skip
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
    from oyez.bench.offline import Offline
    from oyez.engines.whisper.weights import WeightsError

    clips = read_clips(manifest, languages, limit)
    known = _offline_texts(offline_from) if offline_from else {}
    options = measure.Options(hint_language=hint_language, partials=partials, detect=detect)
    engines = load_for_command(engine, model, threads, vad)
    try:
        yardstick = Offline(model, threads) if offline else None
    except WeightsError as error:
        raise click.ClickException(str(error)) from error
    measured = measure.run(
        clips,
        recogniser=engines.recogniser,
        detector=engines.detector,
        offline=yardstick,
        options=options,
        known=known,
    )
    outcomes = []
    try:
        for outcome in measured:
            outcomes.append(outcome)
    finally:  # what there is, if the rest is not waited for
        click.echo(report.report(outcomes, options))
        if json_file:
            write_json(json_file, report.as_json(outcomes))


def _offline_texts(file: Path) -> dict[str, str]:
    """By path, of a file that `--json` wrote. Raises ClickException."""
    try:
        clips = json.loads(file.read_text(encoding="utf-8"))
        return {clip["path"]: clip["offline"] for clip in clips if clip["offline"] is not None}
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"--offline-from {file}: not a file that --json of this command wrote"
        raise click.ClickException(message) from error
