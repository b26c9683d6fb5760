from __future__ import annotations

import json

import msgspec
import pytest

from oyez.client import Captions, Finished, Interim, Other, Utterance, parse

ITEM = "conversation.item.input_audio_transcription."


def take(captions: Captions, event_type: str, **fields: object) -> Utterance | None:
    return captions.take(parse(json.dumps({"type": event_type, "event_id": "e", **fields})))


def test_an_utterance_grows_and_ends() -> None:
    captions = Captions()
    take(captions, "input_audio_buffer.speech_started", item_id="a", audio_start_ms=500)
    take(captions, ITEM + "text", item_id="a", text="It", stash=" was", language="en")
    (current,) = captions.current
    assert (current.start_s, current.text, current.tentative) == (0.5, "It", " was")
    take(captions, "input_audio_buffer.speech_stopped", item_id="a", audio_end_ms=2500)
    over = take(captions, ITEM + "completed", item_id="a", transcript="It was.", emotion="sad")
    assert over == Utterance(0.5, 2.5, "It was.", "", "", "sad")
    assert captions.current == []


def test_the_next_one_may_begin_before_the_last_is_answered() -> None:
    captions = Captions()
    for item in "ab":
        take(captions, "input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        take(captions, ITEM + "text", item_id=item, text=item, stash="")
    assert [each.text for each in captions.current] == ["a", "b"]
    take(captions, ITEM + "completed", item_id="a", transcript="A")
    assert [each.text for each in captions.current] == ["b"]


def test_a_failed_one_keeps_what_was_confirmed() -> None:
    captions = Captions()
    take(captions, ITEM + "text", item_id="a", text="It", stash=" was")
    over = take(captions, ITEM + "failed", item_id="a", error={"code": "X", "message": "too busy"})
    assert over == Utterance(text="It", failure="too busy")


def test_other_servers_may_send_less_and_more() -> None:
    assert parse('{"type":"session.finished"}') == Finished()
    assert parse('{"type":"something.new","x":1}') == Other("something.new")
    assert parse(json.dumps({"type": ITEM + "text", "text": "a", "x": []})) == Interim(text="a")


@pytest.mark.parametrize("message", ["", "[]", "nonsense", '{"type":1}'])
def test_what_is_no_event_is_reported(message: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        parse(message)


def test_what_gets_no_final_any_more_keeps_its_words() -> None:
    captions = Captions()
    for item, text in (("a", "It"), ("b", "")):
        take(captions, "input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        if text:
            take(captions, ITEM + "text", item_id=item, text=text, stash=" was")
    assert [each.text for each in captions.unanswered] == ["It was …"]
