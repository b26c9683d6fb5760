from __future__ import annotations

import base64
import json

import pytest

from oyez.protocol import codec
from oyez.protocol.client_events import AudioAppend, Foreign, SessionFinish, SessionUpdate
from oyez.protocol.errors import ClientError
from oyez.protocol.server_events import InterimText, SpeechStarted


def decode(message: str | bytes, max_append_bytes: int = 1000):  # type: ignore[no-untyped-def]
    return codec.decode(message, max_append_bytes=max_append_bytes)


def append(audio: object) -> str:
    return json.dumps({"event_id": "e", "type": "input_audio_buffer.append", "audio": audio})


def test_append_carries_the_decoded_bytes() -> None:
    assert decode(append("AAEC")) == AudioAppend("e", b"\x00\x01\x02")


def test_event_id_is_optional_and_must_be_a_string_to_count() -> None:
    assert decode('{"type":"session.finish"}') == SessionFinish(None)
    assert decode('{"type":"session.finish","event_id":7}') == SessionFinish(None)


def test_unknown_keys_are_ignored() -> None:
    assert decode('{"type":"session.finish","foo":{"bar":[1]}}') == SessionFinish(None)


def test_json_in_a_binary_frame_is_read() -> None:
    assert decode(b'{"type":"session.finish"}') == SessionFinish(None)


def test_base64_with_line_breaks_is_read() -> None:
    data = bytes(range(200))
    assert decode(append(base64.encodebytes(data).decode())) == AudioAppend("e", data)


@pytest.mark.parametrize("audio", [r"AB\/D", r"\u0041B\/D", "AB/D=", " AB/D"])
def test_base64_is_read_however_it_is_written(audio: str) -> None:
    message = f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'
    assert decode(message) == AudioAppend(None, b"\x00\x1f\xc3")


def test_update_hands_the_session_object_on() -> None:
    event = decode('{"type":"session.update","session":{"a":1}}')
    assert event == SessionUpdate(None, {"a": 1})


def test_sibling_events_are_known() -> None:
    assert decode('{"type":"response.create"}') == Foreign(None, "response.create")


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("", "invalid_json", None),
        ("not json", "invalid_json", None),
        ("[1,2]", "invalid_json", None),
        ('"text"', "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        (b"\xff\xfe\x00", "invalid_json", None),
        ("{}", "invalid_value", "type"),
        ('{"type":null}', "invalid_value", "type"),
        ('{"type":["a"]}', "invalid_value", "type"),
        ('{"type":"input_audio_buffer.apend"}', "invalid_value", "type"),
        ('{"type":"session.update"}', "invalid_value", "session"),
        ('{"type":"session.update","session":[]}', "invalid_value", "session"),
        (append(None), "invalid_value", "audio"),
        (append(17), "invalid_value", "audio"),
        (append("a"), "invalid_value", "audio"),
        (append("!!!!"), "invalid_value", "audio"),
        (append("é==="), "invalid_value", "audio"),
        (append("AAAA" * 1000), "invalid_value", "audio"),
        (append("AAAA\n" * 1000), "invalid_value", "audio"),
        ('{"type":"input_audio_buffer.append"}', "invalid_value", "audio"),
    ],
)
def test_malformed_messages_name_the_field(
    message: str | bytes, code: str, param: str | None
) -> None:
    with pytest.raises(ClientError) as caught:
        decode(message)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert len(caught.value.message) < 400


def test_the_limit_of_an_append_counts_decoded_bytes() -> None:
    assert decode(append(base64.b64encode(bytes(1000)).decode())).audio == bytes(1000)
    with pytest.raises(ClientError, match="1000 bytes"):
        decode(append(base64.b64encode(bytes(1001)).decode()))


def test_unknown_types_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ClientError, match=r"'session\.update'.*'session\.finish'"):
        decode('{"type":"x"}')


def test_events_are_encoded_with_their_type() -> None:
    event = SpeechStarted(event_id="event_1", audio_start_ms=3647, item_id="item_1")
    assert json.loads(codec.encode(event)) == {
        "type": "input_audio_buffer.speech_started",
        "event_id": "event_1",
        "audio_start_ms": 3647,
        "item_id": "item_1",
    }


def test_text_goes_out_as_it_is() -> None:
    event = InterimText(
        event_id="e", item_id="i", language="zh", emotion="neutral", text="今天", stash=""
    )
    assert "今天" in codec.encode(event)
