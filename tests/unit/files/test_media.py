from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oyez.files.decoding import BLOCK_SAMPLES, CODECS, CONTAINERS, LISTED_ONLY
from oyez.files.media import MediaError, open_media
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
    ("w64", "pcm_s24le", 48_000, "stereo"),
    ("caf", "alac", 44_100, "mono"),
    ("au", "pcm_mulaw", 8_000, "mono"),
    ("wav", "adpcm_ms", 22_050, "mono"),
    ("wav", "adpcm_ima_wav", 22_050, "mono"),
    ("wav", "g722", 16_000, "mono"),
    ("ogg", "flac", 44_100, "mono"),
    ("amr", "libopencore_amrnb", 8_000, "mono"),
    ("3gp", "libopencore_amrnb", 8_000, "mono"),
    ("mov", "pcm_s16be", 48_000, "mono"),
    ("avi", "libmp3lame", 44_100, "mono"),
    ("avi", "pcm_s16le", 16_000, "mono"),
    ("flv", "libmp3lame", 44_100, "mono"),
    ("asf", "libmp3lame", 44_100, "stereo"),
    ("mpeg", "mp2", 44_100, "mono"),
    ("mp2", "mp2", 44_100, "mono"),
    ("ac3", "ac3", 48_000, "stereo"),
    ("eac3", "eac3", 48_000, "stereo"),
    ("wv", "wavpack", 44_100, "mono"),
    ("tta", "tta", 44_100, "mono"),
]


