"""Every public client hears the shipped sample, in both turn modes, and ends as it should."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

import pytest

from oyez.server.reference.asyncapi import asyncapi
from oyez.settings import Settings
from support.closed import complaints_about_event
from support.order import COMMITTED, COMPLETED, STARTED, STOPPED, TEXT, check_events

from .conftest import SAMPLE, Outcome, Outcomes
from .programs import PROGRAMS

pytestmark = [pytest.mark.clients, pytest.mark.model, pytest.mark.timeout(1200)]

SPOKEN = SAMPLE.with_suffix(".txt").read_text()
KEY_WORDS = {"best", "worst", "times", "wisdom", "belief", "season", "light", "darkness", "hope"}

each_client = pytest.mark.parametrize("client", PROGRAMS)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


@pytest.mark.parametrize("client", ["websocket-client"])
@pytest.mark.parametrize("scenario", ["vad", "manual"])
def test_what_a_client_is_sent_is_as_the_reference_says(
    client: str, scenario: str, outcome_of: Outcomes
) -> None:
    reference = asyncapi(Settings())
    for event in outcome_of(client, scenario).events:
        assert complaints_about_event(reference, event) == []


@each_client
@pytest.mark.parametrize("scenario", ["vad", "manual"])
def test_client_receives_the_sample(client: str, scenario: str, outcome_of: Outcomes) -> None:
    outcome = outcome_of(client, scenario)
    assert outcome.ended and outcome.exit_code == 0, (outcome.errors, outcome.events[-3:])
    check_events(outcome.events)
    check_session(outcome, manual=scenario == "manual")
    check_turns(outcome, manual=scenario == "manual")
    check_words(outcome)


@each_client
@pytest.mark.parametrize("scenario", ["wrong-key"])
def test_wrong_key_is_refused(client: str, scenario: str, outcome_of: Outcomes) -> None:
    outcome = outcome_of(client, scenario)
    assert not outcome.events and not outcome.ended
    assert outcome.exit_code != 0  # none at all where the SDK waits for ever (Java 2.22.13)
    assert "401" in outcome.errors


def check_session(outcome: Outcome, *, manual: bool) -> None:
    types = [event["type"] for event in outcome.events]
    assert types[:2] == ["session.created", "session.updated"]
    assert types[-1] == "session.finished"
    assert "error" not in types
    for event in outcome.events[:2]:
        session = event["session"]
        assert isinstance(session["id"], str) and session["object"] == "realtime.session"
        assert session["model"] == "qwen3-asr-flash-realtime"
        assert session["modalities"] == ["text"]
        assert session["input_audio_format"] == "pcm"
    assert (outcome.events[1]["session"]["turn_detection"] is None) == manual


def check_turns(outcome: Outcome, *, manual: bool) -> None:
    """The order within an item is `check_events`' matter."""
    items = [event["item_id"] for event in outcome.of_type(COMMITTED)]
    interims = outcome.of_type(TEXT)
    assert any(event["text"] + event["stash"] for event in interims)
    if manual:
        assert len(items) == 1
        assert not outcome.of_type(STARTED) + outcome.of_type(STOPPED)
        return
    assert len(items) >= 2, "the sample has a pause of 0.8 s"
    assert [event["item_id"] for event in outcome.of_type(STARTED)] == items
    assert [event["item_id"] for event in outcome.of_type(STOPPED)] == items
    assert len(interims) >= 5
    first_stop = outcome.events.index(outcome.of_type(STOPPED)[0])
    assert outcome.events.index(interims[0]) < first_stop, "no text while speech went on"


def check_words(outcome: Outcome) -> None:
    finals = outcome.of_type(COMPLETED)
    assert {event["language"] for event in finals} == {"en"}
    heard = words(" ".join(event["transcript"] for event in finals))
    expected = words(SPOKEN)
    matches = SequenceMatcher(None, expected, heard, autojunk=False).get_matching_blocks()
    assert sum(match.size for match in matches) >= 0.8 * len(expected), heard
    assert set(heard) >= KEY_WORDS, heard
    assert len(heard) <= 1.2 * len(expected), heard
