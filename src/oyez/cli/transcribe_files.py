"""The work of `oyez transcribe`: one file after the other is opened, transcribed and written."""

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

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.cli.audio_sources import InterruptiblePipe
from oyez.cli.screens import QuietProgress
from oyez.cli.transcripts import STDIN, Transcript, render, text_line, write
from oyez.cli.values import clock, counted, printable
from oyez.client import (
    Captions,
    ClientError,
    ErrorEvent,
    Session,
    SessionOptions,
    Target,
    Utterance,
    open_session,
)
from oyez.files.media import MediaError, open_media, run_blocking
from oyez.files.results import Partial, Progress, Result, Segment, TranscriptionError

PACKET_SAMPLES = SAMPLE_RATE
"""Audio sent to a server at a time: a second is far below any server's limit of an append."""
Recognise = Callable[[Iterator[Samples]], AsyncGenerator[Result]]
"""From the audio of a file to its results."""


@dataclass(slots=True)
class Summary:
    """The outcome of all files."""

    done: int = 0
    """How many files were transcribed completely."""
    failed: int = 0
    interrupted: bool = False
    unreachable: str | None = None
    """Why the server cannot be used, if it could not be used from the beginning."""


class FileTranscription:
    """Use `run` once for each object, on an event loop."""

    def __init__(self, recognise: Recognise, progress: QuietProgress, form: str) -> None:
        """form: one of FORMATS. Text that goes to stdout is printed segment by segment."""
        self._recognise = recognise
        self._progress = progress
        self._form = form

    async def run(self, inputs: Sequence[str], outputs: Sequence[Path | None]) -> Summary:
        """Transcribe every file. Errors of files and servers are counted in the summary."""
        summary = Summary()
        for name, output in zip(inputs, outputs, strict=True):
            transcript = Transcript("stdin" if name == STDIN else name)
            began_s = time.monotonic()
            error = await self._attempt(name, output, transcript, summary)
            if summary.unreachable:
                return summary
            write_error = self._write(transcript, output)
            took_s = time.monotonic() - began_s
            self._report(transcript, output, error, write_error, took_s)
            if summary.interrupted:
                return summary
            is_done = error is None and write_error is None
            summary.done += is_done
            summary.failed += not is_done
        return summary

    async def _attempt(
        self, name: str, output: Path | None, transcript: Transcript, summary: Summary
    ) -> str | None:
        """Transcribe one file. Returns what went wrong."""
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
            raise  # the reader of stdout has closed it
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
        streams_text = output is None and self._form == "text"
        with contextlib.ExitStack() as stack:
            media = await run_blocking(stack.enter_context, open_media(file))
            self._progress.begin(transcript.name, media.duration_s)
            async with contextlib.aclosing(self._recognise(media.blocks())) as results:
                async for result in results:
                    match result:
                        case Segment():
                            self._progress.segment()
                            if streams_text and (line := text_line(result)):
                                print(printable(line), flush=True)
                            transcript.segments.append(result)
                        case Partial():
                            self._progress.partial(result)
                        case Progress(done_s):
                            transcript.done_s = done_s
                            self._progress.reached(done_s)
            transcript.complete = True
            transcript.done_s = media.decoded_s
            transcript.notes = list(media.notes)
            for note in media.notes:
                self._progress.notice(f"{transcript.name}: {note}")

    def _write(self, transcript: Transcript, output: Path | None) -> str | None:
        """Write what there is, also of a file that is not complete. Returns what went wrong."""
        is_empty = not transcript.complete and not transcript.segments
        if is_empty or (output is None and self._form == "text"):
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

    def _report(
        self,
        transcript: Transcript,
        output: Path | None,
        error: str | None,
        write_error: str | None,
        took_s: float,
    ) -> None:
        if error is None and write_error is None:
            where = f" → {output}" if output is not None else ""
            speed = f"{transcript.done_s / max(took_s, 1e-3):.1f}x real time"
            done = f"{clock(transcript.done_s)} in {clock(took_s, tenths=True)}, {speed}"
            self._progress.end(f"{transcript.name}{where}: {done}")
            return
        kept = ""
        if transcript.segments and write_error is None:
            place = str(output) if output is not None else "the output"
            kept = f"; {place} holds the first {clock(transcript.segments[-1].end_s)}"
        self._progress.notice(f"oyez: {transcript.name}: {write_error or error}{kept}")


async def remote_results(
    target: Target, options: SessionOptions, blocks: Iterator[Samples]
) -> AsyncGenerator[Result]:
    """Transcribe a file on a server, as `Transcriber.transcribe` does it in this process.

    Segments have no words, because the protocol has no times of words. Raises ClientError, and what
    `blocks` raises.
    """
    captions = Captions()
    async with open_session(target, options) as session:
        sending = asyncio.create_task(_send(session, blocks))
        try:
            async for event, _ in session.events():
                if sending.done() and sending.exception():
                    break
                if isinstance(event, ErrorEvent):
                    raise ClientError(event.error.message)
                if utterance := captions.take(event):
                    for result in _results(utterance):
                        yield result
                elif current := captions.current:
                    yield Partial(current[-1].text, current[-1].tentative, current[-1].language)
            sent_s = await sending
            yield Progress(sent_s)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(session: Session, blocks: Iterator[Samples]) -> float:
    """Send the audio and finish the session, also if the file breaks. Returns the seconds sent."""
    sent_samples = 0
    try:
        while (block := await run_blocking(next, blocks, None)) is not None:
            for start in range(0, len(block), PACKET_SAMPLES):
                packet = block[start : start + PACKET_SAMPLES]
                await session.send(samples_to_pcm16(packet).tobytes())
                sent_samples += len(packet)
    except Exception:
        with contextlib.suppress(ClientError):
            await session.finish()
        raise
    await session.finish()
    return sent_samples / SAMPLE_RATE


def _results(utterance: Utterance) -> Iterator[Result]:
    start_s = utterance.start_s or 0.0
    end_s = start_s if utterance.end_s is None else utterance.end_s
    text, failure = utterance.text, utterance.failure
    if text or failure:
        language, emotion = utterance.language, utterance.emotion
        yield Segment(start_s, end_s, text, language, emotion, (), failure)
    yield Progress(end_s)


@contextlib.contextmanager
def interruptible(file: BinaryIO) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM cancel the current task, and end a read of `file` that waits."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    interrupt_read = getattr(file, "interrupt", None)

    def on_signal() -> None:
        task.cancel()
        if interrupt_read is not None:
            interrupt_read()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        with contextlib.suppress(NotImplementedError):  # on Windows, KeyboardInterrupt comes
            loop.add_signal_handler(number, on_signal)
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
            pipe = stack.enter_context(contextlib.closing(InterruptiblePipe(file)))
            yield cast(BinaryIO, pipe)  # it only reads
