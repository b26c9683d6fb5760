from __future__ import annotations

import base64
import contextlib
import json
import time

import pytest

from oyez.protocol.client_events import AudioAppend, SessionFinish, SessionUpdate, UnsupportedEvent
from oyez.protocol.errors import ClientError
from oyez.protocol.qwen import codec
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


def test_long_base64_may_have_lines_but_not_very_short_ones() -> None:
    audio = bytes(range(256)) * 300
    encoded = base64.b64encode(audio).decode()
    lines = [encoded[place : place + 64] for place in range(0, len(encoded), 64)]
    assert decode(append("\r\n".join(lines)), len(audio)) == AudioAppend("e", audio)
    with pytest.raises(ClientError, match="fewer than 16") as failure:
        decode(append("\n".join(encoded)), len(audio))
    assert failure.value.param == "audio"


def test_base64_with_line_breaks_is_read() -> None:
    data = bytes(range(200))
    assert decode(append(base64.encodebytes(data).decode())) == AudioAppend("e", data)


@pytest.mark.parametrize("audio", [r"AB\/D", r"\u0041B\/D", "AB/D=", " AB/D"])
def test_base64_is_read_however_it_is_written(audio: str) -> None:
    message = f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'
    assert decode(message) == AudioAppend(None, b"\x00\x1f\xc3")


def test_update_hands_the_session_object_on() -> None:
    event = decode('{"type":"session.update","session":{"language":"de","a":1}}')
    assert event == SessionUpdate(None, {"language": "de"})


def test_what_means_nothing_in_an_update_is_not_read() -> None:
    given = {
        "voice": {"language": "de"},
        "turn_detection": None,
        "sample_rate": {"rate": {"rate": {"rate": {"rate": {"rate": 1}}}}},
        "modalities": ["text", *range(1000)],
        "corpus": {"text": "名", "kind": []},
    }
    assert decode(json.dumps({"type": "session.update", "session": given})).session == {
        "turn_detection": None,
        "sample_rate": {"rate": {"rate": {"rate": {}}}},
        "modalities": [],
        "corpus": {"text": "名"},
    }


def test_sibling_events_are_known() -> None:
    assert decode('{"type":"response.create"}') == UnsupportedEvent(None, "response.create")


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


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("null", "null"),
        ("true", "true"),
        ("false", "false"),
        ("-1.5", "-1.5"),
        ("1e400", "a number out of range"),
        ("9" * 5000, "a number out of range"),
        ("9" * 300, "9" * 77 + "..."),
        ('"it"', "'it'"),
        ('"' + "x" * 5000 + '"', "'" + "x" * 76 + "..."),
        ("[[],[]]", "a list"),
        ('{"a":1}', "an object"),
        ("{}", "an object"),
    ],
)
def test_a_bad_value_is_named_in_the_words_of_json_and_briefly(value: str, shown: str) -> None:
    with pytest.raises(ClientError) as caught:
        decode(f'{{"event_id":"e","type":{value}}}')
    assert caught.value.message.startswith(f"Invalid value: {shown}. Supported values")
    assert (caught.value.param, caught.value.event_id) == ("type", "e")


@pytest.mark.parametrize("name", ["type", "audio", "session"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"text":', "}")])
def test_no_depth_is_an_internal_error(name: str, opening: str, closing: str) -> None:
    kind = {"audio": "input_audio_buffer.append", "session": "session.update"}.get(name)
    known = f'"type":"{kind}",' if kind else ""
    for depth in (*range(1, 300, 7), *range(900, 1100), 5000):
        try:
            value = opening * depth + "[]" + closing * depth
            decode(f'{{{known}"{name}":{value}}}')
        except ClientError as error:
            is_too_deep = error.code == "invalid_json"
            assert is_too_deep if depth > 1000 else depth > 700 or not is_too_deep


@pytest.mark.parametrize("event_id", ["x" * 201, 7, None, [], {"a": 1}])
def test_an_event_id_that_is_not_a_short_string_counts_as_none(event_id: object) -> None:
    assert decode(json.dumps({"type": "session.finish", "event_id": event_id})).event_id is None
    with pytest.raises(ClientError) as caught:
        decode(json.dumps({"type": "x", "event_id": event_id}))
    assert caught.value.event_id is None
    with pytest.raises(ClientError) as caught:
        decode(json.dumps({"type": 7, "event_id": event_id}))
    assert caught.value.event_id is None
    assert decode(json.dumps({"type": "session.finish", "event_id": "x" * 200})).event_id


def _long(event: dict[str, object]) -> str:
    return json.dumps({**event, "ignored": "x" * codec.MAX_MESSAGE_CHARS})


def test_only_audio_and_what_is_ignored_may_be_long() -> None:
    data = bytes(300_000)
    audio = base64.b64encode(data).decode()
    assert decode(append(audio), max_append_bytes=len(data)) == AudioAppend("e", data)
    image = json.dumps({"type": "input_image_buffer.append", "image": audio})
    assert decode(image) == UnsupportedEvent(None, "input_image_buffer.append")
    for event in ({"type": "session.finish"}, {"type": "session.update", "session": {}}):
        with pytest.raises(ClientError, match="262144 characters") as caught:
            decode(_long({**event, "event_id": "e"}))
        assert (caught.value.code, caught.value.event_id) == ("invalid_value", "e")
    with pytest.raises(ClientError, match="too long"):
        decode(json.dumps({"type": "response.create", "x": [0] * 200_000}))
    with pytest.raises(ClientError, match="too long"):
        decode(json.dumps({"type": "response.create", "x": [0] * 200_000}).encode())


def test_the_longest_context_fits_with_every_character_escaped() -> None:
    text = "名" * 40_000
    message = json.dumps({"type": "session.update", "session": {"corpus": {"text": text}}})
    assert decode(message) == SessionUpdate(None, {"corpus": {"text": text}})


MEBIBYTE = 1 << 20
HOSTILE = {
    "lists as a session": '{"type":"session.update","session":[' + "[]," * MEBIBYTE + "1]}",
    "lists as a type": '{"type":[' + "[]," * MEBIBYTE + "1]}",
    "lists as audio": '{"type":"input_audio_buffer.append","audio":[' + "[]," * MEBIBYTE + "1]}",
    "lists that fit": '{"type":"session.update","session":{"language":[' + "[]," * 87_000 + "1]}}",
    "objects that fit": '{"type":"session.update","session":{' + '"text":{},' * 26_000 + '"a":1}}',
    "keys": '{"type":"session.update","session":{'
    + ",".join(f'"{n}":0' for n in range(300_000))
    + "}}",
    "digits": '{"type":' + "1" * (3 * MEBIBYTE) + "}",
    "line breaks": '{"type":"input_audio_buffer.append","audio":"' + "A\\n" * MEBIBYTE + '"}',
    "a model": '{"type":"session.update","session":{"input_audio_transcription":{"model":"'
    + "m" * (3 * MEBIBYTE)
    + '"}}}',
}
"""As long as a message may be, but for those that are to be short."""


@pytest.mark.parametrize("name", HOSTILE)
def test_no_message_costs_much_more_than_reading_it(name: str) -> None:
    def attempt() -> float:
        began_s = time.thread_time()
        with contextlib.suppress(ClientError):
            decode(HOSTILE[name], max_append_bytes=2 * MEBIBYTE)
        return time.thread_time() - began_s

    assert min(attempt() for _ in range(3)) < 0.05


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
