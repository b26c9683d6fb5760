"""What reads bytes of strangers, as functions of bytes that raise only where oyez has a fault.

Used by the mutations in `fuzz/` and by coverage-guided fuzzing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from oyez.audio.ogg import OggDemuxer
from oyez.audio.opus import OpusHead
from oyez.audio.pcm import AudioError
from oyez.audio.webm import WebmDemuxer
from oyez.engines.base import RecognitionError, Request
from oyez.server.session.websocket import WebSocket
from oyez.server.transcriptions.errors import ApiError
from oyez.server.transcriptions.form import read_form
from support.blocking_websocket import CLOSE, CONTINUATION, PING, frame
from support.driver import Driver, silence, speech, spell, to_pcm
from support.hostile_inputs import (
    ENDLESS_CLUSTER,
    ENDLESS_SEGMENT,
    FOREIGN_PAGE,
    LONGEST_PACKET,
    ogg_head,
    page_of_tiny_packets,
)
from support.opus_streams import hum, mux, packets_of
from support.order import check_events

Target = Callable[[bytes], None]
INTERESTING = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x01\0\0\0\0\0\0\0")
MAX_EDITS = 6
MAX_INPUT_BYTES = 60_000
MAX_UPLOAD_BYTES = 10_000
MAX_MESSAGE_BYTES = 5_000


def messages(data: bytes) -> None:
    """A session that is sent each line, and finishes."""
    driver = Driver(recognise=_unreliable)
    for line in data.split(b"\n"):
        driver.raw(line)
    driver.finish()
    check_events([event for event in driver.events if event["type"] != "error"])


def _unreliable(request: Request) -> Any:
    """A recogniser that fails at some lengths."""
    if len(request.samples) % 7 == 1:
        raise RecognitionError("as it happens")
    return spell(request)


def ogg(data: bytes) -> None:
    _demux(OggDemuxer(), data)


def webm(data: bytes) -> None:
    _demux(WebmDemuxer(), data)


def _demux(demuxer: OggDemuxer | WebmDemuxer, data: bytes) -> None:
    for piece in _pieces(data):
        for item in demuxer.feed(piece):
            assert item is None or isinstance(item, OpusHead | AudioError) or item


def _pieces(data: bytes) -> Iterator[bytes]:
    """Cut at places that depend on the length only."""
    dice, start = random.Random(len(data)), 0
    while start < len(data):
        end = start + dice.choice([1, 30, 300, 3_000, 30_000])
        yield data[start:end]
        start = end


def opus(data: bytes) -> None:
    _audio(data, input_audio_format="opus")


def pcm(data: bytes) -> None:
    """The first byte chooses the rate and the mode."""
    rate = (8000, 16000)[data[0] % 2] if data else 8000
    manual = {"turn_detection": None} if data and data[0] & 2 else {}
    _audio(data[1:], sample_rate=rate, **manual)


def _audio(data: bytes, **session: Any) -> None:
    driver = Driver()
    driver.update(**session)
    for piece in _pieces(data):
        driver.append_bytes(piece)
    driver.finish()
    assert driver.events[-1]["type"] == "session.finished"


def websocket(data: bytes) -> None:
    """Frames, in pieces; what is handed on are whole messages."""
    _loop().run_until_complete(_websocket(data))


async def _websocket(data: bytes) -> None:
    socket = WebSocket(MAX_MESSAGE_BYTES)
    socket._transport = _Transport()
    seen: list[bytes] = []
    socket.listen(seen.append, lambda: None)
    for piece in _pieces(data):
        socket.feed_data(piece)
    while socket._unparsed and not socket.ended.is_set():  # noqa: ASYNC110 - it parses a turn later
        await asyncio.sleep(0)
    assert all(len(each) <= MAX_MESSAGE_BYTES for each in seen)
    assert socket.held_bytes <= MAX_MESSAGE_BYTES + 16
    socket.feed_eof()
    socket.release()


class _Transport(asyncio.Transport):
    def write(self, data: Any) -> None:
        assert data[0] & 0x70 == 0

    def is_closing(self) -> bool:
        return False


def form(data: bytes) -> None:
    """The body of an upload. The first byte chooses the boundary."""
    _loop().run_until_complete(_form(data))


async def _form(data: bytes) -> None:
    protocol = cast(BaseProtocol, _Protocol())  # as much of one as the reader uses
    payload = StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
    payload.feed_data(data[1:])
    payload.feed_eof()
    boundary = ["b", "x" * 70][data[0] % 2] if data else ""
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = make_mocked_request("POST", "/", headers, payload=payload)
    try:
        async with asyncio.timeout(5):
            file, _ = await read_form(request, MAX_UPLOAD_BYTES, lambda size_bytes: None)
            file.close()
    except (ApiError, web.HTTPException):
        pass


class _Protocol:
    """What a StreamReader asks to pause and to go on."""

    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, **how: bool) -> None: ...


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


TARGETS: dict[str, Target] = {
    "messages": messages,
    "ogg": ogg,
    "webm": webm,
    "opus": opus,
    "pcm": pcm,
    "websocket": websocket,
    "form": form,
}


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Lawful inputs, and parts that mutations would not find by themselves."""
    return tuple(_SEEDS[target]())


