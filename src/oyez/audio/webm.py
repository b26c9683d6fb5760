"""The demuxer of WebM: Opus packets from a stream that is cut anywhere, also from a live stream
of unknown size.

The format is that of RFC 8794 (EBML) and RFC 9559 (Matroska). Elements are read as one flat
sequence: the masters that contain audio are entered and their ends ignored, and everything else is
skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from oyez.audio.opus import BLOCK_BYTES, MAX_PACKET_BYTES, Demuxed, parse_opus_head
from oyez.audio.pcm import AudioError

WEBM_MAGIC = b"\x1a\x45\xdf\xa3"

_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_TRACKS = 0x1654AE6B
_TRACK_ENTRY = 0xAE
_TRACK_NUMBER = 0xD7
_CODEC_ID = 0x86
_CODEC_PRIVATE = 0x63A2
_CONTENT_ENCODINGS = 0x6D80
_SIMPLE_BLOCK = 0xA3
_BLOCK_GROUP = 0xA0
_BLOCK = 0xA1

_MAY_BE_ENDLESS = {_SEGMENT, _CLUSTER}
_ENTERED = {*_MAY_BE_ENDLESS, _TRACKS, _TRACK_ENTRY, _BLOCK_GROUP}
_READ = {_TRACK_NUMBER, _CODEC_ID, _CODEC_PRIVATE, _SIMPLE_BLOCK, _BLOCK}

_MAX_READ_BYTES = MAX_PACKET_BYTES + 16
_MAX_SKIPPED_BYTES = 64 * 1024 * 1024
_MAX_ID_BYTES = 4
_MAX_SIZE_BYTES = 8
_LACING = 0x06


@dataclass(slots=True)
class _Track:
    """What has been read of a TrackEntry."""

    number: int = 0
    codec: bytes = b""
    private: bytes = b""
    encoded: bool = False
    """Whether its frames are compressed or encrypted once more."""


class _Malformed(Exception):
    """The bytes are not an element that can stand at this place."""


class WebmDemuxer:
    """Finds the packets of the first Opus track of a WebM stream; one stream may follow another.

    After damage it continues at the next Cluster. It holds at most one packet and one block of
    input.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        # Bytes of the current element that are still to be skipped
        self._bytes_to_skip = 0
        # Whether the next Cluster or the next stream is looked for, after damage
        self._is_lost = False
        self._entry = _Track()
        # The number of the track that is decoded; None before it is known
        self._opus_track: int | None = None

    def feed(self, data: bytes) -> Iterator[Demuxed]:
        """Yield what `data` completes, and None for each element and block without anything in it.
        The iterator must be used up before the next call."""
        for start in range(0, len(data), BLOCK_BYTES):
            self._buffer += data[start : start + BLOCK_BYTES]
            yield None
            while self._find_element():
                yield None
                try:
                    element = _read_element(self._buffer)
                    if element is None:
                        break
                    yield from self._element(*element)
                except _Malformed:
                    self._is_lost = True
                    self._bytes_to_skip = 0
                    del self._buffer[:1]  # so that the same bytes are not read again
                    yield AudioError("The WebM stream is damaged: no element where one should be.")

    def _find_element(self) -> bool:
        """Drop what is skipped, and return whether anything is left to read."""
        skipped = min(self._bytes_to_skip, len(self._buffer))
        del self._buffer[:skipped]
        self._bytes_to_skip -= skipped
        if self._is_lost:
            magics = (_CLUSTER.to_bytes(4, "big"), WEBM_MAGIC)
            found = [at for magic in magics if (at := self._buffer.find(magic)) >= 0]
            self._is_lost = not found
            # If nothing is found, the last bytes may be the beginning of an id
            start = min(found, default=len(self._buffer) - _MAX_ID_BYTES + 1)
            del self._buffer[: max(start, 0)]
        return bool(self._buffer) and not self._is_lost

    def _element(self, element: int, header_bytes: int, payload_bytes: int) -> Iterator[Demuxed]:
        """Yield what the element completes, and plan to skip it."""
        self._bytes_to_skip = header_bytes + payload_bytes
        if element == _EBML:
            self._entry, self._opus_track = _Track(), None
        elif element in (_TRACK_ENTRY, _CLUSTER):
            yield from self._end_track()
            if element == _CLUSTER and self._opus_track is None:
                yield AudioError(
                    "The WebM stream has no mono or stereo Opus; nothing else is read."
                )
        elif element == _CONTENT_ENCODINGS:
            self._entry.encoded = True
        elif element in _READ and payload_bytes <= _MAX_READ_BYTES:
            payload = bytes(self._buffer[header_bytes : header_bytes + payload_bytes])
            if element == _TRACK_NUMBER:
                self._entry.number = int.from_bytes(payload, "big")
            elif element == _CODEC_ID:
                self._entry.codec = payload.rstrip(b"\0")
            elif element == _CODEC_PRIVATE:
                self._entry.private = payload
            else:
                yield from self._block(payload)

    def _end_track(self) -> Iterator[Demuxed]:
        """End the description of a track, and yield its head if this is the track to decode."""
        entry, self._entry = self._entry, _Track()
        if self._opus_track is not None or entry.codec != b"A_OPUS" or entry.encoded:
            return
        head = parse_opus_head(entry.private)
        if head is not None:
            self._opus_track = entry.number
            yield head

    def _block(self, block: bytes) -> Iterator[Demuxed]:
        """Yield the frame of a block, which is: track number, 16-bit timestamp, flags, and then the
        frame (RFC 9559, section 10)."""
        number = _read_vint(block, 0, _MAX_SIZE_BYTES)
        if number is None or len(block) < number[1] + 3:
            yield AudioError("The WebM stream is damaged: a block is too short.")
            return
        track, track_bytes = number
        if track != self._opus_track:
            return
        if block[track_bytes + 2] & _LACING:
            yield AudioError("The WebM stream uses lacing, which is not supported.")
        else:
            yield block[track_bytes + 3 :]


