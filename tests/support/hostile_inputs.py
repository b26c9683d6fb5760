"""Bytes that are made to cost a server more than they cost whoever sends them; listed, and generated
by Hypothesis."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from support.opus_streams import (
    OPUS_TAGS,
    element,
    lace,
    ogg_page,
    opus_head,
    webm_block,
    webm_stream,
    webm_track,
)
from support.blocking_websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

CHUNK_BYTES = 1_200_000
"""Of audio in one message: more than anybody needs, less than a message may have."""
EBML = bytes.fromhex("1a45dfa3")
ENDLESS_SEGMENT = EBML + b"\x80" + bytes.fromhex("1853806701ffffffffffffff")
ENDLESS_CLUSTER = bytes.fromhex("1f43b67501ffffffffffffff")
LONGEST_PACKET = b"\xfb\x06"
"""120 ms of nothing in two bytes: six frames of 20 ms (RFC 6716, section 3.2.5)."""
FOREIGN_PAGE = ogg_page([], b"", sequence=0, serial=99)
OPUS_TRACK = webm_track(1, b"A_OPUS", opus_head())


def filled(pattern: bytes, head: bytes = b"", size: int = CHUNK_BYTES) -> bytes:
    """`head`, then the pattern until there are about so many bytes."""
    return head + pattern * max(1, (size - len(head)) // len(pattern))


def ogg_head() -> bytes:
    """An Ogg stream up to its first packet of audio."""
    return ogg_page(lace(opus_head()), opus_head(), sequence=0, flags=2) + ogg_page(
        lace(OPUS_TAGS), OPUS_TAGS, sequence=1
    )


def page_of_tiny_packets() -> bytes:
    return ogg_page([2] * 255, LONGEST_PACKET * 255, sequence=2)


AUDIO: dict[str, Callable[[], bytes]] = {
    "WebM of void elements": lambda: filled(b"\xec\x80", ENDLESS_SEGMENT),
    "WebM of cluster headers": lambda: filled(ENDLESS_CLUSTER, ENDLESS_SEGMENT),
    "WebM of damaged clusters": lambda: filled(ENDLESS_CLUSTER[:4] + b"\0", ENDLESS_SEGMENT),
    "WebM of new documents": lambda: filled(EBML + b"\x80"),
    "WebM of tracks": lambda: filled(OPUS_TRACK, ENDLESS_SEGMENT),
    "WebM of empty tracks": lambda: filled(b"\xae\x80", ENDLESS_SEGMENT),
    "WebM of short blocks": lambda: filled(b"\xa3\x80", ENDLESS_SEGMENT + ENDLESS_CLUSTER),
    "WebM of other tracks' blocks": lambda: filled(
        b"\xa3\x84\x82\0\0\0", webm_stream(OPUS_TRACK, b"")
    ),
    "WebM of tiny packets": lambda: filled(
        element("a3", webm_block(LONGEST_PACKET)), webm_stream(OPUS_TRACK, b"")
    ),
    "WebM of corrupt packets": lambda: filled(
        b"\xa3\x85" + webm_block(b"\xff"), webm_stream(OPUS_TRACK, b"")
    ),
    "Ogg of other streams' pages": lambda: filled(FOREIGN_PAGE, ogg_head()),
    "Ogg pages before any stream": lambda: filled(FOREIGN_PAGE),
    "Ogg of new streams": lambda: filled(ogg_head()),
    "Ogg of tiny packets": lambda: filled(page_of_tiny_packets(), ogg_head()),
    "Ogg of empty packets": lambda: filled(
        ogg_page([0] * 255, b"", sequence=2), ogg_head()
    ),
    "Ogg of corrupt packets": lambda: filled(
        ogg_page([1] * 255, b"\xff" * 255, sequence=2), ogg_head()
    ),
    "Ogg of half-way pages": lambda: filled(b"OggS"),
    "Ogg with a long packet without end": lambda: filled(
        ogg_page([255] * 255, bytes(255 * 255), sequence=2, flags=1), ogg_head()
    ),
    "one byte again and again": lambda: filled(b"\0", EBML),
}  # fmt: skip
"""A chunk of each kind; sent again and again."""


def nested(depth: int, opener: str = "[", closer: str = "]") -> bytes:
    """JSON of this depth where a value may stand."""
    inner = "1" if opener != "[" else ""
    return (opener * depth + inner + closer * depth).encode()


def update(session: bytes) -> bytes:
    return b'{"type":"session.update","session":' + session + b"}"


def _many(size: int, value: str = "[]") -> bytes:
    return ("[" + f"{value}," * (size // (len(value) + 1)) + "1]").encode()


def _keys(size: int) -> bytes:
    return ("{" + ",".join(f'"{n}":0' for n in range(size // 11)) + "}").encode()


JSON: dict[str, Callable[[int], bytes]] = {
    "arrays as session": lambda size: update(_many(size)),
    "arrays as type": lambda size: b'{"type":' + _many(size) + b"}",
    "arrays as event_id": lambda size: b'{"type":"x","event_id":' + _many(size) + b"}",
    "arrays as audio": lambda size: (
        b'{"type":"input_audio_buffer.append","audio":' + _many(size) + b"}"
    ),
    "arrays that nobody asks for": lambda size: b'{"type":"x","y":' + _many(size) + b"}",
    "keys of session": lambda size: update(_keys(size)),
    "keys of the message": lambda size: b'{"type":"session.update",' + _keys(size)[1:],
    "a long model": lambda size: update(
        b'{"input_audio_transcription":{"model":"' + b"m" * size + b'"}}'
    ),
    "a long event_id": lambda size: b'{"type":"x","event_id":"' + b"e" * size + b'"}',
    "a long type": lambda size: b'{"type":"' + b"t" * size + b'"}',
    "a long language": lambda size: update(b'{"language":"' + b" " * size + b'x"}'),
    "a long corpus": lambda size: update(b'{"corpus":{"text":"' + b"a, " * (size // 3) + b'"}}'),
    "escapes": lambda size: update(b'{"language":"' + b"\\ud83d\\ude00" * (size // 12) + b'"}'),
    "modalities": lambda size: update(b'{"modalities":' + _many(size, '"x"') + b"}"),
    "line breaks in base64": lambda size: (
        b'{"type":"input_audio_buffer.append","audio":"' + b"A\\n" * (size // 3) + b'"}'
    ),
    "bad base64": lambda size: (
        b'{"type":"input_audio_buffer.append","audio":"' + b"A" * size + b'!"}'
    ),
    "digits": lambda size: update(b'{"sample_rate":' + b"1" * size + b"}"),
    "half a string": lambda size: b'{"type":"' + b"x" * size,
    "spaces": lambda size: b" " * size,
    "openers": lambda size: b"[" * size,
    "nested objects in session": lambda size: update(nested(size // 6, '{"a":', "}")),
    "nested arrays as type": lambda size: b'{"type":' + nested(size // 2) + b"}",
}  # fmt: skip
"""A text message of about so many bytes."""

SIZES = st.sampled_from([0, 1, 2, 100, 900, 990, 996, 1000, 5000, 20_000, 100_000])
PLACES = ("type", "event_id", "session", "audio", "anything")
SESSION_FIELDS = (
    *("input_audio_format", "sample_rate", "modalities", "language", "corpus", "corpus_text"),
    *("input_audio_transcription", "turn_detection", "audio", "voice", "instructions"),
)
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30),
    st.sampled_from(["pcm", "opus", "server_vad", "zh", "auto", "\ud800", "x" * 1000, 10**400, -0.0]),
)  # fmt: skip


@st.composite
def json_messages(draw: st.DrawFn) -> bytes:
    """A message whose parts repeat or nest as often as it hurts."""
    tree = st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=8,
    )
    value = json.dumps(draw(tree))
    many, deep = draw(SIZES), draw(SIZES)
    if draw(st.booleans()):
        value = "[" + (value + ",") * min(many, 200_000 // (len(value) + 1)) + value + "]"
    if draw(st.booleans()):
        value = "[" * deep + value + "]" * deep
    place = draw(st.sampled_from(PLACES))
    known = draw(st.sampled_from(["session.update", "input_audio_buffer.append", "session.finish"]))
    if place == "session" and draw(st.booleans()):
        name = draw(st.sampled_from(SESSION_FIELDS))
        value = f'{{"{name}":{value}}}'
    kind = "" if place == "type" else f'"type":"{known}",'
    text = f'{{{kind}"{place}":{value}}}'
    return text.encode("utf-8", "surrogatepass")[: draw(st.sampled_from([None, 50, 5000]))]


@st.composite
def ogg_streams(draw: st.DrawFn) -> bytes:
    """Pages with lawful checksums and unlawful contents, repeated."""
    page = st.builds(
        lambda lacing, body, sequence, flags, serial: ogg_page(
            lacing, body[: sum(lacing)].ljust(sum(lacing), b"\0"),
            sequence=sequence, flags=flags, serial=serial,
        ),
        st.lists(st.sampled_from([0, 1, 2, 3, 255]), max_size=255),
        st.binary(max_size=64), st.integers(0, 3), st.integers(0, 7), st.sampled_from([7, 8]),
    )  # fmt: skip
    part = st.one_of(
        page, st.just(ogg_head()), st.just(page_of_tiny_packets()), st.binary(max_size=40)
    )
    return draw(st.sampled_from([b"", ogg_head()])) + _repeated(draw, part, b"OggS")


@st.composite
def webm_streams(draw: st.DrawFn) -> bytes:
    """EBML elements that oyez reads, enters or skips, with right and wrong sizes, repeated."""
    identifier = st.sampled_from(
        ["1a45dfa3", "18538067", "1f43b675", "1654ae6b", "ae", "d7", "86", "63a2", "6d80", "a3",
         "a0", "a1", "ec", "e7", "80", "ff"]
    )  # fmt: skip
    payload = st.one_of(
        st.just(b""), st.binary(max_size=30), st.just(webm_block(LONGEST_PACKET)),
        st.just(opus_head()), st.just(b"A_OPUS"),
    )  # fmt: skip
    short = st.builds(
        lambda name, data: bytes.fromhex(name) + bytes([0x80 | len(data) % 127]) + data,
        identifier, payload,
    )  # fmt: skip
    long = st.builds(element, identifier, payload, unknown_size=st.booleans())
    part = st.one_of(short, long, st.just(OPUS_TRACK), st.binary(max_size=40))
    head = draw(st.sampled_from([EBML, ENDLESS_SEGMENT, webm_stream(OPUS_TRACK, b"")]))
    return head + _repeated(draw, part, b"\xec\x80")


def opus_packets() -> st.SearchStrategy[bytes]:
    """Of every kind that the first byte can tell, from one byte on."""
    return st.one_of(
        st.binary(min_size=1, max_size=3),
        st.builds(lambda first, size: bytes([first]) + bytes(size), st.integers(0, 255), SIZES),
        st.binary(min_size=1, max_size=1500),
    )


def _repeated(draw: st.DrawFn, part: st.SearchStrategy[bytes], empty: bytes) -> bytes:
    pattern = b"".join(draw(st.lists(part, min_size=1, max_size=5))) or empty
    return pattern * min(draw(SIZES) + 1, 400_000 // len(pattern) + 1)


def websocket_frames() -> st.SearchStrategy[bytes]:
    """Frames that may be lawful or not, some many times over."""
    one = st.builds(
        frame,
        st.one_of(st.binary(max_size=10), st.just(b'{"type":"session.update","session":{}}')),
        st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, 3, 11]),
        final=st.booleans(),
        reserved=st.sampled_from([0, 0, 0, 0, 4, 1]),
        mask=st.sampled_from([bytes(4), bytes(4), b"mask", None]),
        claimed_bytes=st.sampled_from([None, None, None, 0, 200, 1 << 20]),
    )
    return st.builds(
        lambda parts, times: b"".join(parts) * min(times + 1, 50_000 // len(b"".join(parts)) + 1),
        st.lists(one, min_size=1, max_size=6), SIZES,
    )  # fmt: skip


@st.composite
def http_requests(draw: st.DrawFn) -> bytes:
    """Requests that are wrong in a few places."""
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"PRI", b"get", b"G" * 9000, b"\0"]))
    path = draw(st.sampled_from(
        [b"/", b"/docs", b"/healthz", b"/v1/models", b"/v1/audio/transcriptions", b"*", b"//",
         b"/" + b"a" * 9000, b"/%00%ff", b"http://x:99999/", b"/api-ws/v1/realtime?model=" + b"x" * 99]
    ))  # fmt: skip
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9" * 50, b""]))
    name = st.sampled_from(
        [b"Host", b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Connection", b"Expect",
         b"Upgrade", b"Authorization", b"Range", b"X", b"", b" ", b"\xff", b"Sec-WebSocket-Key"]
    )  # fmt: skip
    value = st.one_of(
        st.sampled_from([b"x", b"chunked", b"-1", b"5", b"1" * 400, b"a" * 20_000, b"websocket",
                         b"keep-alive, Upgrade", b"100-continue", b"multipart/form-data; boundary=x"]),
        st.binary(max_size=40),
    )  # fmt: skip
    headers = draw(st.lists(st.tuples(name, value), max_size=8))
    times = min(draw(SIZES), 300)
    ending = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]))
    lines = [each[0] + b": " + each[1] for each in headers] * max(1, times // 10)
    body = draw(
        st.one_of(st.binary(max_size=50), st.just(b"0\r\n\r\n"), st.just(b"ffffffffffffffff\r\n"))
    )
    request = ending.join([b" ".join([method, path, version]), *lines, b"", body])
    return request * draw(st.sampled_from([1, 1, 1, 30]))


@st.composite
def forms(draw: st.DrawFn) -> tuple[str, bytes]:
    """Content-Type and body of an upload that is wrong in a few places, with a tiny file."""
    boundary = draw(st.sampled_from(["b", "x" * 70, "=", '"q"', "x" * 5000, "", "\xe4"]))
    line = st.one_of(
        st.sampled_from([
            b'Content-Disposition: form-data; name="file"; filename="a"',
            b'Content-Disposition: form-data; name="model"',
            b'Content-Disposition: form-data; name="' + b"n" * 5000 + b'"',
            b"Content-Disposition: form-data; name*=utf-8''%ff", b"Content-Disposition: attachment",
            b"Content-Type: multipart/mixed; boundary=b", b"Content-Transfer-Encoding: base64",
            b"Content-Encoding: gzip", b"Content-Length: 99999", b"X" * 9000, b":", b"",
        ]),
        st.binary(max_size=30),
    )  # fmt: skip
    part = st.builds(
        lambda lines, body: b"\r\n".join([b"--" + boundary.encode("latin-1"), *lines, b"", body, b""]),
        st.lists(line, max_size=4), st.binary(max_size=100),
    )  # fmt: skip
    parts = draw(st.lists(part, max_size=4)) * min(draw(SIZES) + 1, 50)
    end = draw(st.sampled_from([b"--" + boundary.encode("latin-1") + b"--\r\n", b"", b"--"]))
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)[:200_000] + end


def picture(side: int = 16_000) -> bytes:
    """A PNG of side * side black points of eight bytes each, in some 2 MB: every row is the same
    piece of a deflate stream."""
    row = bytes(1 + 8 * side)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(row) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = ((len(row) * side) % 65_521) << 16 | 1
    pixels = b"\x78\xda" + piece * side + b"\x03\0" + adler.to_bytes(4, "big")
    header = side.to_bytes(4, "big") * 2 + bytes([16, 6, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def session_description(port: int, tracks: int = 1) -> bytes:
    """SDP that asks whoever reads it to listen for sound on UDP ports."""
    head = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    return head + b"".join(
        b"m=audio %d RTP/AVP 0\r\n" % (port + 2 * number) for number in range(tracks)
    )
