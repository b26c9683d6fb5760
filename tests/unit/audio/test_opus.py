"""Opus however it is wrapped: what is heard, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from oyez.audio.decoder import decode_all, make_decoder
from oyez.audio.pcm import AudioError
from support.opus_streams import (
    assert_sounds_like,
    decode,
    drain,
    hum,
    mux,
    ogg_page,
    ogg_stream,
    packets_of,
)

_SECONDS = 1.0
_SIGNAL = hum(_SECONDS)
_EXPECTED = hum(_SECONDS, 16_000)
_OGG = mux("ogg", _SIGNAL)
_PACKETS = packets_of(_OGG)


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize(("container", "live"), [("ogg", False), ("webm", False), ("webm", True)])
def test_a_whole_stream_is_decoded_in_place(container: str, live: bool, layout: str) -> None:
    stream = mux(container, _SIGNAL, layout=layout, live=live)  # type: ignore[arg-type]
    assert_sounds_like(decode(stream), _EXPECTED)


@pytest.mark.parametrize("frame_ms", [2.5, 5, 10, 20, 40, 60])
def test_bare_packets_of_any_length_are_decoded_one_per_feed(frame_ms: float) -> None:
    packets = packets_of(mux("ogg", _SIGNAL, frame_ms=frame_ms))
    samples = decode(*packets)
    assert len(samples) == len(packets) * frame_ms * 16
    # without a head nobody says how much the encoder put in front: 2.5 to 6.5 ms
    assert_sounds_like(samples[72:], _EXPECTED, tolerance_samples=40)


def test_a_corrupt_packet_is_reported_and_costs_only_itself() -> None:
    decoder = make_decoder("opus", 16_000)
    heard = [decode_all(decoder, packet) for packet in _PACKETS[:10]]
    with pytest.raises(AudioError, match="Corrupt Opus packet of 40 bytes"):
        decode_all(decoder, b"\xff" * 40)
    heard += [decode_all(decoder, packet) for packet in _PACKETS[10:]]
    assert np.array_equal(np.concatenate([*heard, decoder.flush()]), decode(*_PACKETS))


def test_what_was_decoded_beside_a_corrupt_packet_comes_with_its_error() -> None:
    decoder = make_decoder("opus", 16_000)
    decoder.feed(ogg_stream([*_PACKETS[:20], b"\xff" * 40, *_PACKETS[20:]]))
    heard, errors = drain(decoder)
    assert [str(error) for error in errors] == ["Corrupt Opus packet of 40 bytes."]
    assert np.array_equal(np.concatenate([*heard, decoder.flush()]), decode(_OGG))


@pytest.mark.parametrize("packet", [b"\xff" * 100_000, b"\x1b" * 61_441])
def test_a_packet_longer_than_any_is_refused(packet: bytes) -> None:
    with pytest.raises(AudioError, match="longer than 61440"):
        decode(packet)


def test_a_few_bytes_that_claim_hours_of_audio_are_decoded_a_little_at_a_time() -> None:
    silent_120_ms = b"\xff\x06"  # six frames of 20 ms, nothing in them
    pages = [ogg_page([2] * 255, silent_120_ms * 255, sequence=n) for n in range(2, 6)]
    decoder = make_decoder("opus", 16_000)
    decoder.feed(ogg_stream([]) + b"".join(pages))
    heard, _ = drain(decoder)
    assert max(len(block) for block in heard) <= 16_000
    assert sum(len(block) for block in heard) / 16_000 == pytest.approx(4 * 255 * 0.12, abs=0.1)


def test_a_flush_keeps_the_place_in_the_container() -> None:
    decoder = make_decoder("opus", 16_000)
    middle = len(_OGG) // 2
    heard = [
        decode_all(decoder, _OGG[:middle]),
        decoder.flush(),
        decode_all(decoder, _OGG[middle:]),
    ]
    assert len(np.concatenate([*heard, decoder.flush()])) == pytest.approx(16_000, rel=0.05)


def test_flushing_before_anything_came_gives_nothing() -> None:
    assert len(make_decoder("opus", 16_000).flush()) == 0
