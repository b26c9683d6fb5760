"""`oyez transcribe`: recordings become text, JSON or subtitles."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING

import click

from oyez.cli.engines import Recognition, with_recognition
from oyez.cli.errors import DONE, FAILED, INTERRUPTED, USAGE, CommandError

if TYPE_CHECKING:
    from oyez.cli.transcribe_files import Summary


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "srt", "vtt"]),
    default="text",
    show_default=True,
    help="Text, everything with times of words, or subtitles.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="A file, a directory, or - for stdout; default: stdout for one file, beside each of "
    "several.",
)
@click.option("-f", "--force", is_flag=True, help="Replace outputs that exist.")
@click.option(
    "--live/--no-live",
    default=None,
    help="Show words while they are recognised, for nearly twice the work; default: in a terminal.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, only what went wrong.")
@with_recognition("engine", "model", "device", "threads", "vad", "emotion")
def transcribe(
    recognition: Recognition,
    files: tuple[str, ...],
    form: str,
    output: str | None,
    force: bool,
    live: bool | None,
    quiet: bool,
) -> None:
    """Write down what is said in recordings.

    Takes audio and video (wav, flac, mp3, ogg, opus, m4a, mp4, mkv …), - is
    stdin. Recognition runs in this process, or on a server with --url. A file
    that fails does not stop the others; Ctrl-C keeps what was transcribed.

    \b
    Examples:
      oyez transcribe talk.mp3
      oyez transcribe --format srt film.mkv -o film.srt
      oyez transcribe --format json --language de *.wav -o transcripts/
      oyez transcribe --context @names.txt --url ws://server:8080 call.ogg
      ffmpeg -loglevel error -i URL -f wav - | oyez transcribe -

    Exit codes: 0 done, 1 a file failed, 2 wrong usage, 3 no engine or server,
    130 Ctrl-C.
    """
    from oyez.cli.screens import FileProgress
    from oyez.cli.transcribe_files import STDIN, plan
    from oyez.files.results import Options

    if STDIN in files and sys.stdin.isatty():
        raise click.UsageError("there is no pipe: stdin is the terminal")
    outputs = plan(files, output, form, force=force)
    if None in outputs and len(files) > 1 and form in ("srt", "vtt"):
        message = f"several files make no one {form}: give a directory with --output"
        raise CommandError(message, USAGE)
    live = not quiet and _in_terminal() if live is None else live
    options = Options(language=recognition.language, context=recognition.context, live=live)
    target = recognition.target
    engines = None if target else recognition.load()
    progress = FileProgress(quiet=quiet, in_terminal=_in_terminal())

    async def run() -> Summary:
        from oyez.cli.transcribe_files import remote_results, transcribe_files
        from oyez.client import SessionOptions
        from oyez.files.transcriber import own_transcriber

        if target is not None:
            asked = SessionOptions(options.language, options.context)
            on_server = functools.partial(remote_results, target, asked)
            return await transcribe_files(on_server, progress, form, files, outputs)
        assert engines is not None
        async with own_transcriber(engines) as transcriber:
            here = functools.partial(transcriber.transcribe, options=options)
            return await transcribe_files(here, progress, form, files, outputs)

    try:
        summary = asyncio.run(run())
    finally:
        progress.close()
    if len(files) > 1 and summary.interrupted:
        click.echo(f"oyez: interrupted; {summary.done} of {len(files)} files done", err=True)
    elif len(files) > 1 and summary.failed:
        click.echo(f"oyez: {summary.failed} of {len(files)} files failed", err=True)
    sys.exit(INTERRUPTED if summary.interrupted else FAILED if summary.failed else DONE)


def _in_terminal() -> bool:
    from oyez.cli.terminal import console, is_interactive

    return is_interactive(console(sys.stderr))
