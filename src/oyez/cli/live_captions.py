"""One live session of `oyez listen`: audio from a source, captions on a screen, Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import click

from oyez.cli.audio_sources import (
    PIPE_EXAMPLE,
    SILENT_DB,
    InterruptiblePipe,
    Microphone,
    Pipe,
    Source,
    SourceError,
    input_devices,
    level_db,
)
from oyez.cli.engines import captioned, on_signals
from oyez.cli.errors import FAILED, NEVER_STARTED, CommandError
from oyez.cli.screens import REFRESH_S, JsonScreen, Screen, Status, TerminalScreen
from oyez.cli.terminal import console, is_interactive
from oyez.client import Captions, ClientError, SessionOptions, Target

BYTES_PER_S = 32_000


def make_source(pipe: str | None, device: str | None, rate: int | None) -> Source:
    """Return the pipe at stdin, or a microphone that can be used. Raises CommandError."""
    if pipe:
        if sys.stdin.isatty():
            raise click.UsageError("there is no pipe: stdin is the terminal")
        return Pipe(InterruptiblePipe(sys.stdin.buffer), rate)
    microphone = Microphone(int(device) if device and device.isdecimal() else device)
    microphone.check()
    return microphone


def make_screen(as_json: bool) -> Screen:
    """Return where captions go: events as JSON, the terminal, or lines for a pipe."""
    if as_json:
        return JsonScreen()
    out = console()
    return TerminalScreen(out) if is_interactive(out) else Screen()


def print_devices() -> None:
    """Print the microphones. Raises CommandError if there is none."""
    found = input_devices()
    if not found:
        raise SourceError(f"there is no microphone; pipe audio in instead: {PIPE_EXAMPLE}")
    for number, name, rate, is_default in found:
        click.echo(f"{number:3}  {name}  ({rate} Hz){'  default' if is_default else ''}")


class LiveCaptions:
    """Use `run` once for each object."""

    def __init__(self, source: Source, options: SessionOptions, screen: Screen) -> None:
        self._source = source
        self._options = options
        self._screen = screen
        self._captions = Captions()
        self._sent_bytes = 0
        self._level_db = SILENT_DB
        self._started = False
        self._ending = False
        self._signals = 0

    def run(self, server: contextlib.AbstractAsyncContextManager[Target]) -> bool:
        """Run until the source ends or Ctrl-C, and until everything is answered: return True.

        A second Ctrl-C ends it at once: return False. server: entered on the event loop of the
        session. Raises CommandError.
        """
        try:
            asyncio.run(self._run(server))
        except (asyncio.CancelledError, KeyboardInterrupt):
            return False
        except (ClientError, SourceError) as error:
            code = FAILED if self._sent_bytes else NEVER_STARTED
            raise CommandError(str(error), code) from error
        finally:
            self._screen.close()
        return True

    async def _run(self, server: contextlib.AbstractAsyncContextManager[Target]) -> None:
        main = asyncio.current_task()
        assert main is not None

        def on_signal() -> None:
            # The signals are counted: whether the audio has ended says nothing, because Ctrl-C ends
            # the other end of a pipe at the same time.
            self._signals += 1
            if self._signals > 1:
                main.cancel()
            self._ending = True
            self._source.stop()

        refreshing = asyncio.create_task(self._refresh())
        with on_signals(on_signal):
            async with server as target:
                events = captioned(target, self._options, self._packets(), self._captions)
                try:
                    async with contextlib.aclosing(events):
                        async for raw, utterance in events:
                            self._screen.event(raw)
                            if utterance is not None:
                                self._screen.finished(utterance)
                                self._show()
                finally:
                    self._source.stop()
                    refreshing.cancel()
                    await asyncio.gather(refreshing, return_exceptions=True)
                    for unanswered in self._captions.unanswered:
                        self._screen.finished(unanswered)

    async def _packets(self) -> AsyncIterator[bytes]:
        """Start the source and yield its audio: the session is open."""
        self._source.start()
        self._started = True
        try:
            async for pcm in self._source.packets():
                self._level_db = level_db(pcm)
                self._sent_bytes += len(pcm)
                yield pcm
        finally:
            self._ending, self._level_db = True, SILENT_DB

    async def _refresh(self) -> None:
        while True:
            if self._started:
                self._show()
            await asyncio.sleep(REFRESH_S)

    def _show(self) -> None:
        audio_s = self._sent_bytes / BYTES_PER_S
        status = Status(audio_s, self._level_db, self._source.overflows, self._ending)
        self._screen.show(self._captions.current, status)