def _read_element(buffer: bytearray) -> tuple[int, int, int] | None:
    """Return id, header length and payload length of the element at the beginning. The payload of
    an entered element has length 0, because elements in it are read next.

    Returns None while the header is incomplete, or a payload that is read. Raises _Malformed if the
    bytes cannot be an element.
    """
    if (number := _read_vint(buffer, 0, _MAX_ID_BYTES)) is None:
        return None
    id_bytes = number[1]
    if (length := _read_vint(buffer, id_bytes, _MAX_SIZE_BYTES)) is None:
        return None
    size, size_bytes = length
    element, header_bytes = int.from_bytes(buffer[:id_bytes], "big"), id_bytes + size_bytes
    is_unknown = size == (1 << 7 * size_bytes) - 1
    if is_unknown and element not in _MAY_BE_ENDLESS:
        raise _Malformed
    if element in _ENTERED:
        return element, header_bytes, 0
    if size > _MAX_SKIPPED_BYTES:
        raise _Malformed
    must_be_read = element in _READ and size <= _MAX_READ_BYTES
    if must_be_read and len(buffer) < header_bytes + size:
        return None
    return element, header_bytes, size


def _read_vint(buffer: bytes | bytearray, start: int, max_bytes: int) -> tuple[int, int] | None:
    """Return value and length of the variable-size integer at `start` (RFC 8794, section 4).

    Returns None while it is incomplete. Raises _Malformed if it is longer than `max_bytes`.
    """
    if start >= len(buffer):
        return None
    length = 9 - buffer[start].bit_length()
    if length > max_bytes:
        raise _Malformed
    if start + length > len(buffer):
        return None
    value = int.from_bytes(buffer[start : start + length], "big")
    return value & ((1 << 7 * length) - 1), length
