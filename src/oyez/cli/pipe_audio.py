"""Audio from a pipe as it comes: raw PCM, or anything with a container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from oyez.audio.decoder import PcmDecoder, decode_all
from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.files.media import open_media

PIPE_BLOCK_BYTES = 16_384
MAGIC = (b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"\xff\xfb", b"FORM", b"\x47\x40")
"""What containers begin with; MP4 has its mark behind four bytes."""
LONGEST_MAGIC = 8


class Readable(Protocol):
    """What a pipe is read by."""

    def read(self, size: int, /) -> bytes: ...


def pipe_samples(file: Readable, rate: int | None) -> Iterator[Samples]:
    """Float32, 16 kHz, as it comes. Blocks. rate: as `Pipe`. Raises SourceError."""
    first = b""
    while rate is None and len(first) < LONGEST_MAGIC and (block := _read_some(file)):
        first += block
    if rate is None and _has_container(first):
        with open_media(_Rejoined(first, file)) as media:  # type: ignore[arg-type]  # it only reads
            yield from media.blocks()
        return
    decoder = PcmDecoder(rate or SAMPLE_RATE)
    yield decode_all(decoder, first)
    while block := _read_some(file):
        yield decode_all(decoder, block)
    yield decoder.flush()


def _has_container(first: bytes) -> bool:
    return first.startswith(MAGIC) or first[4:8] == b"ftyp"


class _Rejoined:
    """A pipe from which something was read already."""

    def __init__(self, first: bytes, rest: Readable) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int) -> bytes:
        if self._first:
            taken, self._first = self._first[:size], self._first[size:]
            return taken
        return _read_some(self._rest, size)

    def seekable(self) -> bool:
        return False


def _read_some(file: Readable, size: int = PIPE_BLOCK_BYTES) -> bytes:
    """What is there, at least a byte; empty at the end."""
    read1: Callable[[int], bytes] = getattr(file, "read1", file.read)
    return read1(size)
