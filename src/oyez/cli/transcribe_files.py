"""The work of `oyez transcribe`: one file after the other is opened, transcribed and written.

`plan` finds the places of the documents, `transcribe_files` makes the documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.cli.audio_sources import InterruptiblePipe
from oyez.cli.engines import captioned, on_signals
from oyez.cli.errors import NEVER_STARTED, USAGE, CommandError
from oyez.cli.screens import FileProgress
from oyez.cli.values import clock, counted, printable
from oyez.client import Captions, ClientError, SessionOptions, Target, Utterance
from oyez.files.media import MediaError, open_media, run_blocking
from oyez.files.results import (
    Partial,
    Progress,
    Result,
    Segment,
    TranscriptionError,
    Word,
    document,
)
from oyez.files.subtitles import srt, vtt

STDIN = "-"
SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}
"""By format: the suffix of the file."""
PACKET_SAMPLES = SAMPLE_RATE
"""Audio sent to a server at a time: a second is far below any server's limit of an append."""
Recognise = Callable[[Iterator[Samples]], AsyncGenerator[Result]]
"""From the audio of a file to its results."""


@dataclass(slots=True)
class Transcript:
    """The result of one file."""

    name: str
    segments: list[Segment] = field(default_factory=list)
    done_s: float = 0.0
    """How much of the audio was transcribed."""
    complete: bool = False
    """Whether the whole file was transcribed."""
    notes: list[str] = field(default_factory=list)
    """Faults of the file that did not stop the transcription."""


@dataclass(slots=True)
class Summary:
    """The outcome of all files."""

    done: int = 0
    """How many files were transcribed completely."""
    failed: int = 0
    interrupted: bool = False


def plan(inputs: Sequence[str], output: str | None, form: str, *, force: bool) -> list[Path | None]:
    """Return the path for each input, in order; None stands for stdout.

    output: a file (for one input), a directory, or "-" for stdout; None: stdout for one input,
    beside each of several. Raises CommandError before anything is written.
    """
    if output == STDIN or (output is None and len(inputs) == 1):
        return [None] * len(inputs)
    paths = _paths(inputs, output, SUFFIXES[form])
    taken = {Path(name).absolute() for name in inputs if name != STDIN}
    for path, name in zip(paths, inputs, strict=True):
        message = None
        if path.absolute() in taken:
            message = f"{path} is an input: choose another place with --output"
        elif path.exists() and _is_replaced(path) and not force:
            message = f"{path} exists: choose another place with --output, or --force"
        elif not path.parent.is_dir():
            message = f"{path.parent} of {name} is no directory: make it first"
        if message:
            raise CommandError(message, USAGE)
    return list(paths)


async def transcribe_files(
    recognise: Recognise,
    progress: FileProgress,
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
    progress: FileProgress,
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

    async with contextlib.aclosing(captioned(target, options, packets(), captions)) as events:
        async for _, utterance in events:
            if utterance:
                for result in _results(utterance):
                    yield result
            elif current := captions.current:
                yield Partial(current[-1].text, current[-1].tentative, current[-1].language)
    yield Progress(sent_samples / SAMPLE_RATE)


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


def render(transcript: Transcript, form: str) -> str:
    """Return the whole document, also of a transcript that is not complete."""
    if form == "json":
        known = document(transcript.segments, transcript.done_s, transcript.notes)
        whole = {"file": transcript.name, "complete": transcript.complete, **known}
        return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
    if form == "text":
        return "".join(line + "\n" for line in map(text_line, transcript.segments) if line)
    return "".join((srt if form == "srt" else vtt)(map(with_words, transcript.segments)))


def text_line(segment: Segment) -> str:
    """Return a segment as a line of text, with a mark if it failed; empty if it has no words."""
    if segment.failure is None:
        return segment.text.strip()
    span = f"{clock(segment.start_s)}-{clock(segment.end_s)}"
    return f"{segment.text.strip()} [{span} not recognised]".strip()


def with_words(segment: Segment) -> Segment:
    """Return the segment with words; where it has none, their times are spread over its letters."""
    if segment.words or not segment.text.strip():
        return segment
    parts = re.findall(r"\s*\S+", segment.text)
    if len(parts) == 1:
        parts = list(segment.text)
    per_letter_s = (segment.end_s - segment.start_s) / sum(map(len, parts))
    words, at_s = [], segment.start_s
    for part in parts:
        words.append(Word(part, at_s, at_s + len(part) * per_letter_s, 0.0))
        at_s = words[-1].end_s
    return replace(segment, words=tuple(words))


def write(path: Path, text: str) -> None:
    """Write the whole file or nothing; write directly to a device or pipe. Raises OSError."""
    if path.exists() and not _is_replaced(path):
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    part.touch(exist_ok=False)
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _is_replaced(path: Path) -> bool:
    """Return False for /dev/null, /dev/stdout or a named pipe, which must not be replaced."""
    return path.is_file() and path.parent not in (Path("/dev"), Path("/dev/fd"))


def _paths(inputs: Sequence[str], output: str | None, suffix: str) -> list[Path]:
    directory = Path(output) if output is not None else None
    if directory is not None and not directory.is_dir():
        if len(inputs) > 1 or output is None or output.endswith(os.sep):
            raise CommandError(f"--output {output} is no directory: make it first", USAGE)
        return [directory]
    sources = [Path("stdin" if name == STDIN else name) for name in inputs]
    short = [(directory or source.parent) / f"{source.stem}{suffix}" for source in sources]
    # talk.mp3 and talk.wav must not both become talk.txt
    count = Counter(short)
    paths = [
        path if count[path] == 1 else path.with_name(f"{source.name}{suffix}")
        for path, source in zip(short, sources, strict=True)
    ]
    if len(set(paths)) < len(paths):
        message = "several inputs have the same name: transcribe them one by one"
        raise CommandError(message, USAGE)
    return paths
