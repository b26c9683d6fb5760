from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oyez.transcription.media import BLOCK_SAMPLES, MediaError, open_media
from support.media import encoded, tone

FORMS = [
    ("wav", "pcm_s16le", 16_000, "mono"),
    ("wav", "pcm_f32le", 44_100, "stereo"),
    ("wav", "pcm_mulaw", 8_000, "mono"),
    ("flac", "flac", 48_000, "stereo"),
    ("mp3", "libmp3lame", 44_100, "mono"),
    ("ogg", "libopus", 48_000, "mono"),
    ("webm", "libopus", 48_000, "stereo"),
    ("ipod", "aac", 44_100, "mono"),
    ("mp4", "aac", 48_000, "stereo"),
    ("matroska", "ac3", 48_000, "stereo"),
    ("aiff", "pcm_s16be", 22_050, "mono"),
    ("mpegts", "aac", 48_000, "mono"),
    ("adts", "aac", 44_100, "mono"),
]


class Pipe(io.RawIOBase):
    """Bytes that come once, a few at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 1000) if size > 0 else size)


def heard(data: bytes) -> tuple[NDArray[np.float32], list[str]]:
    with open_media(io.BytesIO(data)) as media:
        return np.concatenate(list(media.blocks())), media.notes


def hertz(samples: NDArray[np.float32]) -> float:
    return int(np.abs(np.fft.rfft(samples)).argmax()) * 16_000 / len(samples)


@pytest.mark.parametrize(("container", "codec", "rate", "layout"), FORMS)
def test_every_form_is_the_same_sound(container: str, codec: str, rate: int, layout: str) -> None:
    data = encoded(tone(3.0, rate=rate), container, codec, rate=rate, layout=layout)
    samples, notes = heard(data)
    assert samples.dtype == np.float32
    assert len(samples) / 16_000 == pytest.approx(3.0, abs=0.12)
    assert hertz(samples) == pytest.approx(440, abs=1)
    assert np.abs(samples[8000:40_000]).max() == pytest.approx(0.3, abs=0.05)
    assert notes == []


def test_sixteen_bits_at_16_khz_come_out_as_they_are() -> None:
    whole = (tone(1.0) * 32768).astype("<i2")
    samples, _ = heard(encoded(whole.astype(np.float32) / 32768, "wav", "pcm_s16le"))
    assert np.array_equal((samples * 32768).astype("<i2"), whole)


def test_the_sound_of_a_video_at_its_place_in_the_video() -> None:
    data = encoded(tone(1.0), "matroska", "pcm_s16le", video=True, begins_s=2.0)
    samples, _ = heard(data)
    assert len(samples) / 16_000 == pytest.approx(3.0, abs=0.1)
    assert np.abs(samples[:31_000]).max() == 0.0
    assert np.abs(samples[33_000:]).max() > 0.2


@pytest.mark.parametrize("form", [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("webm", "libopus")])
def test_a_pipe_is_read_without_seeking(form: tuple[str, str]) -> None:
    container, codec = form
    data = encoded(tone(5.0, rate=48_000), container, codec, rate=48_000)
    with open_media(Pipe(data)) as media:
        assert sum(map(len, media.blocks())) / 16_000 == pytest.approx(5.0, abs=0.1)


def test_an_mp4_with_its_index_at_the_end_cannot_come_through_a_pipe_and_says_so() -> None:
    data = encoded(tone(5.0, rate=48_000), "mp4", "aac", rate=48_000)
    with pytest.raises(MediaError, match=r"index at the end; save it"), open_media(Pipe(data)) as m:
        list(m.blocks())


def test_blocks_are_bounded_and_whole_but_the_last() -> None:
    with open_media(io.BytesIO(encoded(tone(9.0), "wav", "pcm_s16le"))) as media:
        assert media.duration_s == pytest.approx(9.0)
        sizes = [len(block) for block in media.blocks()]
    assert sizes[:-1] == [BLOCK_SAMPLES] * 4
    assert 0 < sizes[-1] <= BLOCK_SAMPLES
    assert media.decoded_s == pytest.approx(9.0)


@pytest.mark.parametrize("form", [("wav", "pcm_s16le"), ("flac", "flac"), ("webm", "libopus")])
def test_of_a_truncated_file_there_is_what_there_is_and_a_note(form: tuple[str, str]) -> None:
    container, codec = form
    data = encoded(tone(10.0, rate=48_000), container, codec, rate=48_000)
    samples, notes = heard(data[: len(data) // 2])
    assert len(samples) / 16_000 == pytest.approx(5.0, abs=0.6)
    assert "ends early" in " ".join(notes)


def test_damage_in_the_middle_costs_what_it_hit() -> None:
    data = bytearray(encoded(tone(10.0, rate=48_000), "flac", "flac", rate=48_000))
    hit = slice(len(data) // 2, len(data) * 3 // 4)
    data[hit] = bytes(hit.stop - hit.start)
    samples, notes = heard(bytes(data))
    assert len(samples) / 16_000 == pytest.approx(10.0, abs=0.2)
    assert np.abs(samples[5 * 16_000 + 8000 : 7 * 16_000]).max() == 0.0
    assert np.abs(samples[8 * 16_000 :]).max() > 0.2
    assert "of sound are missing" in " ".join(notes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty, or not audio or video"),
        (b"Dear Sir or Madam, " * 100, "not audio or video"),
        (bytes(range(256)) * 40, "not audio or video"),
        (encoded(tone(0.0), "wav", "pcm_s16le"), "it is empty, or not audio"),
    ],
)
def test_what_is_no_audio_says_so(data: bytes, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        heard(data)


def test_tags_in_another_encoding_are_no_reason_to_refuse_a_file() -> None:
    title = b"LIST" + (16).to_bytes(4, "little") + b"INFOINAM" + (4).to_bytes(4, "little")
    whole = encoded(tone(1.0), "wav", "pcm_s16le")
    tagged = whole[:36] + title + "café".encode("latin-1") + whole[whole.index(b"data") :]
    samples, _ = heard(b"RIFF" + (len(tagged) - 8).to_bytes(4, "little") + tagged[8:])
    assert len(samples) == 16_000


def test_a_film_without_sound() -> None:
    silent = encoded(tone(0.0), "avi", "pcm_s16le", video=True)
    with pytest.raises(MediaError, match="no sound|no audio"):
        heard(silent)


def test_a_playlist_opens_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(encoded(tone(2.0, rate=48_000), "mpegts", "aac", rate=48_000))
    for playlist in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    ):
        with pytest.raises(MediaError, match="list of other files|not audio or video"):
            heard(playlist.encode())


WHOLE = [
    encoded(tone(0.5, rate=rate), container, codec, rate=rate)
    for container, codec, rate in (
        ("wav", "pcm_s16le", 16_000),
        ("flac", "flac", 48_000),
        ("webm", "libopus", 48_000),
        ("mp4", "aac", 48_000),
        ("mpegts", "aac", 48_000),
    )
]


@settings(max_examples=150, deadline=None)
@given(
    data=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=40),
    kept=st.sampled_from([1.0, 1.0, 0.7, 0.1]),
)
def test_of_a_damaged_file_there_is_sound_or_a_reason(
    data: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    damaged = bytearray(data[: max(1, int(len(data) * kept))])
    for place, value in changes:
        damaged[min(int(place**2 * len(damaged)), len(damaged) - 1)] = value
    try:
        with open_media(io.BytesIO(bytes(damaged))) as media:
            for count, block in enumerate(media.blocks()):
                assert np.abs(block).max() <= 1.0
                if count > 1000:
                    break
    except MediaError as error:
        assert str(error)


def test_a_sample_rate_that_is_none_of_sound_is_refused_at_once() -> None:
    data = bytearray(WHOLE[0])
    data[24:28] = (2_000_000_000).to_bytes(4, "little")
    with pytest.raises(MediaError, match="sample rate of 2000000000 Hz"):
        heard(bytes(data))
