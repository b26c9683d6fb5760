"""RFC 6455 to the letter, on oyez itself, by the numbers of Autobahn's cases where there are such.

oyez is no echo server: a message that it takes is answered by an event, if only `error`.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.adversary import ATTACKER, MeasuredServer
from support.blocking_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    GONE,
    PING,
    PONG,
    TEXT,
    BlockingWebSocket,
    Frame,
    frame,
    message,
    upgrade,
)
from support.raw_http import ask

UPDATE = b'{"type":"session.update","session":{"language":"en"}}'
GOODBYE = frame((1000).to_bytes(2, "big"), CLOSE)
PROTOCOL_ERROR, NOT_UTF8, TOO_LARGE = 1002, 1007, 1009
SIZES = (0, 125, 126, 127, 128, 65_535, 65_536, 200_000)
LARGEST_BYTES = 256 * 1024
"""Of a message without audio."""


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(code.to_bytes(2, "big") + reason, CLOSE)


def sized(size: int) -> bytes:
    """A message of this length; an empty one is no JSON, and answered all the same."""
    return UPDATE.ljust(size) if size else b""


def octets(data: bytes) -> list[bytes]:
    return [bytes([octet]) for octet in data]


def pieces(data: bytes, size: int, opcode: int = TEXT) -> list[bytes]:
    """A message in fragments of so many bytes."""
    cut = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
    return [
        frame(part, CONTINUATION if number else opcode, final=number == len(cut) - 1)
        for number, part in enumerate(cut)
    ]


def exchange(server: MeasuredServer, *parts: bytes, replies: int = 0) -> list[Frame]:
    """What comes back for these bytes and a Close, without `session.created`. The Close is sent
    when so many frames have come."""
    with server.session() as session:
        created = session.until(lambda one: one.opcode == TEXT)
        assert created[0].event["type"] == "session.created"
        session.send(*parts)
        found: list[Frame] = []
        while len(found) < replies and (new := session.until(lambda one: True)):
            found += new
        session.send(GOODBYE)
        return found + session.until(lambda one: one.opcode == GONE)


def answered(server: MeasuredServer, *parts: bytes) -> None:
    """One message came through, and the connection was closed in order."""
    event, close, gone = exchange(server, *parts, replies=1)
    assert event.opcode == TEXT and event.event["type"] in ("session.updated", "error")
    assert (close.opcode, close.code) == (CLOSE, 1000)
    assert gone.opcode == GONE


def refused(server: MeasuredServer, code: int, *parts: bytes) -> None:
    """The connection was failed with this code, and nothing of these bytes was answered."""
    close, gone = exchange(server, *parts)
    assert (close.opcode, close.code) == (CLOSE, code)
    assert gone.opcode == GONE


def ponged(server: MeasuredServer, payloads: list[bytes], *parts: bytes) -> None:
    *pongs, close, gone = exchange(server, *parts, replies=len(payloads))
    assert [(one.opcode, one.payload) for one in pongs] == [(PONG, each) for each in payloads]
    assert (close.code, gone.opcode) == (1000, GONE)


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["1.1", "1.2"])
@pytest.mark.parametrize("size", SIZES)
def test_1_messages_of_all_lengths(server: MeasuredServer, opcode: int, size: int) -> None:
    answered(server, frame(sized(size), opcode, mask=b"\x9a\x01\xff\0"))


def test_1_chopped_into_segments(server: MeasuredServer) -> None:
    whole = frame(sized(65_536), mask=b"mask")
    with server.session() as session:
        assert session.send_slowly(whole, 997, 0.0)
        session.until_event("session.updated")


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\0\xff\xfe\xfd\xfc\xfb\0\xff", b"x" * 125])
def test_2_pings_are_answered_with_their_payload(server: MeasuredServer, payload: bytes) -> None:
    ponged(server, [payload], frame(payload, PING, mask=b"mask"))


def test_2_5_a_ping_of_126_bytes(server: MeasuredServer) -> None:
    refused(server, PROTOCOL_ERROR, frame(bytes(126), PING))


def test_2_6_a_ping_octet_by_octet(server: MeasuredServer) -> None:
    with server.session() as session:
        session.send_slowly(frame(b"x" * 125, PING), 1, 0.0)
        found = session.until(lambda one: one.opcode == PONG)
    assert found[-1].payload == b"x" * 125


@pytest.mark.parametrize("payload", [b"", b"unsolicited"])
def test_2_7_pongs_that_nobody_asked_for(server: MeasuredServer, payload: bytes) -> None:
    ponged(server, [b"ping"], frame(payload, PONG), frame(b"ping", PING))


def test_2_10_ten_pings(server: MeasuredServer) -> None:
    payloads = [b"payload-%d" % number for number in range(10)]
    ponged(server, payloads, *[frame(payload, PING) for payload in payloads])


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_3_reserved_bits(server: MeasuredServer, reserved: int, opcode: int) -> None:
    refused(server, PROTOCOL_ERROR, frame(b"", opcode, reserved=reserved))


def test_3_2_a_message_before_the_wrong_frame(server: MeasuredServer) -> None:
    found = exchange(server, frame(UPDATE), frame(UPDATE, reserved=2), frame(b"", PING))
    assert [one.opcode for one in found if one.opcode == PONG] == []
    assert [one.code for one in found if one.opcode == CLOSE] == [PROTOCOL_ERROR]


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode payload"])
def test_4_reserved_opcodes(server: MeasuredServer, opcode: int, payload: bytes) -> None:
    refused(server, PROTOCOL_ERROR, frame(payload, opcode), frame(b"", PING))


BEGIN, END = UPDATE[:9], UPDATE[9:]
FIRST = frame(BEGIN, final=False)
LAST = frame(END, CONTINUATION)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_5_1_fragmented_control_frames(server: MeasuredServer, opcode: int) -> None:
    refused(server, PROTOCOL_ERROR, frame(b"x", opcode, final=False), frame(b"y", CONTINUATION))


@pytest.mark.parametrize(
    "parts",
    [
        [FIRST, LAST],
        octets(FIRST + LAST),
        [frame(BEGIN, BINARY, final=False), LAST],
        [frame(b"", final=False), frame(UPDATE, CONTINUATION)],
        [
            frame(b"", final=False),
            frame(b"", CONTINUATION, final=False),
            frame(UPDATE, CONTINUATION),
        ],
        [frame(UPDATE, final=False), frame(b"", CONTINUATION)],
        pieces(UPDATE, 1),
    ],
    ids=[
        "two",
        "octet by octet",
        "binary",
        "empty first",
        "empty two",
        "empty last",
        "a byte each",
    ],
)
def test_5_3_fragments(server: MeasuredServer, parts: list[bytes]) -> None:
    answered(server, *parts)


@pytest.mark.parametrize("chopped", [False, True])
def test_5_6_a_ping_between_fragments(server: MeasuredServer, chopped: bool) -> None:
    data = FIRST + frame(b"between", PING) + LAST
    parts = octets(data) if chopped else [data]
    pong, event, close, _ = exchange(server, *parts, replies=2)
    assert (pong.opcode, pong.payload) == (PONG, b"between")
    assert event.event["type"] == "session.updated"
    assert close.code == 1000


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_5_9_a_continuation_of_nothing(server: MeasuredServer, payload: bytes, final: bool) -> None:
    refused(server, PROTOCOL_ERROR, frame(payload, CONTINUATION, final=final), frame(UPDATE))


def test_5_15_a_continuation_after_the_message(server: MeasuredServer) -> None:
    *_, close, gone = exchange(server, FIRST, LAST, frame(b"x", CONTINUATION, final=False))
    assert (close.code, gone.opcode) == (PROTOCOL_ERROR, GONE)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("begin", [BEGIN, b""], ids=["begun", "begun empty"])
def test_5_18_a_message_inside_a_message(
    server: MeasuredServer, begin: bytes, final: bool, opcode: int
) -> None:
    refused(server, PROTOCOL_ERROR, frame(begin, final=False), frame(UPDATE, opcode, final=final))


VALID_TEXT = {
    "6.2 Greek": "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "6.5 kosme": "κόσμε".encode(),
    "6.6 the first of each length": "\0\u0080\u0800\U00010000".encode(),
    "6.9 the last of each length": "\x7f\u07ff\uffff\U0010ffff".encode(),
    "6.11 around the surrogates": "\ud7ff\ue000\ufffd".encode(),
    "6.22 no characters": "\ufffe\uffff\U0001fffe\U0010ffff".encode(),
}
INVALID_TEXT = {
    "6.3 in the middle": "κόσμε".encode() + b"\xed\xa0\x80edited",
    "6.8 five and six bytes": b"\xf8\x88\x80\x80\x80",
    "6.10 beyond the last": b"\xf4\x90\x80\x80",
    "6.12 a lonely continuation": b"\x80",
    "6.12 another": b"\xbf\x80\xbf",
    "6.14 a lonely start": b"\xc0 \xc1 ",
    "6.14 lonely starts of three": b"\xe0 \xef ",
    "6.15 an end that is missing": b"\xe1\xbd",
    "6.17 impossible bytes": b"\xfe\xfe\xff\xff",
    "6.18 overlong": b"\xc0\xaf",
    "6.18 overlong of three": b"\xe0\x80\xaf",
    "6.19 overlong of four": b"\xf0\x8f\xbf\xbf",
    "6.20 overlong zero": b"\xc0\x80",
    "6.21 a surrogate": b"\xed\xa0\x80",
    "6.21 a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
}


@pytest.mark.parametrize("name", VALID_TEXT)
@pytest.mark.parametrize("size", [1, 1_000], ids=["a byte a fragment", "whole"])
def test_6_text(server: MeasuredServer, name: str, size: int) -> None:
    answered(server, *pieces(b'{"type":"' + VALID_TEXT[name] + b'"}', size))


@pytest.mark.parametrize("name", INVALID_TEXT)
@pytest.mark.parametrize("size", [1, 1_000], ids=["a byte a fragment", "whole"])
def test_6_what_is_no_text(server: MeasuredServer, name: str, size: int) -> None:
    """Autobahn calls it strict when it fails at the first wrong byte, and passes it at the end of
    the message too."""
    refused(server, NOT_UTF8, *pieces(b'{"type":"' + INVALID_TEXT[name] + b'"}', size))


def test_6_generated_text(server: MeasuredServer) -> None:
    @settings(max_examples=60, deadline=None, database=None)
    @given(st.binary(max_size=40), st.integers(1, 10))
    def run(payload: bytes, size: int) -> None:
        try:
            payload.decode()
        except UnicodeDecodeError:
            refused(server, NOT_UTF8, *pieces(payload, size))
        else:
            answered(server, *pieces(payload, size))

    run()


def test_7_1_1_a_message_then_a_close(server: MeasuredServer) -> None:
    answered(server, frame(UPDATE))


def test_7_1_2_two_closes(server: MeasuredServer) -> None:
    close, gone = exchange(server, GOODBYE)
    assert (close.code, gone.opcode) == (1000, GONE)


@pytest.mark.parametrize("late", [frame(b"", PING), frame(UPDATE), LAST, b"\xff" * 50])
def test_7_1_3_nothing_is_answered_after_a_close(server: MeasuredServer, late: bytes) -> None:
    close, gone = exchange(server, GOODBYE, late)
    assert (close.code, gone.opcode) == (1000, GONE)


def test_7_1_5_a_close_inside_a_message(server: MeasuredServer) -> None:
    close, gone = exchange(server, FIRST, GOODBYE, LAST)
    assert (close.code, gone.opcode) == (1000, GONE)


def test_7_1_6_a_long_message_then_a_close(server: MeasuredServer) -> None:
    answered(server, frame(sized(LARGEST_BYTES - 1)))


def test_7_3_1_a_close_without_a_code(server: MeasuredServer) -> None:
    with server.session() as session:
        session.send(frame(b"", CLOSE))
        _, close, gone = session.until(lambda one: one.opcode == GONE)
    assert close.opcode == CLOSE and close.code in (None, 1000)
    assert gone.opcode == GONE


@pytest.mark.parametrize("reason", [b"", b"Hello World!", b"x" * 123, "κόσμε".encode()])
def test_7_3_3_a_close_with_a_reason(server: MeasuredServer, reason: bytes) -> None:
    close, gone = exchange(server, closing(1000, reason))
    assert (close.code, gone.opcode) == (1000, GONE)


@pytest.mark.parametrize("payload", [b"\x03", (1000).to_bytes(2, "big") + bytes(124)])
def test_7_3_2_a_close_of_a_wrong_length(server: MeasuredServer, payload: bytes) -> None:
    refused(server, PROTOCOL_ERROR, frame(payload, CLOSE))


@pytest.mark.parametrize("name", INVALID_TEXT)
def test_7_5_1_a_reason_that_is_no_text(server: MeasuredServer, name: str) -> None:
    refused(server, NOT_UTF8, closing(1000, INVALID_TEXT[name]))


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
)
def test_7_7_codes_are_echoed(server: MeasuredServer, code: int) -> None:
    close, gone = exchange(server, closing(code))
    assert close.opcode == CLOSE and close.code in (code, 1000)
    assert gone.opcode == GONE


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
)
def test_7_9_codes_that_nobody_may_send(server: MeasuredServer, code: int) -> None:
    refused(server, PROTOCOL_ERROR, closing(code))


def test_9_a_message_as_long_as_allowed(server: MeasuredServer) -> None:
    answered(server, *pieces(sized(LARGEST_BYTES - 1), 4_096))


def test_9_a_message_in_a_thousand_fragments(server: MeasuredServer) -> None:
    answered(server, *pieces(sized(65_536), 64))


def test_9_too_long_by_its_header(server: MeasuredServer) -> None:
    """It is refused before it comes."""
    with server.session() as session:
        session.send(frame(b"", claimed_bytes=25 << 20))
        assert session.closed() == TOO_LARGE


def test_9_too_long_by_its_fragments(server: MeasuredServer) -> None:
    with server.session() as session:
        session.send(frame(bytes(1 << 20), final=False))
        for _ in range(30):
            if not session.send(frame(bytes(1 << 20), CONTINUATION, final=False)):
                break
        assert session.closed() == TOO_LARGE


def test_9_7_many_messages(server: MeasuredServer) -> None:
    with server.session() as session:
        session.send(*[frame(UPDATE)] * 1_000, message("session.finish"))
        events = session.until_event("session.finished", 20)
    assert [each["type"] for each in events].count("session.updated") == 1_000


def test_12_no_compression_is_agreed_to(server: MeasuredServer) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    request = upgrade(ATTACKER, "/api-ws/v1/realtime?model=qwen3-asr-flash-realtime", offer)
    answer = ask(server.address, request, seconds=0.3)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-extensions" not in answer.lower()


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_unmasked_frames(server: MeasuredServer, opcode: int) -> None:
    """RFC 6455, section 5.1: the server MUST close."""
    payload = UPDATE if opcode in (TEXT, BINARY) else b""
    refused(server, PROTOCOL_ERROR, frame(payload, opcode, mask=None))


@pytest.mark.parametrize("length_bytes", [2, 8])
def test_a_length_in_more_bytes_than_needed(server: MeasuredServer, length_bytes: int) -> None:
    """Section 5.2 forbids it to the client and leaves open what the server does."""
    found = exchange(server, frame(UPDATE, length_bytes=length_bytes), replies=1)
    assert [one.code for one in found if one.opcode == CLOSE] in ([1000], [PROTOCOL_ERROR])


def test_a_length_with_its_highest_bit(server: MeasuredServer) -> None:
    with server.session() as session:
        session.send(frame(b"", claimed_bytes=(1 << 64) - 1))
        assert session.closed() in (PROTOCOL_ERROR, TOO_LARGE)


@pytest.mark.parametrize(
    "change",
    [
        ("Version: 13", "Version: 12"),
        ("Sec-WebSocket-Version: 13\r\n", ""),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: c2hvcnQ="),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: ????"),
        ("Upgrade: websocket", "Upgrade: nothing"),
        ("Connection: Upgrade", "Connection: keep-alive"),
    ],
    ids=str,
)
def test_handshakes_that_are_wrong(server: MeasuredServer, change: tuple[str, str]) -> None:
    right, wrong = map(str.encode, change)
    answer = ask(server.address, upgrade(ATTACKER).replace(right, wrong))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 426 "))


def test_a_broken_session_ends_no_other(server: MeasuredServer) -> None:
    with BlockingWebSocket(server.address, ATTACKER) as other:
        refused(server, PROTOCOL_ERROR, frame(b"", 3))
        other.send(frame(UPDATE))
        other.until_event("session.updated")
