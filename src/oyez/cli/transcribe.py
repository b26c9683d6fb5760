"""`oyez transcribe`: recordings become text, JSON or subtitles."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING

import click

from oyez.cli.engines import (
    ENGINE_SETTINGS,
    load_with_status,
    read_context,
    recognition_options,
    server_target,
)
from oyez.cli.errors import FAILED, INTERRUPTED, NEVER_STARTED, USAGE, CommandError
from oyez.cli.setting_options import with_settings
from oyez.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oyez.cli.screens import QuietProgress
    from oyez.cli.transcribe_files import Summary
    from oyez.client import Target
    from oyez.files.results import Options
    from oyez.runtime.loader import Engines


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
    help="Show words while they are heard, for nearly twice the work; default: in a terminal.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, only what went wrong.")
@recognition_options
@with_settings(*ENGINE_SETTINGS)
def transcribe(
    settings: Settings,
    files: tuple[str, ...],
    form: str,
    output: str | None,
    force: bool,
    live: bool | None,
    quiet: bool,
    language: str | None,
    context: str,
    url: str | None,
    key: str | None,
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
    from oyez.cli.transcripts import STDIN, OutputError, plan
    from oyez.files.results import Options

    if STDIN in files and sys.stdin.isatty():
        raise click.UsageError("there is no pipe: stdin is the terminal")
    try:
        outputs = plan(files, output, form, force=force)
    except OutputError as error:
        raise CommandError(str(error), USAGE) from error
    if None in outputs and len(files) > 1 and form in ("srt", "vtt"):
        message = f"several files make no one {form}: give a directory with --output"
        raise CommandError(message, USAGE)
    if live is None:
        live = not quiet and _in_terminal()
    options = Options(language=language, context=read_context(context), live=live)
    target = server_target(settings, url, key) if url else None
    engines = None if target else load_with_status(settings)
    progress = _progress(quiet)
    try:
        summary = asyncio.run(_run(target, engines, options, progress, form, files, outputs))
    finally:
        progress.close()
    _exit(summary, len(files))


async def _run(
    target: Target | None,
    engines: Engines | None,
    options: Options,
    progress: QuietProgress,
    form: str,
    files: Sequence[str],
    outputs: Sequence[Path | None],
) -> Summary:
    from oyez.cli.transcribe_files import FileTranscription, remote_results
    from oyez.client import SessionOptions
    from oyez.files.transcriber import own_transcriber

    if target is not None:
        asked = SessionOptions(options.language, options.context)
        through_server = functools.partial(remote_results, target, asked)
        return await FileTranscription(through_server, progress, form).run(files, outputs)
    assert engines is not None
    async with own_transcriber(engines) as transcriber:
        here = functools.partial(transcriber.transcribe, options=options)
        return await FileTranscription(here, progress, form).run(files, outputs)


def _progress(quiet: bool) -> QuietProgress:
    from oyez.cli.screens import LineProgress, QuietProgress, TerminalProgress

    if quiet:
        return QuietProgress()
    if _in_terminal():
        return TerminalProgress(redirect_stdout=sys.stdout.isatty())
    return LineProgress()


def _in_terminal() -> bool:
    from oyez.cli.terminal import console, is_interactive

    return is_interactive(console(sys.stderr))


def _exit(summary: Summary, files: int) -> None:
    if summary.unreachable:
        raise CommandError(summary.unreachable, NEVER_STARTED)
    if summary.interrupted:
        if files > 1:
            click.echo(f"oyez: interrupted; {summary.done} of {files} files done", err=True)
        sys.exit(INTERRUPTED)
    if summary.failed:
        if files > 1:
            click.echo(f"oyez: {summary.failed} of {files} files failed", err=True)
        sys.exit(FAILED)
