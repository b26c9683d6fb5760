"""The demuxer of Ogg: Opus packets from a stream that is cut anywhere (RFC 3533, RFC 7845)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from oyez.audio.opus import BLOCK_BYTES, MAX_PACKET_BYTES, Demuxed, parse_opus_head
from oyez.audio.pcm import AudioError

OGG_MAGIC = b"OggS"

_HEADER_BYTES = 27
_CONTINUED, _FIRST_PAGE = 0x01, 0x02
_MAX_GARBAGE_BYTES = _HEADER_BYTES + 255 + 255 * 255
"""As long as the longest page."""
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggDemuxer:
    """Finds the packets of the Opus streams in an Ogg stream; one stream may follow another.

    Damaged pages and bytes between pages are skipped. It holds at most one page and one packet.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        # Bytes since the last intact page that belong to no page
        self._garbage_bytes = 0
        # The serial number of the Opus stream; None while there is none
        self._serial: int | None = None
        # Whether the next packet may be the stream's comments
        self._comments_due = False
        # The number that the stream's next page should have
        self._sequence = 0
        # The beginning of a packet that goes on in the next page; None if there is none, or it is
        # lost
        self._open_packet: bytearray | None = None

    def feed(self, data: bytes) -> Iterator[Demuxed]:
        """Yield what `data` completes, and None for each page and block without anything in it.
        The iterator must be used up before the next call."""
        for start in range(0, len(data), BLOCK_BYTES):
            self._buffer += data[start : start + BLOCK_BYTES]
            yield from self._pages()
            yield None

    def _pages(self) -> Iterator[Demuxed]:
        """Yield what the whole pages in the buffer complete, and remove them."""
        place = 0
        while True:
            start = self._buffer.find(OGG_MAGIC, place)
            if start < 0:
                # The last bytes may be the beginning of the next page's magic number
                start = max(place, len(self._buffer) - len(OGG_MAGIC) + 1)
            self._garbage_bytes += start - place
            if self._garbage_bytes > _MAX_GARBAGE_BYTES:
                self._garbage_bytes = 0  # one fault for each _MAX_GARBAGE_BYTES
                yield AudioError("The Ogg stream is damaged: no page where one should begin.")
            size = _page_bytes(self._buffer, start)
            if size is None or start + size > len(self._buffer):
                del self._buffer[:start]
                return
            page = bytes(self._buffer[start : start + size])
            place = start + size
            yield None
            if _is_intact(page):
                self._garbage_bytes = 0
                yield from self._packets(page)
            else:
                self._garbage_bytes += size

    def _packets(self, page: bytes) -> Iterator[Demuxed]:
        """Yield what the intact page completes."""
        flags = page[5]
        serial, sequence = (int.from_bytes(page[at : at + 4], "little") for at in (14, 18))
        if flags & _FIRST_PAGE:
            yield from self._begin_stream(page, serial, sequence)
            return
        if self._serial is None:
            yield AudioError("The Ogg stream carries no mono or stereo Opus; nothing else is read.")
        if serial != self._serial:
            return
        if sequence != self._sequence:
            self._open_packet = None  # a page was lost, and with it the rest of the packet
        self._sequence = (sequence + 1) & 0xFFFFFFFF
        for index, (piece, is_end) in enumerate(_pieces(page)):
            if index == 0 and flags & _CONTINUED:
                if self._open_packet is None:
                    continue  # its beginning was lost
            else:
                self._open_packet = bytearray()
            # Bytes past the limit are dropped: comments may be huge, packets may not
            room = MAX_PACKET_BYTES + 1 - len(self._open_packet)
            self._open_packet += piece[:room]
            if is_end:
                yield self._end_packet()

    def _begin_stream(self, page: bytes, serial: int, sequence: int) -> Iterator[Demuxed]:
        """Yield the head of the stream that begins with this page, if it is Opus."""
        first = next(_pieces(page), None)
        head = parse_opus_head(first[0]) if first else None
        if head is None:
            if self._serial is not None and not self._comments_due:
                self._serial = None  # the Opus stream is over, and another kind begins
            return
        self._serial, self._sequence = serial, (sequence + 1) & 0xFFFFFFFF
        self._comments_due, self._open_packet = True, None
        yield head

    def _end_packet(self) -> bytes | None:
        """Return the packet that is complete now; None for an empty one and for comments."""
        packet, self._open_packet = bytes(self._open_packet or b""), None
        is_comments = self._comments_due and packet.startswith(b"OpusTags")
        self._comments_due = False
        return None if is_comments else packet or None


def _page_bytes(buffer: bytearray, start: int) -> int | None:
    """Return the size of the page at `start`, or None while its header is incomplete."""
    body = start + _HEADER_BYTES
    if len(buffer) < body or len(buffer) < body + (segments := buffer[body - 1]):
        return None
    return _HEADER_BYTES + segments + sum(buffer[body : body + segments])


def _is_intact(page: bytes) -> bool:
    """Return whether the page's checksum is right (RFC 3533, section 6, field 7)."""
    # zlib's CRC-32 has the same polynomial, but reads bits backwards and inverts them
    zeroed = page[:22] + bytes(4) + page[26:]
    backwards = zlib.crc32(zeroed.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return backwards.to_bytes(4, "big").translate(_REVERSED_BITS) == page[22:26]


def _pieces(page: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the packets and parts of packets in a page, each with whether its packet ends there:
    the last one may go on in the next page."""
    lacing = page[_HEADER_BYTES : _HEADER_BYTES + page[26]]
    start = end = _HEADER_BYTES + len(lacing)
    for length in lacing:
        end += length
        if length < 255:
            yield page[start:end], True
            start = end
    if lacing and lacing[-1] == 255:
        yield page[start:end], False
