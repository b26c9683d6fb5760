"""Decoders: encoded bytes from a client become samples, a bounded piece of work at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from oyez.audio.ogg import OGG_MAGIC, OggDemuxer
from oyez.audio.opus import OPUS_SAMPLE_RATE, Demuxed, OpusHead, PacketDecoder
from oyez.audio.pcm import SAMPLE_RATE, AudioError, Resampler, Samples, join, pcm16_to_samples
from oyez.audio.webm import WEBM_MAGIC, WebmDemuxer

PCM_SAMPLE_RATES = (8_000, 16_000, 24_000, 48_000)
"""The rates that `make_decoder` accepts for "pcm", in Hz."""

_MAX_STEP_S = 2
"""One call of `PcmDecoder.decode` decodes at most this much audio."""

# The work of one call of `OpusDecoder.decode` is counted in units of some 4 microseconds (Intel
# Xeon, Emerald Rapids)
_STEP_WORK = 400
"""A call stops once it has done this much work."""
_DEMUXED_WORK = 2
"""The work of each thing that a demuxer yields."""
_PACKET_WORK = 6
"""The work of each packet, besides that of what a demuxer yields and of its samples."""
_SAMPLES_A_UNIT = 64
"""Decoding this many samples of a packet is one unit of work."""


class AudioDecoder(Protocol):
    """Decodes the audio of one session, a bounded piece of work at a time. How the bytes are cut
    into feeds changes nothing, except that an Opus packet without a container is one feed."""

    @property
    def waiting_bytes(self) -> int:
        """The length of the last feed as long as not all of it has been decoded; else 0."""

    def feed(self, data: bytes) -> None:
        """Take encoded audio of any length. Call it only when nothing waits."""

    def decode(self) -> tuple[Samples, AudioError | None]:
        """Decode some of what waits: return float32 [n] at 16 kHz, some 2 s at most and possibly
        empty, and the first fault in it. The decoder stays usable after a fault. A call takes some
        2 ms at most, whatever the bytes are, because its work is counted."""

    def drop(self) -> None:
        """Drop what waits. Nothing may be fed after this."""

    def flush(self) -> Samples:
        """Return the tail of the audio decoded so far, float32 [n] at 16 kHz. Call it only when
        nothing waits. Audio fed later is resampled afresh, but continues the same container, packet
        or sample."""


def make_decoder(audio_format: str, sample_rate: int) -> AudioDecoder:
    """Return the decoder of one session. Raises AudioError if there is none for these values.

    audio_format: "pcm" (16 bit, little-endian, mono) or "opus" (in Ogg, in WebM, or one packet
    per feed). sample_rate: that of PCM, in Hz; Opus has its own.
    """
    if audio_format == "opus":
        return OpusDecoder()
    if audio_format != "pcm":
        raise AudioError(f"Audio format {audio_format!r} is not supported: use pcm or opus.")
    if sample_rate not in PCM_SAMPLE_RATES:
        allowed = ", ".join(str(rate) for rate in PCM_SAMPLE_RATES)
        raise AudioError(f"Sample rate {sample_rate} is not supported for pcm: use {allowed}.")
    return PcmDecoder(sample_rate)


def decode_all(decoder: AudioDecoder, data: bytes) -> Samples:
    """Decode all of `data` to float32 [n] at 16 kHz. Raises the first AudioError in it."""
    decoder.feed(data)
    blocks: list[Samples] = []
    while decoder.waiting_bytes:
        samples, error = decoder.decode()
        if error:
            raise error
        blocks.append(samples)
    return join(blocks)


class PcmDecoder:
    """An AudioDecoder of 16-bit little-endian mono PCM at any sample rate."""

    def __init__(self, sample_rate: int) -> None:
        """sample_rate: in Hz."""
        self._resampler = None if sample_rate == SAMPLE_RATE else Resampler(sample_rate)
        self._step_bytes = 2 * sample_rate * _MAX_STEP_S
        self._data = b""
        self._place = 0

    @property
    def waiting_bytes(self) -> int:
        return len(self._data) if self._place + 1 < len(self._data) else 0

    def feed(self, data: bytes) -> None:
        half_sample = self._data[self._place :]
        self._data, self._place = half_sample + data if half_sample else data, 0

    def decode(self) -> tuple[Samples, AudioError | None]:
        count = min(self._step_bytes, len(self._data) - self._place) // 2
        samples = pcm16_to_samples(np.frombuffer(self._data, "<i2", count, self._place))
        self._place += 2 * count
        if self._place + 1 >= len(self._data):
            # All is decoded but for half a sample: release the memory of the rest
            self._data, self._place = self._data[self._place :], 0
        return self._resampler.feed(samples) if self._resampler else samples, None

    def drop(self) -> None:
        self._data, self._place = b"", 0

    def flush(self) -> Samples:
        return self._resampler.flush() if self._resampler else np.zeros(0, np.float32)


class OpusDecoder:
    """An AudioDecoder of mono or stereo Opus, which becomes mono.

    The first bytes identify the container; without one, each feed is one packet. Other codecs in
    these containers and corrupt packets are faults.
    """

    def __init__(self) -> None:
        self.waiting_bytes = 0
        # The first bytes, until there are enough of them to identify the container
        self._beginning = b""
        self._demux: Callable[[bytes], Iterator[Demuxed]] | None = None
        # What the demuxer still has to yield of the last feed
        self._demuxed: Iterator[Demuxed] = iter(())
        self._packets = PacketDecoder()
        self._resampler = Resampler(OPUS_SAMPLE_RATE)

    def feed(self, data: bytes) -> None:
        self.waiting_bytes = len(data)
        if self._demux is None:
            data = self._beginning + data
            if any(magic != data and magic.startswith(data) for magic in _CONTAINERS):
                self._beginning = data
                return
            container = _CONTAINERS.get(data[:4])
            self._demux = container().feed if container else _bare_packet
            self._beginning = b""
        self._demuxed = self._demux(data)

    def decode(self) -> tuple[Samples, AudioError | None]:
        blocks: list[Samples] = []
        fault: AudioError | None = None
        work = 0
        # A few hostile bytes can cause much work: what is bounded is the work, not the bytes
        while work < _STEP_WORK:
            try:
                item = next(self._demuxed)
            except StopIteration:
                self.waiting_bytes = 0
                break
            work += _DEMUXED_WORK
            if isinstance(item, OpusHead):
                self._packets.begin(item)
            elif isinstance(item, AudioError):
                fault = fault or item
            elif item is not None:
                work += _PACKET_WORK
                try:
                    blocks.append(self._packets.decode(item))
                except AudioError as error:
                    fault = fault or error
                else:
                    work += len(blocks[-1]) // _SAMPLES_A_UNIT
        return self._resampler.feed(join(blocks)) if blocks else join(blocks), fault

    def drop(self) -> None:
        self._demuxed, self.waiting_bytes = iter(()), 0

    def flush(self) -> Samples:
        return self._resampler.flush()


def _bare_packet(data: bytes) -> Iterator[Demuxed]:
    """Yield the packet of a feed without a container."""
    if data:
        yield data


_CONTAINERS: dict[bytes, type[OggDemuxer | WebmDemuxer]] = {
    OGG_MAGIC: OggDemuxer,
    WEBM_MAGIC: WebmDemuxer,
}
