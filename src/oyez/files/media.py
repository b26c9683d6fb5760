"""Audio and video files → mono float32 at 16 kHz, block by block, in constant memory.

    with open_media(file) as media:
        for samples in media.blocks(): ...

Decodes inside this process: for one's own files. What strangers send is decoded in a process of its
own (`decoder_process`). Blocks: use it in a thread of its own or `threads.in_thread`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from oyez.audio.pcm import Samples
from oyez.files.decoding import BLOCK_SAMPLES, Decoder, MediaError, open_decoder

__all__ = ["BLOCK_SAMPLES", "Media", "MediaError", "as_samples", "open_media", "read_media"]


class Media:
    """An open file. Made by `open_media`."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @property
    def notes(self) -> list[str]:
        """What was wrong with the file though it was used: complete once `blocks` has ended."""
        return self._decoder.notes

    @property
    def decoded_s(self) -> float:
        """How much has come out of `blocks`."""
        return self._decoder.decoded_s

    @property
    def duration_s(self) -> float | None:
        """As the file says, or is guessed from its size; None: unknown until it ends."""
        return self._decoder.duration_s

    def blocks(self) -> Iterator[Samples]:
        """The audio once, float32 [n] in [-1, 1], n at most BLOCK_SAMPLES and not 0. More in
        `Decoder.chunks`. Raises MediaError if there is no sound at all."""
        return map(as_samples, self._decoder.chunks())


@contextmanager
def open_media(source: BinaryIO) -> Iterator[Media]:
    """The first audio track of an open file; also of a pipe, where the format allows it.

    Raises MediaError when it is not read: see `open_decoder`.
    """
    with open_decoder(source) as decoder:
        yield Media(decoder)


def read_media(path: Path) -> Samples:
    """All of a file's sound at once, float32 [n]. Raises MediaError or OSError."""
    with path.open("rb") as file, open_media(file) as media:
        return np.concatenate(list(media.blocks()))


def as_samples(chunk: bytes) -> Samples:
    """One of `Decoder.chunks` as float32 [n] in [-1, 1]."""
    samples: Samples = np.nan_to_num(np.frombuffer(chunk, np.float32)).clip(-1.0, 1.0)
    return samples
