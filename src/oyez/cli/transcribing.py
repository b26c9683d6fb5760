"""One file after the other: opened, transcribed, written, told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from oyez.audio.pcm import Samples
from oyez.cli.file_progress import FileProgress
from oyez.cli.outputs import STDIN, Transcript, render, text_line, write
from oyez.cli.pipe_input import PipeInput
from oyez.cli.terminal import clock, counted
from oyez.cli.wrapping import printable
from oyez.client.session import ClientError
from oyez.files.media import Media, MediaError, open_media, run_blocking
from oyez.files.results import Partial, Progress, Result, Segment, TranscriptionError

Recognise = Callable[[Iterator[Samples]], AsyncGenerator[Result]]
"""From the audio of a file to what is said in it."""


@dataclass(slots=True)
class Summary:
    done: int = 0
    """Files of which everything was transcribed."""
    failed: int = 0
    interrupted: bool = False
    unreachable: str | None = None
    """Why the server could not be used, if not even the first file was begun."""


class Transcribing:
    """Build it, then `run` once, inside an event loop."""

    def __init__(
        self, recognise: Recognise, progress: FileProgress, form: str, *, streams_text: bool
    ) -> None:
        """streams_text: text that goes to stdout is printed segment by segment."""
        self._recognise = recognise
        self._progress = progress
        self._form = form
        self._streams_text = streams_text

    async def run(self, inputs: Sequence[str], outputs: Sequence[Path | None]) -> Summary:
        """Never raises for what a file or a server does: that is in the summary."""
        summary = Summary()
        for name, output in zip(inputs, outputs, strict=True):
            transcript = Transcript("stdin" if name == STDIN else name)
            began_s = time.monotonic()
            fault = await self._attempt(name, output, transcript, summary)
            if summary.unreachable:
                return summary
            unwritten = self._put(transcript, output)
            took_s = time.monotonic() - began_s
            self._tell(transcript, output, fault, unwritten, took_s)
            fault = unwritten or fault
            if summary.interrupted:
                return summary
            summary.failed += fault is not None
            summary.done += fault is None
        return summary

    async def _attempt(
        self, name: str, output: Path | None, transcript: Transcript, summary: Summary
    ) -> str | None:
        """Transcribe one file; what went wrong, if anything did."""
        try:
            with _opened(name) as file, interruptible(file):
                await self._transcribe(file, output, transcript)
        except asyncio.CancelledError:
            summary.interrupted = True
            return "interrupted"
        except ClientError as error:
            if not summary.done and not transcript.segments:
                summary.unreachable = str(error)
            return str(error)
        except BrokenPipeError:
            raise  # whoever reads our output has left
        except OSError as error:
            return error.strerror or str(error)
        except (MediaError, TranscriptionError) as error:
            return str(error)
        if transcript.failures:
            return f"{counted(transcript.failures, 'passage')} could not be recognised"
        return None

    async def _transcribe(
        self, file: BinaryIO, output: Path | None, transcript: Transcript
    ) -> None:
        printing = output is None and self._streams_text
        with contextlib.ExitStack() as stack:
            media = await run_blocking(stack.enter_context, open_media(file))
            self._progress.begin(transcript.name, media.duration_s)
            async with contextlib.aclosing(self._recognise(media.blocks())) as results:
                async for result in results:
                    match result:
                        case Segment():
                            self._progress.segment()
                            if printing and (line := text_line(result)):
                                print(printable(line), flush=True)
                            transcript.segments.append(result)
                        case Partial():
                            self._progress.partial(result)
                        case Progress(done_s):
                            transcript.done_s = done_s
                            self._progress.reached(done_s)
            self._finish(transcript, media)

    def _finish(self, transcript: Transcript, media: Media) -> None:
        transcript.complete = True
        transcript.done_s = media.decoded_s
        transcript.notes = list(media.notes)
        for note in media.notes:
            self._progress.say(f"{transcript.name}: {note}")

    def _put(self, transcript: Transcript, output: Path | None) -> str | None:
        """Write what there is, also of a file that was broken off; the fault, if there is one."""
        if not transcript.complete and not transcript.segments:
            return None
        if output is None and self._streams_text:
            return None
        text = render(transcript, self._form)
        try:
            if output is not None:
                write(output, text)
            else:
                sys.stdout.write(text)
                sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            return f"{output or 'stdout'}: {error.strerror or error}"
        return None

    def _tell(
        self,
        transcript: Transcript,
        output: Path | None,
        fault: str | None,
        unwritten: str | None,
        took_s: float,
    ) -> None:
        where = f" → {output}" if output is not None else ""
        speed = f"{transcript.done_s / max(took_s, 1e-3):.1f}x real time"
        done = f"{clock(transcript.done_s)} in {clock(took_s, tenths=True)}, {speed}"
        if fault is None and unwritten is None:
            self._progress.end(f"{transcript.name}{where}: {done}")
            return
        kept = ""
        if transcript.segments and unwritten is None:
            place = str(output) if output is not None else "the output"
            kept = f"; {place} holds the first {clock(transcript.segments[-1].end_s)}"
        self._progress.say(f"oyez: {transcript.name}: {unwritten or fault}{kept}")


@contextlib.contextmanager
def interruptible(file: BinaryIO) -> Iterator[None]:
    """Ctrl-C and SIGTERM cancel the current task, and end a read of `file` that waits."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    leave = getattr(file, "leave", None)

    def interrupt() -> None:
        task.cancel()
        if leave is not None:
            leave()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt comes
            loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)


@contextlib.contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    with contextlib.ExitStack() as stack:
        file: BinaryIO = sys.stdin.buffer
        if name != STDIN:
            file = stack.enter_context(Path(name).open("rb"))
        if file.seekable():
            yield file
        else:
            pipe = stack.enter_context(contextlib.closing(PipeInput(file)))
            yield cast(BinaryIO, pipe)  # it only reads
