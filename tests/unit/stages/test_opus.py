"""Opus in Ogg, in WebM, and as bare packets."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from oyez.recognisers.base import Samples
from oyez.stages.audio import AudioError, make_decoder
from support.opus_streams import (
    OPUS_TAGS,
    element,
    hum,
    lace,
    mux,
    ogg_page,
    ogg_stream,
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


def _decode(*pieces: bytes) -> Samples:
    decoder = make_decoder("opus", 16_000)
    return np.concatenate([*(decoder.feed(piece) for piece in pieces), decoder.flush()])


def _assert_sounds_like(
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


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize(("container", "live"), [("ogg", False), ("webm", False), ("webm", True)])
def test_a_whole_stream_is_heard_in_place(container: str, live: bool, layout: str) -> None:
    stream = mux(container, _SIGNAL, layout=layout, live=live)  # type: ignore[arg-type]
    _assert_sounds_like(_decode(stream), _EXPECTED)


@pytest.mark.parametrize("frame_ms", [2.5, 5, 10, 20, 40, 60])
def test_bare_packets_of_any_length_are_heard_one_per_feed(frame_ms: float) -> None:
    packets = packets_of(mux("ogg", _SIGNAL, frame_ms=frame_ms))
    samples = _decode(*packets)
    assert len(samples) == len(packets) * frame_ms * 16
    # without a head nobody says how much the encoder put in front: 2.5 to 6.5 ms
    _assert_sounds_like(samples[72:], _EXPECTED, tolerance_samples=40)


def test_a_container_with_one_packet_a_page_gives_the_same_as_the_muxers() -> None:
    assert np.array_equal(_decode(ogg_stream(_PACKETS)), _decode(_OGG))


def test_pre_skip_is_dropped_from_the_beginning() -> None:
    early = _decode(ogg_stream(_PACKETS, head=opus_head(pre_skip=0)))
    late = _decode(ogg_stream(_PACKETS, head=opus_head(pre_skip=4_800)))
    assert len(early) - len(late) == 1_600
    assert np.allclose(early[1_700:-100], late[100:-100], atol=1e-3)


def test_the_heads_gain_is_applied() -> None:
    plain = _decode(ogg_stream(_PACKETS))
    halved = _decode(ogg_stream(_PACKETS, head=opus_head(gain_q8_db=round(-6.0206 * 256))))
    assert np.allclose(halved, plain / 2, atol=1e-4)


def test_a_deafening_gain_is_clipped() -> None:
    samples = _decode(ogg_stream(_PACKETS, head=opus_head(gain_q8_db=32_767)))
    assert np.abs(samples).max() < 1.5


def test_a_chained_stream_goes_on_behind_the_first() -> None:
    samples = _decode(_OGG + mux("ogg", _SIGNAL, layout="stereo"))
    _assert_sounds_like(samples, _EXPECTED)
    _assert_sounds_like(samples, _EXPECTED, start=len(samples) // 2)


def test_a_recording_begun_anew_goes_on_behind_the_first() -> None:
    samples = _decode(mux("webm", _SIGNAL, live=True) * 2)
    _assert_sounds_like(samples, _EXPECTED)
    _assert_sounds_like(samples, _EXPECTED, start=len(samples) // 2)


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
    assert np.array_equal(_decode(stream), _decode(ogg_stream([packet])))


def test_a_packet_whose_other_half_is_lost_is_left_out() -> None:
    packet = max(_PACKETS, key=len)
    first_half = ogg_page([255], packet[:255], sequence=2)
    second_half = ogg_page([len(packet) - 255], packet[255:], sequence=3, flags=1)
    whole = ogg_page(lace(packet), packet, sequence=4)
    for half in (first_half, second_half):
        assert np.array_equal(_decode(ogg_stream([]) + half + whole), _decode(ogg_stream([packet])))


def test_comments_as_large_as_pictures_are_skipped_and_not_kept() -> None:
    head = opus_head()
    pages = [ogg_page(lace(head), head, sequence=0, flags=2)]
    chunk = bytes(255 * 255)
    pages.append(ogg_page([255] * 255, b"OpusTags" + chunk[8:], sequence=1))
    pages += [ogg_page([255] * 255, chunk, sequence=n, flags=1) for n in range(2, 20)]
    pages.append(ogg_page([0], b"", sequence=20, flags=1))
    tracemalloc.start()
    samples = _decode(*pages, ogg_page(lace(_PACKETS[9]), _PACKETS[9], sequence=21))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(samples, _decode(ogg_stream([_PACKETS[9]])))
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
    samples = _decode(spoiled)
    assert len(samples) > 0.9 * len(_decode(_OGG))


def test_a_page_with_a_wrong_checksum_is_skipped_whole() -> None:
    good, bad = _PACKETS[:20], bytearray(ogg_page(lace(b"x" * 90), b"x" * 90, sequence=22))
    bad[-1] ^= 1
    assert np.array_equal(_decode(ogg_stream(good) + bytes(bad)), _decode(ogg_stream(good)))


def test_pages_of_other_streams_in_between_are_ignored() -> None:
    skeleton = ogg_page([8], b"fishead\0", sequence=0, flags=2, serial=99)
    stranger = ogg_page([3], b"\xff\xff\xff", sequence=1, serial=99)
    assert np.array_equal(_decode(skeleton + _OGG + stranger), _decode(_OGG))


@pytest.mark.parametrize("head", [b"\x01vorbis" + bytes(23), b"\x7fFLAC\1\0\0\1fLaC"])
def test_another_codec_in_ogg_is_refused(head: bytes) -> None:
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        _decode(ogg_stream([b"music"], head=head))


def test_another_codec_in_webm_is_refused() -> None:
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        _decode(_webm(b"", webm_track(1, b"A_VORBIS", b"\x02")))


def test_surround_sound_is_refused() -> None:
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        _decode(ogg_stream(_PACKETS, head=opus_head(family=1) + b"\1\1\0\1\2"))


def test_ogg_that_stops_being_ogg_is_reported() -> None:
    with pytest.raises(AudioError, match="damaged"):
        _decode(ogg_stream([]) + bytes(70_000))


def _webm(blocks: bytes, tracks: bytes | None = None) -> bytes:
    own = webm_track(1, b"A_OPUS", opus_head())
    return webm_stream(own if tracks is None else tracks, blocks)


def test_simple_blocks_and_block_groups_are_heard() -> None:
    simple = b"".join(element("a3", webm_block(packet)) for packet in _PACKETS)
    grouped = b"".join(
        element("a0", element("a1", webm_block(packet, flags=0)) + element("9b", b"\x14"))
        for packet in _PACKETS
    )
    assert np.array_equal(_decode(_webm(simple)), _decode(_OGG))
    assert np.array_equal(_decode(_webm(grouped)), _decode(_OGG))


def test_video_beside_the_audio_is_skipped() -> None:
    tracks = webm_track(1, b"V_VP8", b"") + webm_track(2, b"A_OPUS", opus_head())
    blocks = element("a3", webm_block(bytes(200_000), track=1)) + b"".join(
        element("a3", webm_block(b"picture", track=1)) + element("a3", webm_block(packet, track=2))
        for packet in _PACKETS
    )
    assert np.array_equal(_decode(_webm(blocks, tracks)), _decode(_OGG))


def test_encrypted_webm_is_refused() -> None:
    track = webm_track(1, b"A_OPUS", opus_head(), extra=element("6d80", b""))
    with pytest.raises(AudioError, match="no mono or stereo Opus"):
        _decode(_webm(b"", track))


def test_lacing_is_refused() -> None:
    with pytest.raises(AudioError, match="lacing"):
        _decode(_webm(element("a3", webm_block(_PACKETS[0], flags=0x84))))


def test_damaged_webm_is_reported_and_goes_on_at_the_next_cluster() -> None:
    decoder = make_decoder("opus", 16_000)
    decoder.feed(_webm(element("a3", webm_block(_PACKETS[0]))))
    with pytest.raises(AudioError, match="damaged"):
        decoder.feed(bytes(100))
    cluster = element("1f43b675", element("a3", webm_block(_PACKETS[1])), unknown_size=True)
    healed = np.concatenate([decoder.feed(b"junk" + cluster), decoder.flush()])
    assert len(healed) > 200


def test_a_corrupt_packet_is_reported_and_costs_only_itself() -> None:
    decoder = make_decoder("opus", 16_000)
    heard = [decoder.feed(packet) for packet in _PACKETS[:10]]
    with pytest.raises(AudioError, match="Corrupt Opus packet of 40 bytes"):
        decoder.feed(b"\xff" * 40)
    heard += [decoder.feed(packet) for packet in _PACKETS[10:]]
    assert np.array_equal(np.concatenate([*heard, decoder.flush()]), _decode(*_PACKETS))


def test_what_was_decoded_beside_a_corrupt_packet_comes_with_the_next_feed() -> None:
    decoder = make_decoder("opus", 16_000)
    with pytest.raises(AudioError):
        decoder.feed(ogg_stream([*_PACKETS[:20], b"\xff" * 40, *_PACKETS[20:]]))
    samples = np.concatenate([decoder.feed(b""), decoder.flush()])
    assert np.array_equal(samples, _decode(_OGG))


@pytest.mark.parametrize("packet", [b"\xff" * 100_000, b"\x1b" * 61_441])
def test_a_packet_longer_than_any_is_refused(packet: bytes) -> None:
    with pytest.raises(AudioError, match="longer than 61440"):
        _decode(packet)


def test_a_few_bytes_that_claim_hours_of_audio_are_refused() -> None:
    silent_120_ms = b"\xff\x06"  # six frames of 20 ms, nothing in them
    pages = [ogg_page([2] * 255, silent_120_ms * 255, sequence=n) for n in range(2, 100)]
    decoder = make_decoder("opus", 16_000)
    with pytest.raises(AudioError, match="30 minutes"):
        decoder.feed(ogg_stream([]) + b"".join(pages))
    assert 1_799 < len(decoder.feed(b"")) / 16_000 < 1_801


def test_a_flush_keeps_the_place_in_the_container() -> None:
    decoder = make_decoder("opus", 16_000)
    middle = len(_OGG) // 2
    heard = [decoder.feed(_OGG[:middle]), decoder.flush(), decoder.feed(_OGG[middle:])]
    assert len(np.concatenate([*heard, decoder.flush()])) == pytest.approx(16_000, rel=0.05)


def test_flushing_before_anything_came_gives_nothing() -> None:
    assert len(make_decoder("opus", 16_000).flush()) == 0
