"""What every Opus stream in a container begins with (RFC 7845, section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from oyez.audio.pcm import AudioError

MAX_PACKET_BYTES = 61_440
"""No Opus packet is longer (RFC 7845, section 6)."""

_MAGIC = b"OpusHead"
_HEAD_BYTES = 19
_MAX_VERSION = 15
_MONO_OR_STEREO = 0


@dataclass(frozen=True, slots=True)
class OpusHead:
    """What a decoder must know before the first packet of a mono or stereo stream."""

    pre_skip_samples: int
    """Samples at 48 kHz to drop at the beginning."""
    gain: float
    """Factor to apply to the decoded samples."""


Demuxed = OpusHead | bytes | AudioError | None
"""What a demuxer finds: the beginning of a stream, a packet of it, something wrong, or nothing.
Each is a small piece of work, as long as reading BLOCK_BYTES takes or less, so that who asks for
them one by one can stop at any time."""

BLOCK_BYTES = 2_048
"""Input that a demuxer takes in at a time."""


def parse_opus_head(packet: bytes) -> OpusHead | None:
    """The head in `packet`, or None if it is no head of a mono or stereo stream."""
    if len(packet) < _HEAD_BYTES or not packet.startswith(_MAGIC):
        return None
    version, channel_mapping_family = packet[8], packet[18]
    if version > _MAX_VERSION or channel_mapping_family != _MONO_OR_STEREO:
        return None
    gain_q8_db = int.from_bytes(packet[16:18], "little", signed=True)
    return OpusHead(
        pre_skip_samples=int.from_bytes(packet[10:12], "little"),
        gain=10 ** (gain_q8_db / 256 / 20),
    )
