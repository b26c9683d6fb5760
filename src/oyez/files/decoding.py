"""Audio and video files become mono float32 at 16 kHz, as bytes, in constant memory.

Only the formats of CONTAINERS and CODECS are read, and nothing is opened but the stream that is
given. All of this blocks. It does not use numpy, without which the process that decodes uploads
starts faster and needs less memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn, TypeVar

import av

SAMPLE_RATE = 16_000
"""The same as in `audio.pcm`, which cannot be imported here because it imports numpy."""
SAMPLE_BYTES = 4
BLOCK_SAMPLES = 1 << 15
"""Samples of a block: two seconds, in whole windows of the voice activity detector."""
BLOCK_BYTES = BLOCK_SAMPLES * SAMPLE_BYTES
CONTAINER_LIST = (
    "wav,w64,aiff,caf,au,nistsphere,flac,mp3,aac,ac3,eac3,amr,wv,ape,tta,"
    "dss,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,asf,flv,mpeg,mpegts"
)
"""FFmpeg's names of the containers that are read. Others (pictures, playlists, descriptions of
streams such as SDP) are refused before anything in them is decoded or opened."""
CODEC_LIST = (
    "pcm_s8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_s64le,pcm_f32le,pcm_f64le,pcm_u8,"
    "pcm_s16be,pcm_s24be,pcm_s32be,pcm_s64be,pcm_f32be,pcm_f64be,pcm_u16le,"
    "pcm_u24le,pcm_u32le,pcm_u16be,pcm_u24be,pcm_u32be,pcm_s8_planar,"
    "pcm_s16le_planar,pcm_s24le_planar,pcm_s32le_planar,pcm_s16be_planar,pcm_f16le,"
    "pcm_f24le,pcm_bluray,pcm_dvd,s302m,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,"
    "adpcm_ima_qt,adpcm_swf,adpcm_yamaha,g722,g723_1,g726,g726le,g729,gsm,gsm_ms,"
    "truespeech,ilbc,speex,libspeex,dss_sp,nellymoser,opus,libopus,vorbis,amrnb,"
    "amrwb,libopencore_amrnb,libopencore_amrwb,mp1,mp1float,mp2,mp2float,mp3,"
    "mp3float,aac,aac_latm,ac3,eac3,dca,mlp,truehd,wmav1,wmav2,wmapro,wmavoice,"
    "flac,alac,ape,tta,wavpack,wmalossless"
)
"""FFmpeg's names of the audio decoders that are used."""
CONTAINERS = tuple(CONTAINER_LIST.split(","))
CODECS = tuple(CODEC_LIST.split(","))
LISTED_ONLY = {
    "format_whitelist": CONTAINER_LIST,
    "codec_whitelist": CODEC_LIST,
    "protocol_whitelist": "none",
}
MAX_GAP_S = 600.0
"""A larger jump of a file's timestamps is a restart of its clock, not silence."""
MIN_GAP_S = 0.1
"""A smaller jump of a file's timestamps is ignored."""
KNOWN_LENGTH = {"wav", "w64", "aiff", "flac", "mov", "mp4", "matroska", "webm", "caf", "au"}
"""Formats that announce their length. For others FFmpeg estimates it from the size."""
MIN_RATE_HZ, MAX_RATE_HZ = 2_000, 768_000
"""The sample rates that recordings have. FFmpeg may take many seconds to resample others."""
TAGS: dict[str, Any] = (
    {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
)
"""Options that accept files whose tags are not UTF-8. PyAV 19 and later always accepts them and has
no such option."""
UNKNOWN_SIZE = 0xFFFF_FF00
"""Programs that write WAV to a pipe announce about this size."""
MISSING_S = 1.0
MISSING_SHARE = 0.02
"""A file that is shorter than announced by more than both of these is cut off."""
NO_SOUND = "there is no sound in it: it is empty, or damaged from its beginning"
NO_MEDIA = (
    "it is empty, or not audio or video in a form that is read, such as WAV, MP3, M4A or WebM"
)
NO_PIPE = (
    "it is no audio or video that can be read from a pipe: some MP4 files have their index at the "
    "end; save it and give the file"
)
TOO_MUCH_MEMORY = "to decode it takes too much memory"

AnyDecoder = TypeVar("AnyDecoder", bound="Decoder")


class MediaError(Exception):
    """The file cannot be transcribed; the message says why and what to do."""


class Decoder:
    """An open file. Made by `open_decoder`."""

    def __init__(self, container: Any, stream: Any, source: BinaryIO) -> None:
        self.notes: list[str] = []
        """What was wrong with the file although it was used; complete once `chunks` has ended."""
        self._is_seekable = source.seekable()
        if self._is_seekable:
            self._note_cut_off(source)
        self.decoded_s = 0.0
        """Length of the audio that `chunks` has yielded so far."""
        self._container = container
        self._stream = stream
        self._damaged_packets = 0

    @property
    def duration_s(self) -> float | None:
        """Length of the audio, as the file gives it or as it is estimated from the file's size.
        None: it is not known before the end."""
        if self._container.duration:
            return float(self._container.duration / av.time_base)
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return None

    @property
    def announced_s(self) -> float | None:
        """Length of the audio, if the file itself announces it."""
        names = set(str(self._container.format.name).split(","))
        return self.duration_s if KNOWN_LENGTH & names else None

    def chunks(self) -> Iterator[bytes]:
        """Yield the audio once: float32 in the machine's byte order, BLOCK_BYTES at a time, less at
        the end. The values are the file's own: they may be above 1, or not numbers.

        Where the file skips time (a soundtrack that begins late) there is silence, so that times
        are those of the file. What cannot be decoded is left out and added to `notes`. Raises
        MediaError if there is no sound at all.
        """
        waiting = bytearray()
        try:
            for sound in self._resampled():
                waiting += sound
                while len(waiting) >= BLOCK_BYTES:
                    yield self._counted(bytes(waiting[:BLOCK_BYTES]))
                    del waiting[:BLOCK_BYTES]
        except MemoryError as error:
            raise MediaError(TOO_MUCH_MEMORY) from error
        if waiting:
            yield self._counted(bytes(waiting))
        if not self.decoded_s:
            raise MediaError(NO_SOUND if self._is_seekable else NO_PIPE)
        self._note_what_is_missing()

    def _counted(self, chunk: bytes) -> bytes:
        self.decoded_s += len(chunk) / SAMPLE_BYTES / SAMPLE_RATE
        return chunk

    def _resampled(self) -> Iterator[bytes]:
        resampler: Any = None
        form: tuple[str, str, int] | None = None
        clock = _Clock(self._container.start_time)
        for frame in self._frames():
            if (now := (frame.format.name, frame.layout.name, frame.sample_rate)) != form:
                if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
                    rate = f"its sample rate of {frame.sample_rate} Hz"
                    raise MediaError(f"{rate} is none of sound: it is damaged")
                yield from _resample(resampler, None)
                resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
                form = now
            yield from clock.silence_before(frame)
            frame.pts = None
            try:
                sound = _resample(resampler, frame)
            except (av.FFmpegError, ValueError):
                self._damaged_packets += 1
                resampler = form = None
            else:
                yield from sound
        yield from _resample(resampler, None)
        if clock.missing_s > MISSING_S:
            self.notes.append(f"{clock.missing_s:.1f} s of sound are missing in it")

    def _frames(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except MemoryError:
                raise
            except (StopIteration, av.error.EOFError):
                return
            except (av.FFmpegError, LookupError) as error:
                # PyAV may raise IndexError for tracks that appear in the middle of a file.
                self.notes.append(f"it ends early: {getattr(error, 'strerror', 'damaged')}")
                return
            try:
                yield from packet.decode()
            except MemoryError:
                raise
            except av.error.EOFError:
                return
            except av.FFmpegError:
                self._damaged_packets += 1

    def _note_cut_off(self, source: BinaryIO) -> None:
        """Look whether the end of a WAV file is missing. FFmpeg reports nothing in that case."""
        position = source.tell()
        length = source.seek(0, os.SEEK_END)
        source.seek(0)
        form, size_bytes = source.read(4), int.from_bytes(source.read(4), "little")
        source.seek(position)
        if form == b"RIFF" and length < size_bytes + 8 and size_bytes < UNKNOWN_SIZE:
            self.notes.append(f"it ends early: {length} of {size_bytes + 8} bytes are there")

    def _note_what_is_missing(self) -> None:
        if self._damaged_packets:
            self.notes.append(f"{self._damaged_packets} damaged packets were left out")
        announced_s, decoded_s = self.announced_s, self.decoded_s
        if announced_s and announced_s - decoded_s > max(MISSING_S, MISSING_SHARE * announced_s):
            self.notes.append(f"it ends early: {decoded_s:.1f} of {announced_s:.1f} s are there")


@contextmanager
def open_decoder(source: BinaryIO, kind: type[AnyDecoder]) -> Iterator[AnyDecoder]:
    """Open the first audio track of a file, or of a pipe if the format allows it.

    Raises MediaError if the file's format is not in CONTAINERS, or if it has no audio in one of
    CODECS.
    """
    try:
        container = av.open(source, io_open=_refuse, options=dict(LISTED_ONLY), **TAGS)
    except MemoryError as error:
        raise MediaError(TOO_MUCH_MEMORY) from error
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(NO_MEDIA if source.seekable() else NO_PIPE) from error
    with container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise MediaError("it has no audio track")
        if stream.codec_context is None or stream.codec_context.codec.name not in CODECS:
            raise MediaError("its audio is of a kind that is not read: convert it, to FLAC say")
        yield kind(container, stream, source)


def _refuse(url: str, flags: int, options: object) -> NoReturn:
    raise ValueError("a file refers to another file or address, which is not opened")


class _Clock:
    """Compares the timestamps of frames with the length of the audio before them."""

    def __init__(self, start_us: int | None) -> None:
        self._offset_s = -start_us / av.time_base if start_us is not None else 0.0
        self._played_s = 0.0
        self.missing_s = 0.0
        """Length of the silence that replaces missing audio."""

    def silence_before(self, frame: Any) -> Iterator[bytes]:
        """Yield silence for the time that the file skips before this frame, and count the frame."""
        gap_s = 0.0 if frame.time is None else frame.time + self._offset_s - self._played_s
        if MIN_GAP_S < gap_s < MAX_GAP_S:
            self.missing_s += gap_s if self._played_s else 0.0
            self._played_s += gap_s
            left = round(gap_s * SAMPLE_RATE)
            while left > 0:
                yield bytes(SAMPLE_BYTES * min(left, BLOCK_SAMPLES))
                left -= BLOCK_SAMPLES
        elif abs(gap_s) >= MAX_GAP_S:
            self._offset_s -= gap_s
        self._played_s += frame.samples / frame.sample_rate


def _resample(resampler: Any, frame: Any) -> list[bytes]:
    """Return the sound that a frame gives. frame: None for what the resampler still holds."""
    frames = resampler.resample(frame) if resampler is not None else []
    return [bytes(each.planes[0])[: each.samples * SAMPLE_BYTES] for each in frames if each.samples]
