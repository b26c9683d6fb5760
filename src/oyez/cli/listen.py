"""`oyez listen`: live captions of a microphone or a pipe."""

from __future__ import annotations

import sys

import click

from oyez.cli.engines import Recognition, with_recognition
from oyez.cli.errors import INTERRUPTED


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
    from oyez.cli.live_captions import LiveCaptions, make_screen, make_source, print_devices
    from oyez.client import SessionOptions

    if list_devices:
        print_devices()
        return
    if rate and not pipe:
        raise click.UsageError("--rate is for a pipe: oyez listen - --rate HZ")
    if device and pipe:
        raise click.UsageError("give either --device or -, not both")
    source = make_source(pipe, device, rate)
    server = recognition.server()
    options = SessionOptions(recognition.language, recognition.context)
    is_answered = LiveCaptions(source, options, make_screen(as_json)).run(server)
    if source.overflows:
        often = "once" if source.overflows == 1 else f"{source.overflows} times"
        click.echo(f"oyez: the machine was too slow, and audio was lost {often}", err=True)
    if not is_answered:
        sys.exit(INTERRUPTED)
