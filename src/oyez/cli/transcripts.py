"""The documents that `oyez transcribe` writes, and their places."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oyez.cli.errors import USAGE, CommandError
from oyez.cli.values import clock
from oyez.files.results import Segment, Word, document
from oyez.files.subtitles import srt, vtt

STDIN = "-"
SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}
"""By format: the suffix of the file."""


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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
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
