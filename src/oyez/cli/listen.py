"""`oyez listen`: live captions of a microphone or a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from oyez.cli.engines import Recognition, with_recognition
from oyez.cli.errors import INTERRUPTED, NEVER_STARTED, CommandError

if TYPE_CHECKING:
    from oyez.cli.audio_sources import Source
    from oyez.cli.screens import Screen


@click.command()
@click.argument("pipe", metavar="[-]", required=False, type=click.Choice(["-"]))
@click.option("--device", metavar="NAME", help="The microphone: its number or part of its name.")
@click.option("--list-devices", is_flag=True, help="Show the microphones and stop.")
@click.option(
    "--rate",
    type=click.IntRange(4000, 384_000),
    metavar="HZ",
    help="Of raw audio from a pipe (PCM16 mono); default: 16000, or what the container says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the protocol's events as lines.")
@with_recognition("engine", "model", "threads", "vad", "emotion")
def listen(
    recognition: Recognition,
    pipe: str | None,
    device: str | None,
    list_devices: bool,
    rate: int | None,
    as_json: bool,
) -> None:
    """Show what is being said: confirmed words firm, tentative ones dim.

    Listens to the microphone, or with - to a pipe: raw PCM16 mono, or anything
    with a container (wav, ogg, webm, mp3 …). Ctrl-C ends it: what was said is
    still answered. In a pipe, each utterance is a line: time, language,
    emotion, text, with tabs between.

    \b
    Examples:
      oyez listen
      oyez listen --language de --context "Aare, Thun, Jungfraujoch"
      oyez listen --url ws://server:8080 --json
      arecord -q -f S16_LE -r 16000 -c 1 -t raw | oyez listen -
      ffmpeg -loglevel error -i URL -f s16le -ac 1 -ar 16000 - | oyez listen -

    Exit codes: 0 done, 1 broken off, 2 wrong usage, 3 no microphone, engine or
    server, 130 a second Ctrl-C.
    """
    if list_devices:
        _print_devices()
        return
    if rate and not pipe:
        raise click.UsageError("--rate is for a pipe: oyez listen - --rate HZ")
    if device and pipe:
        raise click.UsageError("give either --device or -, not both")
    from oyez.cli.live_captions import LiveCaptions
    from oyez.client import SessionOptions

    source = _source(pipe, device, rate)
    server = recognition.server()
    options = SessionOptions(recognition.language, recognition.context)
    is_answered = LiveCaptions(source, options, _screen(as_json)).run(server)
    if source.overflows:
        often = "once" if source.overflows == 1 else f"{source.overflows} times"
        click.echo(f"oyez: the machine was too slow, and audio was lost {often}", err=True)
    if not is_answered:
        sys.exit(INTERRUPTED)


def _source(pipe: str | None, device: str | None, rate: int | None) -> Source:
    from oyez.cli.audio_sources import InterruptiblePipe, Microphone, Pipe

    if pipe:
        if sys.stdin.isatty():
            raise click.UsageError("there is no pipe: stdin is the terminal")
        return Pipe(InterruptiblePipe(sys.stdin.buffer), rate)
    microphone = Microphone(int(device) if device and device.isdecimal() else device)
    microphone.check()
    return microphone


def _screen(as_json: bool) -> Screen:
    from oyez.cli.screens import JsonScreen, Screen, TerminalScreen
    from oyez.cli.terminal import console, is_interactive

    if as_json:
        return JsonScreen()
    out = console()
    return TerminalScreen(out) if is_interactive(out) else Screen()


def _print_devices() -> None:
    from oyez.cli.audio_sources import PIPE_EXAMPLE, input_devices

    found = input_devices()
    if not found:
        message = f"there is no microphone; pipe audio in instead: {PIPE_EXAMPLE}"
        raise CommandError(message, NEVER_STARTED)
    for number, name, rate, is_default in found:
        click.echo(f"{number:3}  {name}  ({rate} Hz){'  default' if is_default else ''}")
