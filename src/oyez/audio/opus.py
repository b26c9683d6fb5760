"""Opus, however it is wrapped: in Ogg, in WebM, or as bare packets (RFC 6716)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import av
import numpy as np

from oyez.audio.ogg import OGG_MAGIC, OggDemuxer
from oyez.audio.opus_head import MAX_PACKET_BYTES, Demuxed, OpusHead
from oyez.audio.pcm import AudioError, Resampler, Samples, join, pcm16_to_samples
from oyez.audio.webm import WEBM_MAGIC, WebmDemuxer

_OPUS_SAMPLE_RATE = 48_000
_STEP_WORK = 400
"""What one call may do, in units of some 4 microseconds (Intel Xeon, Emerald Rapids)."""
_PIECE_WORK = 2
"""Of everything a demuxer finds …"""
_PACKET_WORK = 6
"""… of a packet besides …"""
_SAMPLES_A_UNIT = 64
"""… and of decoding so many samples of it."""


class _Demuxer(Protocol):
    def feed(self, data: bytes) -> Iterator[Demuxed]: ...


class OpusDecoder:
    """Mono or stereo Opus as mono. An AudioDecoder.

    The first bytes tell the container; without one, each feed is one packet. Other codecs in
    those containers and corrupt packets are AudioErrors.
    """

    def __init__(self) -> None:
        self._beginning = b""
        self._demuxer: _Demuxer | None = None
        self._found: Iterator[Demuxed] = iter(())
        self._waiting_bytes = 0
        self._packets = _PacketDecoder()
        self._resampler = Resampler(_OPUS_SAMPLE_RATE)

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    def feed(self, data: bytes) -> None:
        self._waiting_bytes = len(data)
        if self._demuxer is None:
            data = self._beginning = self._beginning + data
            if any(magic != data and magic.startswith(data) for magic in _CONTAINERS):
                return
            container = _CONTAINERS.get(data[:4], _BarePackets)
            self._demuxer = container()
            self._beginning = b""
        self._found = self._demuxer.feed(data)

    def decode(self) -> tuple[Samples, AudioError | None]:
        blocks: list[Samples] = []
        problem: AudioError | None = None
        work = 0
        while work < _STEP_WORK:
            try:
                item = next(self._found)
            except StopIteration:
                self._waiting_bytes = 0
                break
            work += _PIECE_WORK
            if isinstance(item, OpusHead):
                self._packets.begin(item)
            elif isinstance(item, AudioError):
                problem = problem or item
            elif item is not None:
                work += _PACKET_WORK
                try:
                    blocks.append(self._packets.decode(item))
                except AudioError as error:
                    problem = problem or error
                else:
                    work += len(blocks[-1]) // _SAMPLES_A_UNIT
        return self._resampler.feed(join(blocks)) if blocks else join(blocks), problem

    def drop(self) -> None:
        self._found, self._waiting_bytes = iter(()), 0

    def flush(self) -> Samples:
        return self._resampler.flush()


class _BarePackets:
    def feed(self, data: bytes) -> Iterator[Demuxed]:
        if data:
            yield data


_CONTAINERS: dict[bytes, type[_Demuxer]] = {OGG_MAGIC: OggDemuxer, WEBM_MAGIC: WebmDemuxer}


class _PacketDecoder:
    """Opus packets of one stream after another become mono samples at 48 kHz."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.sample_rate = _OPUS_SAMPLE_RATE
        self._codec.layout = "mono"  # libopus mixes stereo packets down by itself
        self._samples_to_skip = 0
        self._gain = 1.0

    def begin(self, head: OpusHead) -> None:
        """Forget the stream before; `head` describes the next one."""
        self._codec.flush_buffers()
        self._samples_to_skip = head.pre_skip_samples
        self._gain = head.gain

    def decode(self, packet: bytes) -> Samples:
        """One packet, not empty → float32 [n]. Raises AudioError if it is corrupt."""
        if len(packet) > MAX_PACKET_BYTES:
            raise AudioError(f"An Opus packet is longer than {MAX_PACKET_BYTES} bytes.")
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.FFmpegError as error:
            raise AudioError(f"Corrupt Opus packet of {len(packet)} bytes.") from error
        samples = join([pcm16_to_samples(frame.to_ndarray()[0]) for frame in frames])
        if self._samples_to_skip:
            skipped = min(self._samples_to_skip, len(samples))
            self._samples_to_skip -= skipped
            samples = samples[skipped:]
        if self._gain != 1.0:
            samples = np.clip(samples * np.float32(self._gain), -1.0, 1.0)
        return samples
