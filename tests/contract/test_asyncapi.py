from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest

from oyez.engines.base import RecognitionError, Request
from oyez.protocol.qwen import codec
from oyez.protocol.qwen.codec import CLIENT_EVENTS
from oyez.protocol.server_events import SERVER_EVENTS, SpeechStarted, about
from oyez.server.reference.asyncapi import COURSES, asyncapi, server_schemas
from oyez.settings import Settings
from oyez.testing import FakeRecogniser
from support.closed import complaints_about_event
from support.driver import Driver
from support.golden import read, replay
from support.server import FINISH, append, running_server, silence, speech

from .test_golden_sessions import GOLDEN, DriverPeer

SPECIFICATION = "@asyncapi/specs@6.11.1"
DOCUMENT = asyncapi(Settings())
MESSAGES = DOCUMENT["components"]["messages"]


def examples(names: Any) -> list[Any]:
    return [
        pytest.param(example["payload"], id=f"{name}-{number}")
        for name in names
        for number, example in enumerate(MESSAGES[name]["examples"])
    ]


@pytest.fixture(scope="session")
def official_schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The JSON Schema of AsyncAPI 3.0 documents that belongs to the specification."""
    folder: Path = request.config.cache.mkdir("asyncapi")
    file = folder / "node_modules/@asyncapi/specs/schemas/3.0.0.json"
    if not file.exists():
        if not shutil.which("npm"):
            pytest.skip("this machine has no npm")
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        command = ["npm", "install", "--prefix", str(folder), *quiet, SPECIFICATION]
        subprocess.run(command, check=True, timeout=120)
    schema: dict[str, Any] = json.loads(file.read_text())
    return schema


@pytest.mark.clients
def test_the_document_is_asyncapi(official_schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft7Validator(official_schema)
    assert not list(validator.iter_errors(DOCUMENT))
    wrong = {**DOCUMENT, "operations": {"x": {"action": "shout"}}}
    assert list(validator.iter_errors(wrong))


def test_every_reference_leads_somewhere() -> None:
    found = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)))
    assert len(found) > 40
    for reference in found:
        target: Any = DOCUMENT
        for key in reference.split("/"):
            target = target[key]


def test_every_event_type_is_a_message_with_an_example() -> None:
    assert set(MESSAGES) == {*CLIENT_EVENTS, *SERVER_EVENTS}
    assert all(message["examples"] and message["summary"] for message in MESSAGES.values())
    assert set(DOCUMENT["operations"]) == {
        *(f"receive.{name}" for name in CLIENT_EVENTS),
        *(f"send.{name}" for name in SERVER_EVENTS),
    }


def test_every_type_and_every_field_is_described_but_constants() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        for key, field in schema["properties"].items():
            plain = "const" in field or len(field.get("enum", "any of them")) == 1
            assert plain or field.get("description") or "$ref" in field, f"{name}.{key}"


@pytest.mark.parametrize("example", examples(CLIENT_EVENTS))
def test_client_examples_are_what_the_server_understands(example: dict[str, Any]) -> None:
    event = codec.decode(json.dumps(example), max_append_bytes=1000)
    assert type(event) is CLIENT_EVENTS[example["type"]]
    assert complaints_about_event(DOCUMENT, example) == []
    answers = Driver().send(example)
    errors = [answer["error"]["code"] for answer in answers if answer["type"] == "error"]
    empty = ["input_audio_buffer_commit_empty"]
    assert errors in ([], empty if example["type"].endswith("commit") else [])


@pytest.mark.parametrize("example", examples(SERVER_EVENTS))
def test_server_examples_are_as_the_server_would_send_them(example: dict[str, Any]) -> None:
    assert complaints_about_event(DOCUMENT, example) == []


async def test_everything_sent_is_as_described() -> None:
    """In the golden sessions, and when a turn fails."""
    events = await _failed_turn()
    for path in GOLDEN:
        events += await replay(read(path), DriverPeer())
    for event in events:
        assert complaints_about_event(DOCUMENT, event) == []
    assert {event["type"] for event in events} == set(SERVER_EVENTS)


async def _failed_turn() -> list[dict[str, Any]]:
    def fail(request: Request) -> str:
        raise RecognitionError("on purpose")

    async with running_server(FakeRecogniser(fail)) as running:
        client = await running.connect()
        await client.send(append(speech(1.0) + silence(1.5)), FINISH)
        await client.until("session.finished")
        return client.seen


def test_a_field_that_is_added_is_described_without_more_ado() -> None:
    class Louder(SpeechStarted, tag=SpeechStarted.__struct_config__.tag, frozen=True, kw_only=True):
        """A turn has begun, loudly."""

        loudness_db: Annotated[float, about("How loud.")]

    schema = server_schemas([Louder])["Louder"]
    assert schema["properties"]["loudness_db"] == {"type": "number", "description": "How loud."}
    assert schema["properties"]["item_id"]["description"] == "The item to come."
    assert {"loudness_db", "audio_start_ms", "event_id", "type"} <= set(schema["required"])


@pytest.mark.parametrize(("mode", "golden"), [("VAD mode", "vad"), ("Manual mode", "manual")])
async def test_sessions_take_the_course_that_is_described(mode: str, golden: str) -> None:
    (path,) = [path for path in GOLDEN if path.stem == golden]
    types = [event["type"] for event in await replay(read(path), DriverPeer())]
    course = [name for name in COURSES[mode] if name in SERVER_EVENTS]
    turn = types[: types.index(course[-2]) + 1]
    assert [*_once(turn), types[-1]] == course
    assert {name for name in COURSES[mode] if name not in SERVER_EVENTS} <= set(CLIENT_EVENTS)


def _once(types: list[str]) -> list[str]:
    """The types without repetitions of the one before."""
    return [each for place, each in enumerate(types) if types[place - 1 : place] != [each]]


def test_limits_are_those_of_the_server() -> None:
    settings = Settings(max_append_bytes=3000, idle_timeout_s=7, models=("m",))
    document = asyncapi(settings, host="example.org", secure=True)
    audio = document["components"]["schemas"]["AudioAppend"]["properties"]["audio"]
    assert audio["maxLength"] == 4000
    assert document["channels"]["realtime"]["x-limits"]["idle_timeout_s"]["value"] == 7
    assert document["servers"]["this"]["protocol"] == "wss"
    assert "'m'" in str(document["channels"]["realtime"]["bindings"])
