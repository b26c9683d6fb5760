"""Opus, however it is wrapped: in Ogg, in WebM, or as bare packets (RFC 6716)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import av
import numpy as np

from oyez.recognisers.base import SAMPLE_RATE, Samples
from oyez.stages.audio import AudioError, Resampler, join, pcm16_to_samples
from oyez.stages.ogg import OGG_MAGIC, OggDemuxer
from oyez.stages.opus_head import MAX_PACKET_BYTES, Demuxed, OpusHead
from oyez.stages.webm import WEBM_MAGIC, WebmDemuxer

_OPUS_SAMPLE_RATE = 48_000
_MAX_FEED_SAMPLES = 30 * 60 * SAMPLE_RATE
"""A feed may decode to 30 minutes: a few bytes of Opus can claim hours, which fill the memory."""


class _Demuxer(Protocol):
    def feed(self, data: bytes) -> Iterator[Demuxed]: ...


class OpusDecoder:
    """Mono or stereo Opus as mono. An AudioDecoder.

    The first bytes tell the container; without one, each feed is one packet. Raises AudioError
    for other codecs in those containers, for corrupt packets, and for feeds of more than 30
    minutes, the rest of which is lost.
    """

    def __init__(self) -> None:
        self._beginning = b""
        self._demuxer: _Demuxer | None = None
        self._packets = _PacketDecoder()
        self._resampler = Resampler(_OPUS_SAMPLE_RATE)
        self._ready: list[Samples] = []

    def feed(self, data: bytes) -> Samples:
        blocks, self._ready = self._ready, []
        problem: AudioError | None = None
        decoded_samples = 0
        for item in self._demux(data):
            try:
                if decoded_samples > _MAX_FEED_SAMPLES and isinstance(item, bytes):
                    raise AudioError("More than 30 minutes of audio at once: send smaller pieces.")
                block = self._take(item)
            except AudioError as error:
                problem = problem or error
            else:
                blocks.append(block)
                decoded_samples += len(block)
        samples = join(blocks)
        if problem is None:
            return samples
        self._ready = [samples]
        raise problem

    def flush(self) -> Samples:
        blocks, self._ready = self._ready, []
        return join([*blocks, self._resampler.flush()])

    def _demux(self, data: bytes) -> Iterator[Demuxed]:
        if self._demuxer is None:
            data = self._beginning = self._beginning + data
            if any(magic != data and magic.startswith(data) for magic in _CONTAINERS):
                return
            container = _CONTAINERS.get(data[:4], _BarePackets)
            self._demuxer = container()
            self._beginning = b""
        yield from self._demuxer.feed(data)

    def _take(self, item: Demuxed) -> Samples:
        if isinstance(item, AudioError):
            raise item
        if isinstance(item, OpusHead):
            self._packets.begin(item)
            return np.zeros(0, np.float32)
        return self._resampler.feed(self._packets.decode(item))


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
