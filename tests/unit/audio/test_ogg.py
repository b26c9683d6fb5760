"""Opus in Ogg: pages whole, broken, mixed and chained."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from oyez.audio.pcm import AudioError
from support.opus_streams import (
    OPUS_TAGS,
    assert_sounds_like,
    decode,
    hum,
    lace,
    mux,
    ogg_page,
    ogg_stream,
    opus_head,
    packets_of,
)

_SECONDS = 1.0
_SIGNAL = hum(_SECONDS)
_EXPECTED = hum(_SECONDS, 16_000)
_OGG = mux("ogg", _SIGNAL)
_PACKETS = packets_of(_OGG)


def test_a_container_with_one_packet_a_page_gives_the_same_as_the_muxers() -> None:
    assert np.array_equal(decode(ogg_stream(_PACKETS)), decode(_OGG))


def test_pre_skip_is_dropped_from_the_beginning() -> None:
    early = decode(ogg_stream(_PACKETS, head=opus_head(pre_skip=0)))
    late = decode(ogg_stream(_PACKETS, head=opus_head(pre_skip=4_800)))
    assert len(early) - len(late) == 1_600
    assert np.allclose(early[1_700:-100], late[100:-100], atol=1e-3)


def test_the_heads_gain_is_applied() -> None:
    plain = decode(ogg_stream(_PACKETS))
    halved = decode(ogg_stream(_PACKETS, head=opus_head(gain_q8_db=round(-6.0206 * 256))))
    assert np.allclose(halved, plain / 2, atol=1e-4)


def test_a_deafening_gain_is_clipped() -> None:
    samples = decode(ogg_stream(_PACKETS, head=opus_head(gain_q8_db=32_767)))
    assert np.abs(samples).max() < 1.5


def test_a_chained_stream_goes_on_behind_the_first() -> None:
    samples = decode(_OGG + mux("ogg", _SIGNAL, layout="stereo"))
    assert_sounds_like(samples, _EXPECTED)
    assert_sounds_like(samples, _EXPECTED, start=len(samples) // 2)


def test_a_chained_stream_is_decoded_as_if_it_came_first() -> None:
    stream = ogg_stream(_PACKETS[20:30])
    samples = decode(stream + stream)
    half = len(samples) // 2
    assert np.allclose(samples[half + 99 : -99], samples[99 : half - 99], atol=1e-4)


def test_a_packet_may_span_pages() -> None:
    head, tags = opus_head(), OPUS_TAGS
    packet = max(_PACKETS, key=len)
    assert len(packet) > 255
    stream = (
        ogg_page(lace(head), head, sequence=0, flags=2)
        + ogg_page(lace(tags), tags, sequence=1)
        + ogg_page([255], packet[:255], sequence=2)
        + ogg_page([len(packet) - 255], packet[255:], sequence=3, flags=1)
    )
    assert len(packet) < 510
    assert np.array_equal(decode(stream), decode(ogg_stream([packet])))


def test_a_packet_whose_other_half_is_lost_is_left_out() -> None:
    packet = max(_PACKETS, key=len)
    first_half = ogg_page([255], packet[:255], sequence=2)
    second_half = ogg_page([len(packet) - 255], packet[255:], sequence=3, flags=1)
    whole = ogg_page(lace(packet), packet, sequence=4)
    for half in (first_half, second_half):
        assert np.array_equal(decode(ogg_stream([]) + half + whole), decode(ogg_stream([packet])))


def test_a_packet_whose_middle_is_lost_is_left_out() -> None:
    packet = bytes(510) + b"end"
    first = ogg_page([255], packet[:255], sequence=2)
    last = ogg_page([3], packet[510:], sequence=4, flags=1)
    whole = ogg_page(lace(_PACKETS[9]), _PACKETS[9], sequence=5)
    samples = decode(ogg_stream([]) + first + last + whole)
    assert np.array_equal(samples, decode(ogg_stream([_PACKETS[9]])))


def test_comments_as_large_as_pictures_are_skipped_and_not_kept() -> None:
    head = opus_head()
    pages = [ogg_page(lace(head), head, sequence=0, flags=2)]
    chunk = bytes(255 * 255)
    pages.append(ogg_page([255] * 255, b"OpusTags" + chunk[8:], sequence=1))
    pages += [ogg_page([255] * 255, chunk, sequence=n, flags=1) for n in range(2, 20)]
    pages.append(ogg_page([0], b"", sequence=20, flags=1))
    tracemalloc.start()
    samples = decode(*pages, ogg_page(lace(_PACKETS[9]), _PACKETS[9], sequence=21))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(samples, decode(ogg_stream([_PACKETS[9]])))
    assert peak_bytes < 2**20


def test_garbage_between_pages_is_skipped() -> None:
    pages = [ogg_stream([]), *_PACKETS]
    spoiled = (
        pages[0]
        + b"OggS garbage Ogg"
        + b"".join(
            ogg_page(lace(packet), packet, sequence=n) + b"junk"
            for n, packet in enumerate(_PACKETS, 2)
        )
    )
    samples = decode(spoiled)
    assert len(samples) > 0.9 * len(decode(_OGG))


def test_a_page_with_a_wrong_checksum_is_skipped_whole() -> None:
    good, bad = _PACKETS[:20], bytearray(ogg_page(lace(b"x" * 90), b"x" * 90, sequence=22))
    bad[-1] ^= 1
    assert np.array_equal(decode(ogg_stream(good) + bytes(bad)), decode(ogg_stream(good)))


def test_pages_of_other_streams_in_between_are_ignored() -> None:
    skeleton = ogg_page([8], b"fishead\0", sequence=0, flags=2, serial=99)
    stranger = ogg_page([3], b"\xff\xff\xff", sequence=1, serial=99)
    assert np.array_equal(decode(skeleton + _OGG + stranger), decode(_OGG))


@pytest.mark.parametrize("head", [b"\x01vorbis" + bytes(23), b"\x7fFLAC\1\0\0\1fLaC"])
def test_another_codec_in_ogg_is_refused(head: bytes) -> None:
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        decode(ogg_stream([b"music"], head=head))


def test_surround_sound_is_refused() -> None:
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        decode(ogg_stream(_PACKETS, head=opus_head(family=1) + b"\1\1\0\1\2"))


def test_ogg_that_stops_being_ogg_is_reported() -> None:
    with pytest.raises(AudioError, match="damaged"):
        decode(ogg_stream([]) + bytes(70_000))
