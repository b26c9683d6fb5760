"""Opus packets become samples (RFC 6716), and what stands before them in a container (RFC 7845)."""

from __future__ import annotations

from typing import NamedTuple

import av
import numpy as np

from oyez.audio.pcm import AudioError, Samples, join, pcm16_to_samples

OPUS_SAMPLE_RATE = 48_000
"""The rate at which packets are decoded, in Hz."""
MAX_PACKET_BYTES = 61_440
"""No Opus packet is longer (RFC 7845, section 6)."""

_HEAD_BYTES = 19
_MAX_VERSION = 15
_MONO_OR_STEREO = 0


class OpusHead(NamedTuple):
    """The properties of a mono or stereo stream that its decoder needs before the first packet."""

    pre_skip_samples: int
    """This many samples at 48 kHz are dropped at the beginning."""
    gain: float
    """The decoded samples are multiplied by this factor."""


Demuxed = OpusHead | bytes | AudioError | None
"""What a demuxer yields: the beginning of a stream, a packet of it, a fault, or nothing.

Between two of them a demuxer does a small piece of work, at most what reading BLOCK_BYTES takes,
so that its caller can stop at any time."""

BLOCK_BYTES = 2_048
"""A demuxer takes in this much input at a time."""


def parse_opus_head(packet: bytes) -> OpusHead | None:
    """Return the head in `packet` (RFC 7845, section 5.1), or None if it is not the head of a mono
    or stereo stream."""
    if len(packet) < _HEAD_BYTES or not packet.startswith(b"OpusHead"):
        return None
    version, channel_mapping_family = packet[8], packet[18]
    if version > _MAX_VERSION or channel_mapping_family != _MONO_OR_STEREO:
        return None
    gain_q8_db = int.from_bytes(packet[16:18], "little", signed=True)
    return OpusHead(int.from_bytes(packet[10:12], "little"), 10 ** (gain_q8_db / 256 / 20))


class PacketDecoder:
    """Decodes the Opus packets of one stream after another to mono samples at 48 kHz."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.sample_rate = OPUS_SAMPLE_RATE
        self._codec.layout = "mono"  # libopus mixes stereo packets down by itself
        self._samples_to_skip = 0
        self._gain = 1.0

    def begin(self, head: OpusHead) -> None:
        """Forget the previous stream and begin the one that `head` describes."""
        self._codec.flush_buffers()
        self._samples_to_skip = head.pre_skip_samples
        self._gain = head.gain

    def decode(self, packet: bytes) -> Samples:
        """Decode one packet, which is not empty, to float32 [n]. Raises AudioError if it is
        corrupt or too long."""
        if len(packet) > MAX_PACKET_BYTES:
            raise AudioError(f"An Opus packet is longer than {MAX_PACKET_BYTES} bytes.")
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.FFmpegError as error:
            raise AudioError(f"Corrupt Opus packet of {len(packet)} bytes.") from error
        samples = join([pcm16_to_samples(frame.to_ndarray()[0]) for frame in frames])
        skipped = min(self._samples_to_skip, len(samples))
        self._samples_to_skip -= skipped
        samples = samples[skipped:]
        if self._gain != 1.0:
            samples = np.clip(samples * np.float32(self._gain), -1.0, 1.0)
        return samples
