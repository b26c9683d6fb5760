"""How the bytes are cut changes nothing, and no bytes do harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.audio.decoder import PCM_SAMPLE_RATES, AudioDecoder, decode_all, make_decoder
from oyez.audio.pcm import Samples
from property.strategies import cuts, spoiled
from support.opus_streams import drain, hum, mux

_OGG = mux("ogg", hum(0.5))
_STREAMS = {
    "ogg": _OGG,
    "chained ogg": _OGG + mux("ogg", hum(0.2), layout="stereo", frame_ms=60),
    "webm": mux("webm", hum(0.5)),
    "live webm": mux("webm", hum(0.5), live=True),
}
_MAGIC_BYTES = 4
_PCM = np.random.default_rng(1).integers(-32_768, 32_768, 6_000).astype("<i2").tobytes()


def _decode(decoder: AudioDecoder, pieces: list[bytes]) -> Samples:
    return np.concatenate([*(decode_all(decoder, piece) for piece in pieces), decoder.flush()])


@pytest.mark.parametrize("rate", PCM_SAMPLE_RATES)
@given(data=st.data())
def test_any_cut_of_pcm_gives_the_same_samples(rate: int, data: st.DataObject) -> None:
    pieces = [_PCM[cut] for cut in data.draw(cuts(len(_PCM)))]
    whole = _decode(make_decoder("pcm", rate), [_PCM])
    assert np.array_equal(_decode(make_decoder("pcm", rate), pieces), whole)


@pytest.mark.parametrize("name", _STREAMS)
@given(data=st.data())
def test_any_cut_of_an_opus_stream_gives_the_same_samples(name: str, data: st.DataObject) -> None:
    stream = _STREAMS[name]
    pieces = [stream[cut] for cut in data.draw(cuts(len(stream)))]
    whole = _decode(make_decoder("opus", 16_000), [stream])
    assert len(whole) > 0.45 * 16_000
    assert np.array_equal(_decode(make_decoder("opus", 16_000), pieces), whole)


@pytest.mark.parametrize("name", _STREAMS)
@given(data=st.data())
def test_any_cut_of_a_spoiled_stream_gives_the_same_samples(name: str, data: st.DataObject) -> None:
    stream = data.draw(spoiled(_STREAMS[name], _MAGIC_BYTES))
    outcomes = []
    for pieces in ([stream], [stream[cut] for cut in data.draw(cuts(len(stream)))]):
        decoder = make_decoder("opus", 16_000)
        outcomes.append(np.concatenate([*_feed_all(decoder, pieces), decoder.flush()]))
    assert np.array_equal(outcomes[0], outcomes[1])


@given(
    pieces=st.lists(st.binary(max_size=2_000), max_size=5),
    magic=st.sampled_from([b"", b"OggS", b"OggS\0\2", b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75"]),
)
def test_arbitrary_bytes_raise_nothing_but_audio_errors(pieces: list[bytes], magic: bytes) -> None:
    decoder = make_decoder("opus", 16_000)
    for samples in _feed_all(decoder, [magic + piece for piece in pieces]):
        assert samples.dtype == np.float32 and samples.ndim == 1
        assert np.all(np.abs(samples) < 2)


def _feed_all(decoder: AudioDecoder, pieces: list[bytes]) -> list[Samples]:
    heard = []
    for piece in pieces:
        decoder.feed(piece)
        heard += drain(decoder)[0]
    return heard