class Pipe(io.RawIOBase):
    """Bytes that come once, a few at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 1000) if size > 0 else size)


def pipe(data: bytes) -> BinaryIO:
    """These bytes as a file. It has every method that `open_media` calls."""
    return cast(BinaryIO, Pipe(data))


def decode(data: bytes) -> tuple[NDArray[np.float32], list[str]]:
    with open_media(io.BytesIO(data)) as media:
        return np.concatenate(list(media.blocks())), media.notes


def hertz(samples: NDArray[np.float32]) -> float:
    return int(np.abs(np.fft.rfft(samples)).argmax()) * 16_000 / len(samples)


@pytest.mark.parametrize(("container", "codec", "rate", "layout"), FORMS)
def test_every_form_is_the_same_sound(container: str, codec: str, rate: int, layout: str) -> None:
    data = encoded(tone(3.0, rate=rate), container, codec, rate=rate, layout=layout)
    samples, notes = decode(data)
    assert samples.dtype == np.float32
    assert len(samples) / 16_000 == pytest.approx(3.0, abs=0.12)
    assert hertz(samples) == pytest.approx(440, abs=1)
    assert np.abs(samples[8000:40_000]).max() == pytest.approx(0.3, abs=0.05)
    assert notes == []


def test_sixteen_bits_at_16_khz_come_out_as_they_are() -> None:
    whole = (tone(1.0) * 32768).astype("<i2")
    samples, _ = decode(encoded(whole.astype(np.float32) / np.float32(32768), "wav", "pcm_s16le"))
    assert np.array_equal((samples * 32768).astype("<i2"), whole)


def test_the_sound_of_a_video_at_its_place_in_the_video() -> None:
    data = encoded(tone(1.0), "matroska", "pcm_s16le", video=True, begins_s=2.0)
    samples, _ = decode(data)
    assert len(samples) / 16_000 == pytest.approx(3.0, abs=0.1)
    assert np.abs(samples[:31_000]).max() == 0.0
    assert np.abs(samples[33_000:]).max() > 0.2


@pytest.mark.parametrize("form", [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("webm", "libopus")])
def test_a_pipe_is_read_without_seeking(form: tuple[str, str]) -> None:
    container, codec = form
    data = encoded(tone(5.0, rate=48_000), container, codec, rate=48_000)
    with open_media(pipe(data)) as media:
        assert sum(map(len, media.blocks())) / 16_000 == pytest.approx(5.0, abs=0.1)


def test_an_mp4_with_its_index_at_the_end_cannot_come_through_a_pipe_and_says_so() -> None:
    data = encoded(tone(5.0, rate=48_000), "mp4", "aac", rate=48_000)
    with pytest.raises(MediaError, match=r"index at the end; save it"), open_media(pipe(data)) as m:
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
    samples, notes = decode(data[: len(data) // 2])
    assert len(samples) / 16_000 == pytest.approx(5.0, abs=0.6)
    assert "ends early" in " ".join(notes)


def test_damage_in_the_middle_costs_what_it_hit() -> None:
    data = bytearray(encoded(tone(10.0, rate=48_000), "flac", "flac", rate=48_000))
    hit = slice(len(data) // 2, len(data) * 3 // 4)
    data[hit] = bytes(hit.stop - hit.start)
    samples, notes = decode(bytes(data))
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
        decode(data)


def test_tags_in_another_encoding_are_no_reason_to_refuse_a_file() -> None:
    title = b"LIST" + (16).to_bytes(4, "little") + b"INFOINAM" + (4).to_bytes(4, "little")
    whole = encoded(tone(1.0), "wav", "pcm_s16le")
    tagged = whole[:36] + title + "café".encode("latin-1") + whole[whole.index(b"data") :]
    samples, _ = decode(b"RIFF" + (len(tagged) - 8).to_bytes(4, "little") + tagged[8:])
    assert len(samples) == 16_000


def test_a_film_without_sound() -> None:
    silent = encoded(tone(0.0), "avi", "pcm_s16le", video=True)
    with pytest.raises(MediaError, match="no sound|no audio"):
        decode(silent)


def forms_that_can_be_read() -> list[str]:
    found = []
    for name in sorted(av.formats_available):
        with contextlib.suppress(ValueError):  # it is written only
            found.append(av.ContainerFormat(name, "r").name)
    return sorted(set(found))


def is_listed(name: str) -> bool:
    return bool(set(name.split(",")) & set(CONTAINERS))


@pytest.mark.parametrize("name", [name for name in forms_that_can_be_read() if not is_listed(name)])
def test_of_a_form_that_is_not_listed_not_a_byte_is_read(name: str) -> None:
    source = Counting(b"\0" * 4096)
    with pytest.raises(av.FFmpegError):
        av.open(source, format=name, options=dict(LISTED_ONLY))
    assert source.calls == 0


def test_of_each_form_that_is_listed_something_is_read() -> None:
    listed = [name for name in forms_that_can_be_read() if is_listed(name)]
    unknown = set(CONTAINERS) - {part for name in listed for part in name.split(",")}
    assert unknown <= {"webm"}  # a name of its own, and one with matroska's
    for name in listed:
        source = Counting(b"\0" * 4096)
        with contextlib.suppress(av.FFmpegError):
            av.open(source, format=name, options=dict(LISTED_ONLY))
        assert source.calls > 0, name


class Counting(io.BytesIO):
    calls = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.calls += 1
        return super().read(size)


def picture(container: str, codec: str, pixels: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 64
        stream.pix_fmt = pixels
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


SDP = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 31777 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)
OTHERS = [
    SDP,
    picture("image2pipe", "png", "rgb24"),
    picture("image2pipe", "mjpeg", "yuvj420p"),
    picture("image2pipe", "bmp", "bgr24"),
    picture("image2pipe", "tiff", "rgb24"),
    picture("gif", "gif", "rgb8"),
    picture("apng", "apng", "rgb24"),
    picture("yuv4mpegpipe", "rawvideo", "yuv420p"),
    b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:31777/a.ts\n",
    b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    b"1\n00:00:00,000 --> 00:00:01,000\nwords\n",
    b"WEBVTT\n\n00:00.000 --> 00:01.000\nwords\n",
]


@pytest.mark.parametrize("data", OTHERS, ids=lambda data: data[:10].hex())
def test_pictures_and_what_is_about_other_files_are_no_media(data: bytes) -> None:
    began_s = time.monotonic()
    with pytest.raises(MediaError, match="not audio or video"):
        decode(data)
    assert time.monotonic() - began_s < 2.0  # nobody waited for packets


def test_each_listed_kind_of_audio_is_one_of_ffmpeg() -> None:
    known = {av.Codec(name, "r").name for name in CODECS if name in av.codecs_available}
    assert set(CODECS) - known <= {"libspeex"}  # FFmpeg may be built with it
    assert {"vorbis", "speex", "wmav2", "opus", "aac", "mp3float"} <= known
    assert {av.Codec(name, "r").type for name in known} == {"audio"}


def test_only_listed_kinds_of_audio_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(tone(1.0, rate=48_000), "matroska", "ac3", rate=48_000)
    without = tuple(each for each in CODECS if each != "ac3")
    monkeypatch.setattr("oyez.files.decoding.CODECS", without)
    with pytest.raises(MediaError, match="of a kind that is not read"):
        decode(data)


def test_a_playlist_opens_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(encoded(tone(2.0, rate=48_000), "mpegts", "aac", rate=48_000))
    for playlist in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    ):
        with pytest.raises(MediaError, match="not audio or video"):
            decode(playlist.encode())


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
        decode(bytes(data))