def _message_seeds() -> list[bytes]:
    heard = to_pcm(speech(0.1)), to_pcm(silence(0.2)), to_pcm(speech(0.01))
    appends = [
        json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()})
        for audio in heard
    ]
    plain = [
        *appends,
        '{"type":"input_audio_buffer.commit"}', '{"type":"input_audio_buffer.clear"}',
        '{"type":"session.finish"}', '{"type":"response.create","event_id":"e"}',
        '{"type":"session.update","session":{"turn_detection":null}}',
        '{"type":"session.update","session":{"input_audio_format":"opus"}}',
        '{"type":"session.update","session":{"sample_rate":8000,'
        '"turn_detection":{"silence_duration_ms":200}}}',
        '{"type":"session.update","event_id":"e","session":{"modalities":["text"],"language":"en",'
        '"input_audio_transcription":{"language":"de","model":"m","corpus":{"text":"a, b"}},'
        '"turn_detection":{"type":"server_vad","threshold":0.5,"silence_duration_ms":400,'
        '"prefix_padding_ms":300},"audio":{"input":{"format":{"type":"pcm","rate":24000}}}}}',
    ]  # fmt: skip
    lines = [each.encode() for each in plain]
    loud, quiet, short, commit, clear, finish, _, manual_mode, _, brief, _ = lines
    manual = [manual_mode, loud, commit, short, clear, loud, quiet, commit, loud, finish]
    vad = [brief, loud, quiet, short, quiet, loud, clear, quiet, loud, finish]
    return [*lines, b"\n".join(manual), b"\n".join(vad)]


def _opus_seeds() -> list[bytes]:
    ogg, webm = mux("ogg", hum(0.3)), mux("webm", hum(0.3), live=True)
    return [
        ogg, webm, ogg + mux("ogg", hum(0.1), layout="stereo", frame_ms=60), mux("webm", hum(0.2)),
        *packets_of(ogg)[:3], LONGEST_PACKET, ogg_head() + page_of_tiny_packets() * 2,
        FOREIGN_PAGE * 10, ogg_head() + FOREIGN_PAGE, ENDLESS_SEGMENT + ENDLESS_CLUSTER * 5,
        ENDLESS_SEGMENT + b"\xec\x80" * 50,
    ]  # fmt: skip


def _pcm_seeds() -> list[bytes]:
    spoken = to_pcm(speech(0.4)) + to_pcm(silence(0.4))
    return [bytes([choice]) + spoken for choice in range(4)] + [b"\0" + bytes(3)]


def _websocket_seeds() -> list[bytes]:
    text = b'{"type":"session.update"}'
    return [
        frame(text), frame(text, mask=b"mask"), frame(text, 2), frame("µ".encode() * 300),
        frame(text[:9], final=False) + frame(b"p", PING) + frame(text[9:], CONTINUATION),
        frame(b"\x03\xe8bye", CLOSE), frame(b"", PING) * 5, frame(bytes(4_000), final=False),
    ]  # fmt: skip


def _form_seeds() -> list[bytes]:
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    file = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n%s\r\n" % (b"RIFF" + bytes(100))
    )
    fields = [part % (name, b"x") for name in (b"model", b"language", b"timestamp_granularities[]")]
    encoded = file.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1)
    return [
        b"\0" + b"".join(fields) + file + b"--b--\r\n", b"\0" + file, b"\0" + encoded + b"--b--",
        b"\0" + part % (b"other", b"x"), b"\1--" + b"x" * 70 + b"--\r\n",
    ]  # fmt: skip


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "messages": _message_seeds,
    "ogg": _opus_seeds,
    "webm": _opus_seeds,
    "opus": _opus_seeds,
    "pcm": _pcm_seeds,
    "websocket": _websocket_seeds,
    "form": _form_seeds,
}


def mutated(target: str, dice: random.Random) -> bytes:
    """A seed with some bytes changed, removed, doubled, or taken from another seed."""
    known = seeds(target)
    data = bytearray(dice.choice(known))
    for _ in range(dice.randrange(MAX_EDITS + 1)):
        place = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0 if data:
                data[place % len(data)] ^= 1 << dice.randrange(8)
            case 1:
                data[place : place + dice.choice([1, 2, 10, 100])] = b""
            case 2:
                data[place:place] = dice.choice(INTERESTING)
            case 3:
                piece = data[place : place + dice.choice([1, 10, 100])]
                data[place:place] = piece * dice.choice([1, 2, 20])
            case 4:
                other = dice.choice(known)
                start = dice.randrange(len(other) + 1)
                data[place : place + dice.randrange(30)] = other[
                    start : start + dice.choice([3, 30, 300])
                ]
            case 5:
                data[place:place] = dice.randbytes(dice.choice([1, 4, 20]))
    return bytes(data[:MAX_INPUT_BYTES])
