"""Opus in WebM: as recorders write it, beside video, broken, begun anew."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from oyez.audio.decoder import decode_all, make_decoder
from oyez.audio.pcm import AudioError
from support.opus_streams import (
    assert_sounds_like,
    decode,
    element,
    hum,
    mux,
    opus_head,
    packets_of,
    webm_block,
    webm_stream,
    webm_track,
)

_SECONDS = 1.0
_SIGNAL = hum(_SECONDS)
_EXPECTED = hum(_SECONDS, 16_000)
_OGG = mux("ogg", _SIGNAL)
_PACKETS = packets_of(_OGG)


def _webm(blocks: bytes, tracks: bytes | None = None) -> bytes:
    own = webm_track(1, b"A_OPUS", opus_head())
    return webm_stream(own if tracks is None else tracks, blocks)


def test_a_recording_begun_anew_goes_on_behind_the_first() -> None:
    samples = decode(mux("webm", _SIGNAL, live=True) * 2)
    assert_sounds_like(samples, _EXPECTED)
    assert_sounds_like(samples, _EXPECTED, start=len(samples) // 2)


def test_another_codec_in_webm_is_refused() -> None:
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        decode(_webm(b"", webm_track(1, b"A_VORBIS", b"\x02")))


def test_simple_blocks_and_block_groups_are_decoded() -> None:
    simple = b"".join(element("a3", webm_block(packet)) for packet in _PACKETS)
    grouped = b"".join(
        element("a0", element("a1", webm_block(packet, flags=0)) + element("9b", b"\x14"))
        for packet in _PACKETS
    )
    assert np.array_equal(decode(_webm(simple)), decode(_OGG))
    assert np.array_equal(decode(_webm(grouped)), decode(_OGG))


def test_video_beside_the_audio_is_skipped() -> None:
    tracks = webm_track(1, b"V_VP8", b"") + webm_track(2, b"A_OPUS", opus_head())
    blocks = element("a3", webm_block(bytes(200_000), track=1)) + b"".join(
        element("a3", webm_block(b"picture", track=1)) + element("a3", webm_block(packet, track=2))
        for packet in _PACKETS
    )
    assert np.array_equal(decode(_webm(blocks, tracks)), decode(_OGG))


def test_large_pictures_are_not_kept() -> None:
    decoder = make_decoder("opus", 16_000)
    size_bytes = 16 * 2**20
    stream = _webm(b"")
    decode_all(decoder, stream + b"\xa3\x01" + size_bytes.to_bytes(7, "big"))
    piece = bytes(2**16)
    tracemalloc.start()
    for _ in range(size_bytes // len(piece)):
        decode_all(decoder, piece)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**20
    audio = b"".join(element("a3", webm_block(packet)) for packet in _PACKETS)
    assert np.array_equal(
        np.concatenate([decode_all(decoder, audio), decoder.flush()]), decode(_OGG)
    )


def test_encrypted_webm_is_refused() -> None:
    track = webm_track(1, b"A_OPUS", opus_head(), extra=element("6d80", b""))
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        decode(_webm(b"", track))


def test_lacing_is_refused() -> None:
    with pytest.raises(AudioError, match="lacing"):
        decode(_webm(element("a3", webm_block(_PACKETS[0], flags=0x84))))


def test_damaged_webm_is_reported_once_and_goes_on_at_the_next_cluster() -> None:
    decoder = make_decoder("opus", 16_000)
    decode_all(decoder, _webm(element("a3", webm_block(_PACKETS[0]))))
    with pytest.raises(AudioError, match="damaged"):
        decode_all(decoder, bytes(100))
    looks_like_a_large_element = b"\xec\x01\0\0\0\0\x03\0\0"
    block = element("a3", webm_block(_PACKETS[1]))
    rest = looks_like_a_large_element + element("1f43b675", block, unknown_size=True)
    heard = [decode_all(decoder, rest[place : place + 1]) for place in range(len(rest))]
    assert len(np.concatenate([*heard, decoder.flush()])) == 2 * 320 - 104
