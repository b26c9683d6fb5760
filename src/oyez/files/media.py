"""Audio and video files become mono float32 at 16 kHz, block by block, in constant memory.

    with open_media(file) as media:
        for samples in media.blocks(): ...

This decodes inside this process: use it for the user's own files. Uploaded files are decoded in a
process of their own (`decoder_process`). Reading blocks: use a thread or `run_blocking`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

import numpy as np

from oyez.audio.pcm import Samples
from oyez.files.decoding import Decoder, open_decoder
from oyez.files.decoding import MediaError as MediaError

P = ParamSpec("P")
T = TypeVar("T")

THREADS = ThreadPoolExecutor(8, "file")
"""Threads for files only: a disk that hangs must not stop usage from being written."""


class Media(Decoder):
    """An open file. Made by `open_media`."""

    def blocks(self) -> Iterator[Samples]:
        """Yield the audio once, float32 [n] in [-1, 1], 0 < n <= BLOCK_SAMPLES. More in
        `Decoder.chunks`. Raises MediaError if there is no sound at all."""
        return map(as_samples, self.chunks())


def open_media(source: BinaryIO) -> AbstractContextManager[Media]:
    """Open the first audio track of a file, or of a pipe if the format allows it.

    Raises MediaError if it cannot be read: see `open_decoder`.
    """
    return open_decoder(source, Media)


def read_media(path: Path) -> Samples:
    """Return all of a file's audio, float32 [n]. Raises MediaError or OSError."""
    with path.open("rb") as file, open_media(file) as media:
        return np.concatenate(list(media.blocks()))


def as_samples(chunk: bytes) -> Samples:
    """Convert one of `Decoder.chunks` to float32 [n] in [-1, 1]."""
    samples: Samples = np.nan_to_num(np.frombuffer(chunk, np.float32)).clip(-1.0, 1.0)
    return samples


async def run_blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function of a file in a thread.

    If the task is cancelled, that takes effect only when the call has returned: the caller then
    closes the file, which no thread may be reading.
    """
    loop = asyncio.get_running_loop()
    call = loop.run_in_executor(THREADS, functools.partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()  # marks an error as seen, since the cancellation replaces it
        raise
