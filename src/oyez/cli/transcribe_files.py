"""The work of `oyez transcribe`: one file after the other is opened, transcribed and written."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.cli.audio_sources import InterruptiblePipe
from oyez.cli.engines import on_signals, send_audio
from oyez.cli.errors import NEVER_STARTED, CommandError
from oyez.cli.screens import QuietProgress
from oyez.cli.transcripts import STDIN, Transcript, render, text_line, write
from oyez.cli.values import clock, counted, printable
from oyez.client import (
    Captions,
    ClientError,
    ErrorEvent,
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


async def transcribe_files(
    recognise: Recognise,
    progress: QuietProgress,
    form: str,
    inputs: Sequence[str],
    outputs: Sequence[Path | None],
) -> Summary:
    """Transcribe every file. Errors of files and servers are printed and counted.

    form: one of SUFFIXES. Text that goes to stdout is printed segment by segment. Raises
    CommandError if the server cannot be used from the beginning.
    """
    summary = Summary()
    for name, output in zip(inputs, outputs, strict=True):
        transcript = Transcript("stdin" if name == STDIN else name)
        streams_text = output is None and form == "text"
        began_s = time.monotonic()
        error: str | None = None
        try:
            with _opened(name) as file:
                await _transcribe(transcript, recognise, progress, file, streams_text)
            if failures := sum(each.failure is not None for each in transcript.segments):
                error = f"{counted(failures, 'passage')} could not be recognised"
        except asyncio.CancelledError:
            summary.interrupted, error = True, "interrupted"
        except ClientError as fault:
            if not summary.done and not transcript.segments:
                raise CommandError(str(fault), NEVER_STARTED) from fault
            error = str(fault)
        except BrokenPipeError:
            raise  # the reader of stdout has closed it
        except OSError as fault:
            error = fault.strerror or str(fault)
        except (MediaError, TranscriptionError) as fault:
            error = str(fault)
        kept = ""
        if transcript.segments:
            end = clock(transcript.segments[-1].end_s)
            kept = f"; {output or 'the output'} holds the first {end}"
        if not streams_text and (transcript.complete or transcript.segments):
            try:
                _write(render(transcript, form), output)
            except BrokenPipeError:
                raise
            except OSError as fault:
                error, kept = f"{output or 'stdout'}: {fault.strerror or fault}", ""
        if error is None:
            summary.done += 1
            took_s, where = time.monotonic() - began_s, f" → {output}" if output else ""
            speed = f"{transcript.done_s / max(took_s, 1e-3):.1f}x real time"
            done = f"{clock(transcript.done_s)} in {clock(took_s, tenths=True)}, {speed}"
            progress.end(f"{transcript.name}{where}: {done}")
            continue
        progress.notice(f"oyez: {transcript.name}: {error}{kept}")
        if summary.interrupted:
            break
        summary.failed += 1
    return summary


async def _transcribe(
    transcript: Transcript,
    recognise: Recognise,
    progress: QuietProgress,
    file: BinaryIO,
    streams_text: bool,
) -> None:
    """Transcribe one file into `transcript`, which also has what came before an error."""
    with contextlib.ExitStack() as stack:
        media = await run_blocking(stack.enter_context, open_media(file))
        progress.begin(transcript.name, media.duration_s)
        async with contextlib.aclosing(recognise(media.blocks())) as results:
            async for result in results:
                progress.take(result)
                if isinstance(result, Progress):
                    transcript.done_s = result.done_s
                elif isinstance(result, Segment):
                    if streams_text and (line := text_line(result)):
                        print(printable(line), flush=True)
                    transcript.segments.append(result)
        transcript.complete = True
        transcript.done_s = media.decoded_s
        transcript.notes = list(media.notes)
        for note in media.notes:
            progress.notice(f"{transcript.name}: {note}")


def _write(text: str, output: Path | None) -> None:
    if output is not None:
        write(output, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


async def remote_results(
    target: Target, options: SessionOptions, blocks: Iterator[Samples]
) -> AsyncGenerator[Result]:
    """Transcribe a file on a server, as `Transcriber.transcribe` does it in this process.

    Segments have no words, because the protocol has no times of words. Raises ClientError, and what
    `blocks` raises.
    """
    captions = Captions()
    sent_samples = 0

    async def packets() -> AsyncIterator[bytes]:
        nonlocal sent_samples
        while (block := await run_blocking(next, blocks, None)) is not None:
            for start in range(0, len(block), PACKET_SAMPLES):
                packet = block[start : start + PACKET_SAMPLES]
                yield samples_to_pcm16(packet).tobytes()
                sent_samples += len(packet)

    async with open_session(target, options) as session:
        sending = asyncio.create_task(send_audio(session, packets()))
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
            await sending
            yield Progress(sent_samples / SAMPLE_RATE)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def _results(utterance: Utterance) -> Iterator[Result]:
    start_s = utterance.start_s or 0.0
    end_s = start_s if utterance.end_s is None else utterance.end_s
    text, failure = utterance.text, utterance.failure
    if text or failure:
        language, emotion = utterance.language, utterance.emotion
        yield Segment(start_s, end_s, text, language, emotion, (), failure)
    yield Progress(end_s)


@contextlib.contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """Open a file or stdin. Ctrl-C and SIGTERM cancel the current task, and end a read of a pipe
    that waits."""
    task = asyncio.current_task()
    assert task is not None
    with contextlib.ExitStack() as stack:
        file: BinaryIO = sys.stdin.buffer
        if name != STDIN:
            file = stack.enter_context(Path(name).open("rb"))
        pipe = None
        if not file.seekable():
            pipe = stack.enter_context(contextlib.closing(InterruptiblePipe(file)))

        def on_signal() -> None:
            task.cancel()
            if pipe is not None:
                pipe.interrupt()

        stack.enter_context(on_signals(on_signal))
        yield file if pipe is None else cast(BinaryIO, pipe)  # it only reads
