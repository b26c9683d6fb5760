"""Opus streams for the tests: whole ones made by a muxer, and pages and elements made by hand."""

from __future__ import annotations

import io
from typing import Literal

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from oyez.audio.decoder import AudioDecoder, decode_all, make_decoder
from oyez.audio.pcm import AudioError, Samples

OPUS_RATE = 48_000
Container = Literal["ogg", "webm"]


class _Pipe(io.BytesIO):
    """What a live recorder writes to: it cannot go back to fill in sizes."""

    def seekable(self) -> bool:
        return False


def hum(seconds: float, rate: int = OPUS_RATE) -> NDArray[np.float32]:
    """A voice-like signal: harmonics that swell and fade; float32 [n]."""
    t = np.arange(int(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 8))
    return (0.2 * voice * np.sin(np.pi * t / max(seconds, 1e-9)) ** 2).astype(np.float32)


def mux(
    container: Container,
    signal: NDArray[np.float32],
    *,
    layout: str = "mono",
    frame_ms: float = 20,
    live: bool = False,
) -> bytes:
    """`signal` at 48 kHz as a whole file; `live`: written without going back, sizes unknown."""
    file = _Pipe() if live else io.BytesIO()
    options = {"live": "1", "cluster_time_limit": "200"} if live and container == "webm" else {}
    pcm = (signal * 32_767).astype(np.int16)
    channels = 2 if layout == "stereo" else 1
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream("libopus", rate=OPUS_RATE, layout=layout)
        stream.options = {"frame_duration": str(frame_ms)}
        frame = av.AudioFrame.from_ndarray(
            np.repeat(pcm, channels)[None], format="s16", layout=layout
        )
        frame.sample_rate = OPUS_RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def packets_of(ogg: bytes) -> list[bytes]:
    """The bare Opus packets of an Ogg file, without its two headers."""
    with av.open(io.BytesIO(ogg), "r") as source:
        return [bytes(packet) for packet in source.demux(audio=0) if packet.size]


def opus_head(pre_skip: int = 312, gain_q8_db: int = 0, family: int = 0) -> bytes:
    """RFC 7845, section 5.1."""
    return (
        b"OpusHead\x01\x01"
        + pre_skip.to_bytes(2, "little")
        + OPUS_RATE.to_bytes(4, "little")
        + gain_q8_db.to_bytes(2, "little", signed=True)
        + bytes([family])
    )


OPUS_TAGS = b"OpusTags" + (4).to_bytes(4, "little") + b"test" + bytes(4)


def ogg_page(
    lacing: list[int], body: bytes, *, sequence: int, flags: int = 0, serial: int = 7
) -> bytes:
    """RFC 3533, section 6. `flags`: 1 continued, 2 first, 4 last."""
    page = (
        b"OggS\0"
        + bytes([flags])
        + bytes(8)
        + serial.to_bytes(4, "little")
        + sequence.to_bytes(4, "little")
        + bytes(4)
        + bytes([len(lacing), *lacing])
        + body
    )
    return page[:22] + _ogg_checksum(page).to_bytes(4, "little") + page[26:]


def ogg_stream(packets: list[bytes], *, head: bytes | None = None, serial: int = 7) -> bytes:
    """A page for each of: head, comments, and every packet."""
    pages = [opus_head() if head is None else head, OPUS_TAGS, *packets]
    return b"".join(
        ogg_page(lace(packet), packet, sequence=index, flags=0 if index else 2, serial=serial)
        for index, packet in enumerate(pages)
    )


def lace(packet: bytes) -> list[int]:
    """The segment lengths of one whole packet."""
    return [255] * (len(packet) // 255) + [len(packet) % 255]


def element(identifier: str, payload: bytes, *, unknown_size: bool = False) -> bytes:
    """RFC 8794: an EBML element with an eight-byte size."""
    size = b"\x01" + (b"\xff" * 7 if unknown_size else len(payload).to_bytes(7, "big"))
    return bytes.fromhex(identifier) + size + payload


def webm_track(number: int, codec: bytes, private: bytes, extra: bytes = b"") -> bytes:
    """A TrackEntry."""
    return element(
        "ae",
        element("d7", bytes([number]))
        + element("86", codec)
        + element("63a2", private)
        + element("e1", element("b5", bytes(4)))
        + extra,
    )


def webm_block(packet: bytes, *, track: int = 1, flags: int = 0x80) -> bytes:
    """What a SimpleBlock or a Block holds."""
    return bytes([0x80 | track, 0, 0, flags]) + packet


def webm_stream(tracks: bytes, blocks: bytes) -> bytes:
    """As browsers record: the sizes of Segment and Cluster unknown."""
    cluster = element("1f43b675", element("e7", b"\0") + blocks, unknown_size=True)
    body = element("1549a966", element("2ad7b1", b"\x0f\x42\x40"))
    body += element("1654ae6b", tracks) + cluster
    header = element("1a45dfa3", element("4282", b"webm"))
    return header + element("18538067", body, unknown_size=True)


def decode(*pieces: bytes) -> Samples:
    """What an OpusDecoder hears in `pieces`: float32 [n], 16 kHz."""
    decoder = make_decoder("opus", 16_000)
    return np.concatenate([*(decode_all(decoder, piece) for piece in pieces), decoder.flush()])


def drain(decoder: AudioDecoder) -> tuple[list[Samples], list[AudioError]]:
    """All that waits in it, as it comes, and what was wrong."""
    heard, errors = [np.zeros(0, np.float32)], []
    while decoder.waiting_bytes:
        samples, error = decoder.decode()
        heard.append(samples)
        errors += [error] if error else []
    return heard, errors


def assert_sounds_like(
    samples: Samples, expected: Samples, start: int = 0, tolerance_samples: int = 16
) -> None:
    """`expected` is heard in `samples` at `start`, but for what Opus loses."""
    heard = samples[start : start + len(expected)]
    assert len(heard) >= len(expected) - 400
    expected = expected[: len(heard)]
    best = max(
        float(np.corrcoef(heard[99:-99], np.roll(expected, shift)[99:-99])[0, 1])
        for shift in range(-tolerance_samples, tolerance_samples + 1)
    )
    assert best > 0.98
    assert np.std(heard) == pytest.approx(np.std(expected), rel=0.1)


def _ogg_checksum(page: bytes) -> int:
    """Bit by bit as RFC 3533 words it, to check faster ways against."""
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x104C11DB7 if remainder & 0x80000000 else 0)
    return remainder
