"""Any file that FFmpeg reads → mono float32 at 16 kHz, block by block, in constant memory.

    with open_media(file) as media:
        for samples in media.blocks(): ...

Opens nothing but the stream it is given: playlists and other formats that name further files or
addresses are refused. Blocks: use it in a thread of its own or `asyncio.to_thread`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av
import numpy as np

from oyez.recognisers.base import SAMPLE_RATE, Samples

BLOCK_SAMPLES = 1 << 15
"""Two seconds, in whole windows of the voice activity detector."""
MAX_GAP_S = 600.0
"""A longer jump of a file's clock is no pause, but a new count."""
MIN_GAP_S = 0.1
KNOWN_LENGTH = {"wav", "w64", "aiff", "flac", "mov", "mp4", "matroska", "webm", "caf", "au"}
"""Formats that say how long they are. Elsewhere FFmpeg guesses from the size."""
LEADING_ELSEWHERE = {
    "hls",
    "dash",
    "concat",
    "concatf",
    "sdp",
    "rtsp",
    "imf",
    "image2",
    "tedcaptions",
}
"""Formats that are about other files."""
MIN_RATE_HZ, MAX_RATE_HZ = 2_000, 768_000
"""Of recordings there are. To resample from others may take FFmpeg many seconds."""
TAGS: dict[str, Any] = (
    {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
)
"""Tags that are no UTF-8 are no reason to refuse a file. From PyAV 19 on they never are, and there
is no such option."""
UNKNOWN_SIZE = 0xFFFF_FF00
"""What writes to a pipe puts about this into a WAV header."""
MISSING_S = 1.0
MISSING_SHARE = 0.02
"""So much less than announced is missing, not a matter of rounding."""


class MediaError(Exception):
    """This cannot be transcribed; the message says why and what to do."""


class Media:
    """An open file. Made by `open_media`."""

    def __init__(self, container: Any, stream: Any, source: BinaryIO) -> None:
        self.notes = list(_cut_off(source))
        """What was wrong with the file though it was used: complete once `blocks` has ended."""
        self._seekable = _is_seekable(source)
        self.decoded_s = 0.0
        """How much has come out of `blocks`."""
        self._container = container
        self._stream = stream
        self._damaged_packets = 0

    @property
    def format_names(self) -> list[str]:
        """What FFmpeg calls the form of the file."""
        return str(self._container.format.name).split(",")

    @property
    def duration_s(self) -> float | None:
        """As the file says, or is guessed from its size; None: unknown until it ends."""
        if self._container.duration:
            return float(self._container.duration / av.time_base)
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return None

    def blocks(self) -> Iterator[Samples]:
        """The audio once, float32 [n] in [-1, 1], n at most BLOCK_SAMPLES and not 0.

        Where the file leaves time out (a soundtrack that begins late), there is silence, so that
        times are those of the file. What cannot be decoded is left out and told in `notes`.
        Raises MediaError if there is no sound at all.
        """
        waiting: list[Samples] = []
        count = 0
        for samples in self._resampled():
            waiting.append(samples)
            count += len(samples)
            while count >= BLOCK_SAMPLES:
                whole = np.concatenate(waiting)
                yield self._counted(whole[:BLOCK_SAMPLES])
                waiting = [whole[BLOCK_SAMPLES:]]
                count -= BLOCK_SAMPLES
        if count:
            yield self._counted(np.concatenate(waiting))
        if not self.decoded_s:
            raise MediaError(NO_SOUND if self._seekable else NO_PIPE)
        self._note_what_is_missing()

    def _counted(self, samples: Samples) -> Samples:
        self.decoded_s += len(samples) / SAMPLE_RATE
        return samples

    def _resampled(self) -> Iterator[Samples]:
        resampler: Any = None
        form: tuple[str, str, int] | None = None
        clock = _Clock(self._container.start_time)
        for frame in self._frames():
            if (now := (frame.format.name, frame.layout.name, frame.sample_rate)) != form:
                _check_rate(frame.sample_rate)
                yield from _drain(resampler)
                resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
                form = now
            yield from clock.silence_before(frame)
            frame.pts = None
            try:
                heard = resampler.resample(frame)
            except (av.FFmpegError, ValueError):
                self._damaged_packets += 1
                resampler = form = None
            else:
                yield from _arrays(heard)
        yield from _drain(resampler)
        if clock.missing_s > MISSING_S:
            self.notes.append(f"{clock.missing_s:.1f} s of sound are missing in it")

    def _frames(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                return
            except (av.FFmpegError, LookupError) as error:
                # of tracks that appear on the way PyAV may raise IndexError
                self.notes.append(f"it ends early: {getattr(error, 'strerror', 'damaged')}")
                return
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except av.FFmpegError:
                self._damaged_packets += 1

    def _note_what_is_missing(self) -> None:
        if self._damaged_packets:
            self.notes.append(f"{self._damaged_packets} damaged packets were left out")
        announced_s = self.duration_s
        if announced_s is None or not KNOWN_LENGTH & set(self.format_names):
            return
        missing_s = announced_s - self.decoded_s
        if missing_s > max(MISSING_S, MISSING_SHARE * announced_s):
            self.notes.append(
                f"it ends early: {self.decoded_s:.1f} of {announced_s:.1f} s are there"
            )


@contextmanager
def open_media(source: BinaryIO) -> Iterator[Media]:
    """The first audio track of an open file; also of a pipe, where the format allows it.

    Raises MediaError when this is no media file, has no audio, or is about other files.
    """
    try:
        container = av.open(source, io_open=_refuse, **TAGS)
    except (av.FFmpegError, _Elsewhere, ValueError) as error:
        raise MediaError(_why_not(error, source)) from error
    with container:
        if LEADING_ELSEWHERE & set(container.format.name.split(",")):
            raise MediaError(ELSEWHERE)
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise MediaError("it has no audio track")
        if stream.codec_context is None:
            raise MediaError("its audio is of an unknown kind: convert it, to FLAC for instance")
        yield Media(container, stream, source)


def read_media(path: Path) -> Samples:
    """All of a file's sound at once, float32 [n]. Raises MediaError or OSError."""
    with path.open("rb") as file, open_media(file) as media:
        return np.concatenate(list(media.blocks()))


NO_SOUND = "there is no sound in it: it is empty, or damaged from its beginning"
NO_MEDIA = "it is empty, or not audio or video in a format that FFmpeg reads"
NO_PIPE = (
    "it is no audio or video that can be read from a pipe: some MP4 files have their index at the "
    "end; save it and give the file"
)
ELSEWHERE = "it is a list of other files or addresses: give the media file itself"


def _check_rate(rate_hz: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise MediaError(f"its sample rate of {rate_hz} Hz is none of sound: it is damaged")


class _Elsewhere(Exception):
    pass


def _refuse(url: str, flags: int, options: object) -> NoReturn:
    raise _Elsewhere


def _why_not(error: Exception, source: BinaryIO) -> str:
    if isinstance(error, _Elsewhere):
        return ELSEWHERE
    return NO_MEDIA if _is_seekable(source) else NO_PIPE


def _is_seekable(source: BinaryIO) -> bool:
    return bool(getattr(source, "seekable", lambda: False)())


def _cut_off(source: BinaryIO) -> Iterator[str]:
    """A WAV file whose end is missing: FFmpeg takes what there is for all of it."""
    if not _is_seekable(source):
        return
    position = source.tell()
    length = source.seek(0, os.SEEK_END)
    source.seek(0)
    form, size_bytes = source.read(4), int.from_bytes(source.read(4), "little")
    source.seek(position)
    if form == b"RIFF" and length < size_bytes + 8 and size_bytes < UNKNOWN_SIZE:
        yield f"it ends early: {length} of {size_bytes + 8} bytes are there"


class _Clock:
    """Compares the time that frames claim with the audio there has been."""

    def __init__(self, start_us: int | None) -> None:
        self._offset_s = -start_us / av.time_base if start_us is not None else 0.0
        self._played_s = 0.0
        self.missing_s = 0.0
        """Silence that stands for sound that is not there any more."""

    def silence_before(self, frame: Any) -> Iterator[Samples]:
        """What the file leaves out before this frame, and count the frame."""
        gap_s = 0.0 if frame.time is None else frame.time + self._offset_s - self._played_s
        if MIN_GAP_S < gap_s < MAX_GAP_S:
            self.missing_s += gap_s if self._played_s else 0.0
            self._played_s += gap_s
            left = round(gap_s * SAMPLE_RATE)
            while left > 0:
                yield np.zeros(min(left, BLOCK_SAMPLES), np.float32)
                left -= BLOCK_SAMPLES
        elif abs(gap_s) >= MAX_GAP_S:
            self._offset_s -= gap_s
        self._played_s += frame.samples / frame.sample_rate


def _drain(resampler: Any) -> Iterator[Samples]:
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _arrays(frames: list[Any]) -> Iterator[Samples]:
    for frame in frames:
        if frame.samples:
            samples: Samples = np.nan_to_num(frame.to_ndarray().reshape(-1)).clip(-1.0, 1.0)
            yield samples
